"""Names of a package that are loaded when they are first used, and what to install for those that need an extra. It knows no package."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

from afk_es.errors import MissingExtraError


def loaded(package: str, name: str, homes: Mapping[str, str], *, libraries: Collection[str], extras: Collection[str]) -> Any:
    """What a package means by a name; for its `__getattr__`, which is asked once for each.

    Args:
        homes: the module that each name is of.
        libraries: what the extras bring, as it is imported: only that these are missing has to do with extras.
        extras: any of which would do.

    Raises:
        AttributeError: the package has no such name.
        MissingExtraError: a library is not installed.
    """
    home = homes.get(name)
    if home is None:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in libraries:
            raise
        install = " or ".join(f'"afk-es[{extra}]"' for extra in extras)
        raise MissingExtraError(f"{package}.{name} needs {missing}, which is not installed: pip install {install}") from None
    setattr(sys.modules[package], name, value)
    return value
