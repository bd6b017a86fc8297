"""Where the golden of a test lies: beside the test, under a name that every file system takes. Knows paths and names only."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

SUFFIX = ".golden.jsonl"

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+=,-]+")
_PARAMETERS = re.compile(r"(\w+)\[(.*)\]", re.DOTALL)
_LONGEST = 100
"""Characters of a name: with its suffix and that of a file being written, it stays below the 143 of encrypted home directories."""
_RESERVED = frozenset({"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))})
"""What Windows has for devices, with any extension."""


def golden_path(directory: Path, test_file: Path, name: str) -> Path:
    """The file of a golden: one directory a test module, one file a golden.

    Args:
        directory: of all goldens beside the test file.
        name: as `name_of_test` gives it, or one of the user's.
    """
    return directory / test_file.stem / f"{safe_name(name)}{SUFFIX}"


def name_of_test(names: Sequence[str]) -> str:
    """What a test is called within its module.

    Args:
        names: of the classes around it and of the test itself, as pytest has them: `TestDesk`, `test_refund[EUR]`.
    """
    *classes, last = names
    parametrised = _PARAMETERS.fullmatch(last)
    return ".".join([*classes, f"{parametrised[1]}-{parametrised[2]}" if parametrised is not None else last])



def safe_name(name: str) -> str:
    """The name as that of a file, on Windows too. What had to be changed has a hash of the name at its end, so that no two become one."""
    safe = _UNSAFE.sub("-", name).strip(".-")[:_LONGEST].rstrip(".-")
    if safe == name and name.partition(".")[0].casefold() not in _RESERVED:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{safe}-{digest}" if safe and safe.partition(".")[0].casefold() not in _RESERVED else f"golden-{digest}"
