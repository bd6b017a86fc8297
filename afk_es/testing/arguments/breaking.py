"""The ways in which valid arguments can be broken, each with a name and a place. It makes no choice among them and asks no validator."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, timedelta
from typing import Any, Literal

from afk_es.testing.arguments.documents import Schema, SchemaDocument
from afk_es.testing.arguments.hints import HINT
from afk_es.testing.arguments.kinds import is_of, kind_of, kinds
from afk_es.testing.arguments.numeric import bounds
from afk_es.testing.arguments.patterns import acceptance

Breakage = Literal[
    "missing",
    "null",
    "wrong type",
    "wrong choice",
    "wrong pattern",
    "wrong format",
    "wrong length",
    "out of bounds",
    "not a multiple",
    "repeated item",
    "extra key",
    "not an object",
    "broken JSON",
]
"""What is wrong: a required field is missing; null where it is not allowed; another type; none of the listed values; a text that the pattern
does not find, that is not of the format, or too short or long (lists as well); a number beyond its bounds, or no multiple; the same item
twice; a key that is not allowed; JSON of something else than an object; text that is not JSON."""


@dataclass(frozen=True)
class Break:
    """One way to break given arguments.

    Attributes:
        how: the breakage.
        path: of what is broken, from the root; an index for an item of a list. Empty for the whole.
        sent: the arguments then; text where they are not an object.
    """

    how: Breakage
    path: tuple[str | int, ...]
    sent: dict[str, Any] | str


_WRONG: Mapping[str, tuple[Any, ...]] = {
    "null": ("null", 1),
    "boolean": ("maybe", 2, [], {}),
    "integer": ("one", 1.5, [], {}),
    "number": ("one", [], {}),
    "string": (1, [], {}),
    "array": ("one", 1, {}),
    "object": ("one", 1, []),
}
"""Values that no lenient validator takes for the type."""


def breaks(value: dict[str, Any], document: SchemaDocument) -> Iterator[Break]:
    """Every way to break these arguments that the schema tells of. The validator may be more lenient than it."""
    for how, path, wrong in _Breaking(document).of(value, document.root, ()):
        yield Break(how, path, _replaced(value, path, wrong))
    yield from _whole(value)


def _whole(value: dict[str, Any]) -> Iterator[Break]:
    text = json.dumps(value, ensure_ascii=False)
    # The last is what models do that encode twice.
    for other in ("null", "[]", '"text"', "5", f"[{text}]", json.dumps(text, ensure_ascii=False)):
        yield Break("not an object", (), other)
    for broken in (text[:-1], text[: len(text) // 2], f"{text}}}", f"{text[:-1]},}}", f"```json\n{text}\n```", repr(value), "{"):
        yield Break("broken JSON", (), broken)


_DELETED = object()
"""Stands for what is to be left out."""

_Found = tuple[Breakage, tuple[str | int, ...], Any]


class _Breaking:
    """Walks arguments beside their schema."""

    def __init__(self, document: SchemaDocument) -> None:
        self._document = document

    def of(self, value: Any, schema: Any, path: tuple[str | int, ...]) -> Iterator[_Found]:
        schema = self._resolved(schema)
        alternatives = [self._resolved(part) for choice in ("anyOf", "oneOf") for part in schema.get(choice, ())]
        if alternatives:
            yield from self._types(value, alternatives, path)
            for wrong in _beyond_hint(schema.get(HINT, {})):
                yield "out of bounds", path, wrong
            fitting = next((part for part in alternatives if self._fits(value, part)), None)
            if fitting is not None:
                yield from (found for found in self.of(value, fitting, path) if found[0] not in ("null", "wrong type"))
            return
        yield from self._types(value, [schema], path)
        for wrong in _beyond_hint(schema.get(HINT, {})):
            yield "out of bounds", path, wrong
        for how, wrong in _of_value(value, schema):
            yield how, path, wrong
        if isinstance(value, dict):
            yield from self._object(value, schema, path)
        if isinstance(value, list):
            for index, item in enumerate(value[:2]):
                first = schema.get("prefixItems", ())
                yield from self.of(item, first[index] if index < len(first) else schema.get("items", True), (*path, index))

    def _types(self, value: Any, alternatives: list[Schema], path: tuple[str | int, ...]) -> Iterator[_Found]:
        if not path or any(not ({"type", "enum", "const"} & part.keys()) for part in alternatives):
            return
        allowed = tuple(kind for part in alternatives for kind in _kinds(part))
        if "null" not in allowed:
            yield "null", path, None
        for wrong in _WRONG[kind_of(value)]:
            if not is_of(wrong, allowed):
                yield "wrong type", path, wrong

    def _object(self, value: dict[str, Any], schema: Schema, path: tuple[str | int, ...]) -> Iterator[_Found]:
        properties = schema.get("properties", {})
        for name in schema.get("required", ()):
            if name in value:
                yield "missing", (*path, name), _DELETED
        if schema.get("additionalProperties") is False:
            for extra in ("unlisted", *(f"{name}s" for name in list(properties)[:2])):
                if extra not in properties:
                    yield "extra key", (*path, extra), "extra"
        others = schema.get("additionalProperties", True)
        for name, each in value.items():
            yield from self.of(each, properties.get(name, others), (*path, name))

    def _resolved(self, schema: Any) -> Schema:
        for _ in range(20):
            if not isinstance(schema, Mapping) or "$ref" not in schema:
                break
            target = self._document.target(str(schema["$ref"]))
            schema = {**(target if isinstance(target, Mapping) else {}), **{key: part for key, part in schema.items() if key != "$ref"}}
        return schema if isinstance(schema, Mapping) else {}

    def _fits(self, value: Any, schema: Schema) -> bool:
        """Whether a value was most likely made from this alternative."""
        if not is_of(value, _kinds(schema)):
            return False
        if not isinstance(value, dict):
            return value in schema.get("enum", [value]) and value == schema.get("const", value)
        listed = {name: self._resolved(part) for name, part in schema.get("properties", {}).items()}
        return all(name in value for name in schema.get("required", ())) and all(
            value[name] in part.get("enum", [part.get("const", value[name])]) for name, part in listed.items() if name in value
        )


def _kinds(schema: Schema) -> tuple[str, ...]:
    listed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    return kinds(schema) if listed is None else tuple(map(kind_of, listed))


def _of_value(value: Any, schema: Schema) -> Iterator[tuple[Breakage, Any]]:
    if "enum" in schema or "const" in schema:
        listed = schema.get("enum", [schema.get("const")])
        yield from (("wrong choice", wrong) for wrong in ("no such choice", 987654321) if wrong not in listed)
    elif isinstance(value, str):
        yield from _of_text(value, schema)
    elif isinstance(value, list):
        yield from _of_list(value, schema)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _of_number(value, schema)


def _of_text(value: str, schema: Schema) -> Iterator[tuple[Breakage, Any]]:
    if "pattern" in schema:
        accepts = acceptance(schema["pattern"])
        # The first is what a pattern of Python's lets through where it ends in `$`.
        yield from (("wrong pattern", wrong) for wrong in (f"{value}\n", value[:-1], value.swapcase(), "", "~") if not accepts(wrong))
    if "format" in schema:
        yield from (("wrong format", wrong) for wrong in ("", f"no {schema['format']}", f"{value} x", f"{value[:-1]}~"))
    if schema.get("minLength", 0) > 0:
        yield "wrong length", value[: schema["minLength"] - 1]
    if "maxLength" in schema:
        yield "wrong length", value + "x" * (schema["maxLength"] + 1 - len(value))


def _of_list(value: list[Any], schema: Schema) -> Iterator[tuple[Breakage, Any]]:
    least, most = schema.get("minItems", 0), schema.get("maxItems", math.inf)
    if least > 0:
        yield "wrong length", value[: least - 1]
    if value and most < 10**4:
        yield "wrong length", value + [value[-1]] * (most + 1 - len(value))
    if value and schema.get("uniqueItems"):
        yield "repeated item", [*value, value[0]]


def _of_number(value: float, schema: Schema) -> Iterator[tuple[Breakage, Any]]:
    low, over, high, under = bounds(schema)
    number: Callable[[Any], Any] = int if isinstance(value, int) else float
    if low is not None:
        yield from (("out of bounds", number(wrong)) for wrong in ([low] if over else []) + [low - 1] if number(wrong) == wrong)
    if high is not None:
        yield from (("out of bounds", number(wrong)) for wrong in ([high] if under else []) + [high + 1] if number(wrong) == wrong)
    step = schema.get("multipleOf")
    if step is not None:
        yield "not a multiple", value + (1 if isinstance(step, int) and step > 1 else step / 2)


def _beyond_hint(core: Mapping[str, Any]) -> Iterator[Any]:
    """What is of the type, and beyond the bounds that only the validator knows."""
    if core.get("type") in ("date", "datetime") and (said := [core[keyword] for keyword in ("ge", "gt", "le", "lt") if core.get(keyword)]):
        day = timedelta(days=1)
        yield from ((bound + sign * day).isoformat() for bound in said for sign in (-1, 1) if MINYEAR < bound.year < MAXYEAR)
    if core.get("now_op") in ("past", "future"):
        wrong = "9999-12-31" if core["now_op"] == "past" else "1970-01-01"
        yield wrong if core["type"] == "date" else f"{wrong}T00:00:00Z"
    if core.get("type") == "decimal":
        yield from ("1" * (digits + 1) for digits in [core.get("max_digits")] if digits is not None)
        yield from (f"0.{'1' * (places + 1)}" for places in [core.get("decimal_places")] if places is not None)


def _replaced(value: Any, path: tuple[str | int, ...], wrong: Any) -> Any:
    """A copy with what is at the path replaced, added or left out."""
    if not path:
        return wrong
    step, rest = path[0], path[1:]
    if isinstance(value, list):
        return [_replaced(item, rest, wrong) if index == step else item for index, item in enumerate(value)]
    if not rest and wrong is _DELETED:
        return {name: each for name, each in value.items() if name != step}
    return {**value, step: _replaced(value.get(step), rest, wrong)}
