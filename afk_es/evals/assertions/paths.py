"""Paths into JSON data, as `order.items[0].id`; what the data means is not known here."""

from __future__ import annotations

import re
from typing import Any

from afk_es.errors import ConfigurationError

_STEP = re.compile(r"\[(-?\d+)\]|\[(['\"])(.*?)\2\]|\.?([^.\[\]]+)")

MISSING: Any = object()
"""What stands where a path leads nowhere; None is a value."""


def path_steps(path: str) -> tuple[str | int, ...]:
    """The keys and positions of a path; a leading `$` is let go, a negative position counts from the end.

    Raises:
        ConfigurationError: it is no path.
    """
    if not isinstance(path, str):
        raise ConfigurationError(f"a path is a text such as 'order.items[0].id', not {type(path).__name__}")
    rest = path.removeprefix("$")
    steps: list[str | int] = []
    at = 0
    while at < len(rest):
        found = _STEP.match(rest, at)
        if found is None:
            raise ConfigurationError(
                f"{path!r} is no path: at {rest[at:]!r}; write it as 'order.items[0].id', or ['a.b'] for a key with signs"
            )
        index, _quote, quoted, key = found.groups()
        steps.append(int(index) if index is not None else quoted if quoted is not None else key)
        at = found.end()
    return tuple(steps)


def value_at(data: Any, steps: tuple[str | int, ...]) -> Any:
    """What stands there, or `MISSING`."""
    for step in steps:
        if isinstance(step, int):
            if not isinstance(data, (list, tuple)) or not -len(data) <= step < len(data):
                return MISSING
            data = data[step]
        elif isinstance(data, dict) and step in data:
            data = data[step]
        else:
            return MISSING
    return data
