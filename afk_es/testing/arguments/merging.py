"""`allOf` as one schema, as far as that can be said: what cannot be is dropped here, and checked on the values. It makes no values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import lcm
from typing import Any

from afk_es.testing.arguments.documents import Schema

_HIGHEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LOWEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_BOTH = ("items", "additionalProperties", "propertyNames", "contains")
_EACH = ("properties", "patternProperties")
_CHOICES = ("anyOf", "oneOf")


def merged(left: Schema | bool, right: Schema | bool) -> dict[str, Any] | bool:
    """One schema that allows what both allow, or somewhat more."""
    if left is False or right is False:
        return False
    if left is True or right is True:
        rest = right if left is True else left
        return rest if isinstance(rest, bool) else dict(rest)
    result = dict(left)
    for keyword, value in right.items():
        result[keyword] = _joined(keyword, result[keyword], value) if keyword in result else value
    return result


def _joined(keyword: str, left: Any, right: Any) -> Any:
    if left == right:
        return left
    if keyword in _HIGHEST:
        return max(left, right)
    if keyword in _LOWEST:
        return min(left, right)
    if keyword in _BOTH:
        return {"allOf": [left, right]}
    if keyword in _EACH:
        return {**left, **{name: {"allOf": [left[name], each]} if name in left else each for name, each in right.items()}}
    if keyword in _CHOICES:
        return [{"allOf": [one, other]} for one in left for other in right]
    join = _JOINS.get(keyword)
    return left if join is None else join(left, right)


def _common_types(left: str | list[str], right: str | list[str]) -> list[str]:
    one, other = ({each} if isinstance(each, str) else set(each) for each in (left, right))
    common = one & other
    # An integer is a number.
    if "integer" in one | other and "number" in one | other:
        common |= {"integer"} if "number" not in common else set()
    return sorted(common)


def _multiple(left: float, right: float) -> float:
    return lcm(left, right) if isinstance(left, int) and isinstance(right, int) else left


_JOINS: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _common_types,
    "required": lambda left, right: [*left, *(name for name in right if name not in left)],
    "enum": lambda left, right: [value for value in left if value in right],
    "allOf": lambda left, right: [*left, *right],
    "multipleOf": _multiple,
    "uniqueItems": lambda left, right: left or right,
    "prefixItems": lambda left, right: [{"allOf": [*pair]} for pair in zip(left, right, strict=False)],
    "$defs": lambda left, right: {**right, **left},
}
