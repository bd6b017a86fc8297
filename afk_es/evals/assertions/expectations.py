"""What JSON data is expected to be, by values, types, patterns and functions at any depth, and where it is not so.

An expected value is one of these, at any depth of lists and objects:

| expected | fits |
|---|---|
| a type: `str`, `int`, `float`, `bool`, `list`, `dict`, `type(None)` | a value of that JSON type; 3.0 is an int and 3 a float, and a bool is neither |
| `re.compile(...)` | a text in which it is found |
| a function of the value | what it answers yes to; one that raises fits nothing, and the reason says so |
| anything else | an equal value; numbers are compared as numbers (1 is 1.0, and neither "1" nor true) |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from afk_es.errors import UsageError
from afk_es.machine.values import canonical_json

ArgumentMatch: TypeAlias = Literal["exact", "superset", "subset", "ignore"]
MATCHES: tuple[ArgumentMatch, ...] = ("exact", "superset", "subset", "ignore")

SHOWN = 120
"""Characters of a value that a reason shows."""

_TYPES: dict[type, tuple[str, Callable[[Any], bool]]] = {
    str: ("a string", lambda value: isinstance(value, str)),
    bool: ("a boolean", lambda value: isinstance(value, bool)),
    int: ("an integer", lambda value: _is_number(value) and value == int(value)),
    float: ("a number", lambda value: _is_number(value)),
    list: ("an array", lambda value: isinstance(value, list)),
    dict: ("an object", lambda value: isinstance(value, dict)),
    type(None): ("null", lambda value: value is None),
}
_NAMED_TYPES: dict[str, type] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": float,
    "array": list,
    "object": dict,
    "null": type(None),
}


class Mismatch(msgspec.Struct, frozen=True):
    """Where a call is not as expected.

    Attributes:
        field: "tool_name", "agent", "arguments", or a path into them such as "arguments.items[0].id".
        expected: JSON data, or in words where it is no value, such as "a number".
        actual: what the call has; None where it has nothing there.
        why: in a few words.
    """

    field: str
    expected: Any
    actual: Any
    why: str

    def __str__(self) -> str:
        return f"{self.field}: {self.why}"


def _anything(value: Any) -> bool:
    return True


def matchers_in(value: Any) -> Any:
    """Data with `{"$type": ...}`, `{"$regex": ...}` and `{"$any": true}` made into what they mean."""
    match value:
        case {"$type": name, **rest} if not rest:
            if name not in _NAMED_TYPES:
                raise UsageError(f"$type {name!r} is none of: {', '.join(_NAMED_TYPES)}")
            return _NAMED_TYPES[name]
        case {"$regex": str() as pattern, **rest} if not rest:
            try:
                return re.compile(pattern)
            except re.error as error:
                raise UsageError(f"$regex {pattern!r} is no regular expression: {error}") from error
        case {"$any": True, **rest} if not rest:
            return _anything
        case Mapping():
            return {name: matchers_in(inner) for name, inner in value.items()}
        case list():
            return [matchers_in(inner) for inner in value]
        case _:
            return value


def unequal(field: str, expected: Any, actual: Any) -> Mismatch:
    """The mismatch that one value is another."""
    wanted = describe(expected)
    return Mismatch(field, wanted, actual, f"expected {_written(expected)}, got {shown(actual)}")


def _is_number(value: Any) -> bool:
    # No int is above infinity, and int() of it raises.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf")


def unlike(path: str, expected: Any, actual: Any, match: ArgumentMatch) -> list[Mismatch]:
    """Where JSON data is not as expected; see this module for what may be expected.

    Args:
        path: what the data is called.
        match: how the names of an object are compared; those of objects in it have to be the same.
    """
    if match == "ignore":
        return []
    if isinstance(expected, Mapping) and isinstance(actual, dict):
        return _object(path, expected, actual, match)
    return differences(path, expected, actual)


def differences(path: str, expected: Any, actual: Any) -> list[Mismatch]:
    """Where a value is not as expected, at any depth."""
    match expected:
        case type() if expected in _TYPES:
            fits = _TYPES[expected][1](actual)
        case re.Pattern():
            fits = isinstance(actual, str) and expected.search(actual) is not None
        case Mapping():
            return _object(path, expected, actual, "exact") if isinstance(actual, dict) else [unequal(path, expected, actual)]
        case list() | tuple():
            return _array(path, expected, actual) if isinstance(actual, list) else [unequal(path, expected, actual)]
        case bool() | None:
            fits = actual is expected
        case int() | float():
            fits = isinstance(actual, (int, float)) and not isinstance(actual, bool) and actual == expected
        case str():
            fits = isinstance(actual, str) and actual == expected
        case _ if callable(expected):
            try:
                fits = bool(expected(actual))
            except Exception as error:  # noqa: BLE001 -- the caller's function: that it raises is a reason like any other
                return [Mismatch(path, describe(expected), actual, f"the check of {shown(actual)} raised {type(error).__name__}: {error}")]
        case _:
            fits = bool(actual == expected)
    return [] if fits else [unequal(path, expected, actual)]


def _object(path: str, expected: Mapping[str, Any], actual: dict[str, Any], match: ArgumentMatch) -> list[Mismatch]:
    found = []
    for name in dict.fromkeys([*expected, *actual]):
        field = f"{path}.{name}"
        if name in expected and name in actual:
            found += differences(field, expected[name], actual[name])
        elif name in expected and match != "subset":
            found.append(Mismatch(field, describe(expected[name]), None, f"expected {_written(expected[name])}, and it is not there"))
        elif name in actual and match != "superset":
            found.append(Mismatch(field, None, actual[name], f"not expected, and there is {shown(actual[name])}"))
    return found


def _array(path: str, expected: Sequence[Any], actual: list[Any]) -> list[Mismatch]:
    if len(expected) != len(actual):
        return [unequal(path, expected, actual)]
    return [
        each
        for place, (wanted, got) in enumerate(zip(expected, actual, strict=True))
        for each in differences(f"{path}[{place}]", wanted, got)
    ]


def describe(expected: Any) -> Any:
    """What is expected as JSON data: values as they are, what is no value in words."""
    match expected:
        case type() if expected in _TYPES:
            return _TYPES[expected][0]
        case re.Pattern():
            return f"/{expected.pattern}/"
        case Mapping():
            return {str(name): describe(value) for name, value in expected.items()}
        case list() | tuple():
            return [describe(value) for value in expected]
        case None | bool() | int() | float() | str():
            return expected
        case _ if callable(expected):
            return f"what {getattr(expected, '__name__', type(expected).__name__)} answers yes to"
        case _:
            return repr(expected)


def shown(value: Any) -> str:
    """A JSON value for a sentence."""
    text = canonical_json(value).decode()
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def brief(expected: Any) -> str:
    """What is expected, where it stands in a call: a function by its name alone."""
    if not isinstance(expected, type) and callable(expected):
        return getattr(expected, "__name__", type(expected).__name__)
    return _written(expected)


def _written(expected: Any) -> str:
    described = describe(expected)
    return described if isinstance(described, str) and not isinstance(expected, str) else shown(described)
