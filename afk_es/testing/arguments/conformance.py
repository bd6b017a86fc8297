"""Whether a value is what a JSON Schema allows, by the library `jsonschema`: for what cannot be made but by trying. It makes no values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from afk_es.testing.arguments.documents import Schema, SchemaDocument

CHECKED = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "contains", "minContains", "maxContains", "dependentRequired", "dependentSchemas"}
    | {"dependencies", "unevaluatedProperties", "unevaluatedItems"}
)
"""The keywords that values are tried against, since they cannot be followed in making them."""


def conforms(schema: Schema, document: SchemaDocument) -> Callable[[Any], bool]:
    """Whether a value is one of the schema, a part of the document.

    `pattern` is Python's here, so it is left out; whoever makes texts has asked the engine that knows.
    """
    # Loading it takes longer than most uses of this package, which have no such keyword.
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    kind = extend(Draft202012Validator, {"pattern": None, "patternProperties": Draft202012Validator.VALIDATORS["patternProperties"]})
    root = document.root if isinstance(document.root, Mapping) else {}
    accepts: Callable[[Any], bool] = kind(root).evolve(schema=schema).is_valid
    return accepts
