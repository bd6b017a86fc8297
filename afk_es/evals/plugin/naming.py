"""What the golden of a test is called. How a name becomes that of a file, `GoldenStore` knows."""

from __future__ import annotations

import re
from collections.abc import Sequence

_PARAMETERS = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)


def name_of_test(names: Sequence[str]) -> str:
    """What a test is called within its module: `TestDesk.test_refund-EUR`.

    Args:
        names: of the classes around it and of the test itself, as pytest has them: `TestDesk`, `test_refund[EUR]`.
    """
    *classes, last = names
    parametrised = _PARAMETERS.fullmatch(last)
    return ".".join([*classes, f"{parametrised[1]}-{parametrised[2]}" if parametrised is not None else last])
