"""Whether a value is what a JSON Schema allows, by the library `jsonschema`: for what cannot be made but by trying. It makes no values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from afk_es.testing.arguments.documents import Schema, SchemaDocument
from afk_es.testing.arguments.patterns import acceptance

CHECKED = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "contains", "minContains", "maxContains", "dependentRequired", "dependentSchemas"}
    | {"dependencies", "unevaluatedProperties", "unevaluatedItems"}
)
"""The keywords that values are tried against, since they cannot be followed in making them."""


def conforms(schema: Schema, document: SchemaDocument) -> Callable[[Any], bool]:
    """Whether a value is one of the schema, a part of the document. A `pattern` is put to the engine that will judge it."""
    root = document.root if isinstance(document.root, Mapping) else {}
    accepts: Callable[[Any], bool] = _judge()(root).evolve(schema=schema).is_valid
    return accepts


@cache
def _judge() -> Any:
    # Loading it takes longer than most uses of this package, which need no judge.
    from jsonschema import Draft202012Validator, ValidationError
    from jsonschema.validators import extend

    def pattern(validator: Any, wanted: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if isinstance(instance, str) and not acceptance(wanted)(instance):
            yield ValidationError(f"{instance!r} has no {wanted!r}")

    return extend(Draft202012Validator, {"pattern": pattern})
