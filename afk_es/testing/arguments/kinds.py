"""The types of JSON: of a value, and those that a schema allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from afk_es.testing.arguments.documents import Schema

KINDS: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
"""JSON Schema's types, from the plainest."""

_KIND_OF: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


def kind_of(value: Any) -> str:
    """The type of a JSON value; an integer is `integer`."""
    return _KIND_OF[type(value)]


def is_of(value: Any, allowed: tuple[str, ...]) -> bool:
    """Whether a value is of one of the types."""
    kind = kind_of(value)
    return kind in allowed or (kind == "integer" and "number" in allowed)


def kinds(schema: Schema) -> tuple[str, ...]:
    """The types that the schema allows, from the plainest; where it names none, those that its other keywords speak of, or all."""
    said = schema.get("type")
    if said is None:
        said = [kind for kind, keywords in _KEYWORDS.items() if not keywords.isdisjoint(schema)] or list(_ALL)
    return tuple(kind for kind in KINDS if kind in ([said] if isinstance(said, str) else said))


_ALL = ("null", "boolean", "number", "string", "array", "object")
_KEYWORDS = {
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "string": {"minLength", "maxLength", "pattern", "format", "contentMediaType", "contentEncoding"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"},
    "object": {"properties", "required", "additionalProperties", "patternProperties", "propertyNames", "minProperties", "maxProperties"},
}
