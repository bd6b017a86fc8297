"""How a promise is held against a store: plain functions that say what was expected and what was found. Needs no test framework."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import msgspec

SHOWN_AT_MOST = 600
"""Characters of a value in a message; a run of events printed whole hides the one that matters."""


class BrokenPromiseError(AssertionError):
    """A store does not do what `EventLog` promises. Says what was expected and what came."""


def holds(condition: object, what: str) -> None:
    """What must be true.

    Raises:
        BrokenPromiseError: it is not.
    """
    if not condition:
        raise BrokenPromiseError(what)


def same(found: Any, expected: Any, what: str) -> None:
    """What must be equal, in type as well where numbers are concerned: 1 is not 1.0, and not True.

    Raises:
        BrokenPromiseError: it is not; names the first place of a sequence that differs.
    """
    if _alike(found, expected):
        return
    place = _first_difference(found, expected)
    if place is not None:
        raise BrokenPromiseError(f"{what}: at [{place}] found {_shown(found[place])}, expected {_shown(expected[place])}")
    raise BrokenPromiseError(f"{what}: found {_shown(found)}, expected {_shown(expected)}")


async def refused(call: Awaitable[object], kind: type[Exception] | tuple[type[Exception], ...], what: str, *words: str) -> None:
    """What must be refused with this class of error, in a message that contains these words.

    Raises:
        BrokenPromiseError: it was done, or refused otherwise.
    """
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(each.__name__ for each in kinds)
    try:
        answer = await call
    except kinds as error:
        missing = [word for word in words if word not in str(error)]
        holds(not missing, f"{what}: the {type(error).__name__} should name {missing} and says {str(error)!r}")
        return
    except Exception as error:
        raise BrokenPromiseError(f"{what}: should raise {wanted}, and raised {type(error).__name__}: {error}") from error
    raise BrokenPromiseError(f"{what}: should raise {wanted}, and answered {_shown(answer)}")


def _alike(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down: Python's own == takes 1, 1.0 and True for one thing, and 0.0 and -0.0 for another."""
    pairs = [(one, other)]
    while pairs:  # Not recursive: data may be nested deeper than Python likes to call.
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if left.keys() != right.keys():
                return False
            pairs += [(value, right[key]) for key, value in left.items()]
        elif isinstance(left, (list, tuple)):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif isinstance(left, msgspec.Struct):
            pairs += [(getattr(left, name), getattr(right, name)) for name in left.__struct_fields__]
        elif left != right or (isinstance(left, float) and repr(left) != repr(right)):
            return False
    return True


def _first_difference(found: Any, expected: Any) -> int | None:
    if not (isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected)):
        return None
    return next((place for place, pair in enumerate(zip(found, expected, strict=True)) if not _alike(*pair)), None)


def _shown(value: Any) -> str:
    if isinstance(value, list) and len(value) > 1:
        value = [getattr(item, "seq", item) for item in value] if all(hasattr(item, "seq") for item in value) else value
    text = repr(value)
    return text if len(text) <= SHOWN_AT_MOST else f"{text[:SHOWN_AT_MOST]}... ({len(text)} characters)"
