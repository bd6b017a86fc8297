"""JSON Schemas that a server wrote, and values held against them. Nothing is fetched, and no schema can make it take long.

A schema is a program that somebody else wrote: a pattern may backtrack for years, and references that meet again may be followed more often
than there are atoms. So patterns are matched by an engine that cannot backtrack (what it does not know, such as lookahead, is left to the
server), and the steps of one validation are counted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from jsonschema.validators import extend, validator_for
from pydantic_core import SchemaError as PatternError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

from afk_es.machine.values import canonical_json

MAX_BYTES = 64 * 1024
"""Of one schema, as JSON. It goes into every request to the model."""

MAX_DEPTH = 40
"""Levels of nesting of one schema."""

MAX_STEPS = 5_000
"""Keywords looked at in one validation, and one more for each byte of the value."""

MAX_PROBLEMS = 10
_SHOWN = 120


class SchemaRefusedError(ValueError):
    """A schema that is not taken, and why."""


class _TooManySteps(Exception):
    """A validation that does not come to an end."""


def taken(schema: object, *, of_object: bool) -> dict[str, Any]:
    """The schema, if it is one that may be worked with.

    Args:
        of_object: whether it must describe an object.

    Raises:
        SchemaRefusedError: it is too large, too deep, refers to elsewhere, or is none.
    """
    if not isinstance(schema, dict):
        raise SchemaRefusedError("it is not an object")
    _check_shape(schema)
    if len(canonical_json(schema)) > MAX_BYTES:
        raise SchemaRefusedError(f"it has more than {MAX_BYTES} bytes")
    if of_object and schema.get("type") != "object":
        raise SchemaRefusedError('it is not of type "object"')
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        raise SchemaRefusedError(f"it is no JSON Schema: {_short(error.message)}") from None
    except Exception as error:  # noqa: BLE001 - the library's, on what anybody may have written: it expects a $schema to be a text, and more
        raise SchemaRefusedError(f"it is no JSON Schema: {type(error).__name__}") from None
    return schema


def _check_shape(value: object) -> None:
    """No recursion: how deep it goes is what is asked."""
    level: list[object] = [value]
    for _depth in range(MAX_DEPTH):
        below: list[object] = []
        for each in level:
            if isinstance(each, Mapping):
                for key in ("$ref", "$dynamicRef", "$recursiveRef"):
                    reference = each.get(key)
                    if isinstance(reference, str) and not reference.startswith("#"):
                        raise SchemaRefusedError(f"it refers to {_short(reference)!r}, and nothing is fetched from elsewhere")
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
        if not below:
            return
        level = below
    raise SchemaRefusedError(f"it is nested more than {MAX_DEPTH} levels deep")


class _Steps(threading.local):
    """What is left of a validation: one thread's, as results of parallel calls are held against the same schema in several."""

    left = 0


class Checker:
    """Holds values against one schema, in as many threads as there are.

    Args:
        schema: one that was `taken`.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._steps = _Steps()
        dialect = validator_for(schema, default=Draft202012Validator)
        counted = {name: self._counted(_OURS.get(name, keyword)) for name, keyword in dialect.VALIDATORS.items() if name not in _LEFT_OUT}
        without = {name: _nothing for name in _LEFT_OUT if name in dialect.VALIDATORS}
        self._validator = extend(dialect, {**counted, **without})(schema, registry=Registry())

    def problems(self, value: object) -> list[str]:
        """What is wrong with the value, each with its place; none where it satisfies the schema."""
        self._steps.left = MAX_STEPS + len(canonical_json(value))
        found: list[str] = []
        try:
            for error in self._validator.iter_errors(value):
                if len(found) == MAX_PROBLEMS:
                    found.append("and more")
                    break
                found.append(_told(error))
        except _TooManySteps:
            found.append("it takes too many steps to hold it against its schema")
        except Unresolvable as error:
            found.append(f"its schema refers to what is not in it: {_short(str(error.ref))}")
        except RecursionError:
            found.append("its schema refers to itself without end")
        except Exception as error:  # noqa: BLE001 - the library's, on a schema that anybody may have written
            found.append(f"it cannot be held against its schema: {type(error).__name__}")
        return found

    def _counted(self, keyword: Callable[..., Any]) -> Callable[..., Iterator[ValidationError]]:
        def counting(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
            self._steps.left -= 1
            if self._steps.left < 0:
                raise _TooManySteps
            yield from keyword(validator, value, instance, schema) or ()

        return counting


def _told(error: ValidationError) -> str:
    # Of alternatives that all fail, the one that comes nearest.
    nearest = best_match(error.context) if error.context else None
    said = nearest if nearest is not None else error
    place = ".".join(str(part) for part in said.absolute_path)
    return f"{place}: {_short(said.message)}" if place else _short(said.message)


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


@lru_cache(maxsize=512)
def _matcher(pattern: str) -> SchemaValidator | None:
    """Matches in a time that grows with the text alone; None where the pattern needs more than that."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True))
    except PatternError:
        return None


def _matches(pattern: str, text: str) -> bool:
    matcher = _matcher(pattern)
    return matcher is None or matcher.isinstance_python(text)


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, below in patterns.items():
        for name, value in instance.items():
            if _matcher(pattern) is not None and _matches(pattern, name):
                yield from validator.descend(value, below, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    more = [name for name in instance if name not in known and not any(_matches(pattern, name) for pattern in patterns)]
    if allowed is False and more:
        names = ", ".join(known) or "none"
        yield ValidationError(f"there is no {', '.join(map(repr, more))}; the properties are: {names}")
    elif isinstance(allowed, dict):
        for name in more:
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len({canonical_json(item) for item in instance}) < len(instance):
        yield ValidationError("it has an item twice")


def _nothing(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    return iter(())


_OURS: dict[str, Callable[..., Iterator[ValidationError]]] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
# They match patterns by Python's engine, or walk what was walked already. The server checks its own.
_LEFT_OUT = ("unevaluatedProperties", "unevaluatedItems")
