"""What a caller knows better than the schema: strategies for single properties and types. It makes none itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis.strategies import SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments.documents import Schema, SchemaDocument, bare
from afk_es.testing.arguments.hints import type_schema


@dataclass(frozen=True)
class Overrides:
    """Strategies to use instead of the schema's.

    Attributes:
        by_name: for properties of that name at any depth.
        by_path: for the property at that path from the root.
        by_type: for every part whose schema is the one of a type.
    """

    by_name: Mapping[str, SearchStrategy[Any]]
    by_path: Mapping[tuple[str, ...], SearchStrategy[Any]]
    by_type: tuple[tuple[Any, SearchStrategy[Any]], ...]

    @classmethod
    def given(cls, overrides: Mapping[Any, SearchStrategy[Any]]) -> Overrides:
        """From what a caller wrote: names, paths with dots, and types.

        Raises:
            ConfigurationError: something that is none of these, or is given no strategy.
        """
        for key, strategy in overrides.items():
            if not isinstance(strategy, SearchStrategy):
                raise ConfigurationError(f"the override of {key!r} must be a Hypothesis strategy, not {strategy!r}; st.just(...) makes one")
        texts = {key: strategy for key, strategy in overrides.items() if isinstance(key, str)}
        return cls(
            by_name={key: strategy for key, strategy in texts.items() if "." not in key},
            by_path={tuple(key.split(".")): strategy for key, strategy in texts.items() if "." in key},
            by_type=tuple((_inline(key), strategy) for key, strategy in overrides.items() if not isinstance(key, str)),
        )

    def of_property(self, path: tuple[str, ...]) -> SearchStrategy[Any] | None:
        """The strategy for the property at a path; None where the schema's is used."""
        named = self.by_path.get(path)
        return self.by_name.get(path[-1]) if named is None else named

    def of_type(self, schema: Schema, document: SchemaDocument) -> SearchStrategy[Any] | None:
        """The strategy for a part of the document; None where the schema's is used."""
        if not self.by_type:
            return None
        found = schema if "$ref" not in schema else document.target(str(schema["$ref"]))
        own = bare(found) if isinstance(found, Mapping) else {}
        return next((strategy for kind, strategy in self.by_type if kind == own), None)


NO_OVERRIDES = Overrides({}, {}, ())


def _inline(kind: Any) -> Schema:
    """The schema of a type, without its definitions."""
    document = SchemaDocument(type_schema(kind))
    schema = document.root
    if isinstance(schema, Mapping) and "$ref" in schema:
        schema = document.target(str(schema["$ref"]))
    return {keyword: value for keyword, value in bare(schema).items() if keyword != "$defs"} if isinstance(schema, Mapping) else {}
