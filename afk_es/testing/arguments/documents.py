"""A JSON Schema with its definitions: what a reference stands for, and which ones lead back to themselves. It makes no values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from afk_es.errors import ConfigurationError

Schema = Mapping[str, Any]
"""A JSON Schema that is an object; the two others are `True` and `False`."""

ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$id", "$schema"}
)
"""Keywords that say nothing about which values are valid."""


class SchemaDocument:
    """A whole schema.

    Args:
        root: the schema; references in it are JSON pointers from here, and nothing is fetched from elsewhere.
    """

    def __init__(self, root: Schema | bool) -> None:
        self.root = root

    def target(self, reference: str) -> Schema | bool:
        """What a reference stands for.

        Raises:
            ConfigurationError: nothing is there.
        """
        found: Any = self.root if reference.startswith("#") else None
        for part in reference.split("/")[1:]:
            found = _step(found, unquote(part).replace("~1", "/").replace("~0", "~"))
        if not isinstance(found, (Mapping, bool)):
            raise ConfigurationError(f"the schema refers to {reference!r}, which is not in it; put it under $defs")
        return found

    @cached_property
    def recursive(self) -> frozenset[str]:
        """The references whose target holds, at some depth, the reference itself."""
        edges: dict[str, set[str]] = {}
        pending = list(_references(self.root))
        while pending:
            reference = pending.pop()
            if reference not in edges:
                edges[reference] = set(_references(self.target(reference)))
                pending.extend(edges[reference])
        return frozenset(reference for reference in edges if reference in _reachable(reference, edges))


def bare(schema: Schema) -> dict[str, Any]:
    """The schema without what it only tells."""
    return {keyword: value for keyword, value in schema.items() if keyword not in ANNOTATIONS}


def _step(found: Any, part: str) -> Any:
    if isinstance(found, Mapping):
        return found.get(part)
    if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
        return found[int(part)]
    return None


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        reference = schema.get("$ref")
        if isinstance(reference, str):
            yield reference
        for keyword, value in schema.items():
            # Definitions count where they are referred to.
            if keyword not in ("$defs", "definitions", "const", "enum", "default", "examples"):
                yield from _references(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _reachable(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    pending = [start]
    while pending:
        for reference in edges[pending.pop()] - found:
            found.add(reference)
            pending.append(reference)
    return found
