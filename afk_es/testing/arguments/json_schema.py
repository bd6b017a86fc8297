"""A JSON Schema as a strategy: values that it allows, small and plain ones first. It knows no tools and no validators."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments import moments, numeric
from afk_es.testing.arguments.addresses import uris
from afk_es.testing.arguments.conformance import CHECKED, conforms
from afk_es.testing.arguments.containers import Extras, arrays, objects
from afk_es.testing.arguments.documents import ANNOTATIONS, Schema, SchemaDocument
from afk_es.testing.arguments.formats import formatted
from afk_es.testing.arguments.hints import HINT
from afk_es.testing.arguments.kinds import is_of, kinds
from afk_es.testing.arguments.merging import merged
from afk_es.testing.arguments.overrides import Overrides
from afk_es.testing.arguments.patterns import acceptance, matching
from afk_es.testing.arguments.texts import texts, words
from afk_es.testing.arguments.traits import ORDINARY, Trait, known_traits

DEEPEST = 4
"""How often a reference may lead back to itself on the way from the root to a leaf."""

_MORE = (5, 4, 3, 2, 1)
"""Items beyond the least, by how deep the list lies: lists of lists of lists must stay printable."""


def from_json_schema(
    schema: Schema | bool,
    *,
    overrides: Mapping[str, SearchStrategy[Any]] | None = None,
    traits: Collection[Trait] = ORDINARY,
) -> SearchStrategy[Any]:
    """JSON values that a schema allows.

    Args:
        schema: JSON Schema, draft 2020-12, as far as tools use it; older drafts' spellings are understood. `format` is an instruction:
            an unknown one is passed over. References are to the schema itself.
        overrides: strategies to use instead of the schema's for properties, by name (`"email"`, at any depth) or by the path from the root
            (`"customer.email"`; lists add nothing to it).
        traits: what the values are like; default `ORDINARY`.

    Raises:
        ConfigurationError: no value is possible, or the schema cannot be read.
    """
    built = schema_strategy(SchemaDocument(schema), Overrides.given(overrides or {}), known_traits(traits))
    if built is None:
        raise ConfigurationError(f"the schema allows no value: {_shown(schema)}")
    return built


def schema_strategy(document: SchemaDocument, overrides: Overrides, traits: frozenset[Trait]) -> SearchStrategy[Any] | None:
    """The same for a schema with hints; None where no value is possible."""
    return _Building(document, overrides, traits).build(document.root, _Place())


@dataclass(frozen=True)
class _Place:
    """Where in a value a part of it lies."""

    path: tuple[str, ...] = ()
    nesting: int = 0
    visits: tuple[str, ...] = ()
    """The recursive references followed on the way here."""

    @property
    def more(self) -> int:
        return _MORE[min(self.nesting, len(_MORE) - 1)]

    def inside(self, name: str | None = None) -> _Place:
        return replace(self, nesting=self.nesting + 1, path=self.path if name is None else (*self.path, name))

    def through(self, reference: str) -> _Place:
        return replace(self, visits=(*self.visits, reference))


_LEFT_OUT = CHECKED - {"oneOf", "contains", "minContains"}
"""What says nothing of how values are made. Of `oneOf` and `contains` the parts do."""


class _Building:
    """A schema while strategies are made of its parts. A part of which no value is small enough has none, and whoever can goes without it."""

    def __init__(self, document: SchemaDocument, overrides: Overrides, traits: frozenset[Trait]) -> None:
        self._document = document
        self._overrides = overrides
        self._traits = traits
        self._built: dict[Any, SearchStrategy[Any] | None] = {}

    def build(self, schema: Any, place: _Place) -> SearchStrategy[Any] | None:
        if schema is False:
            return None
        if schema is True or not (given := {key: value for key, value in schema.items() if key not in ANNOTATIONS}):
            return anything(unicode="unicode" in self._traits) if place.nesting < len(_MORE) else st.none()
        by_type = self._overrides.of_type(given, self._document)
        if by_type is not None:
            return by_type
        if "$ref" in given:
            return self._reference(given, place)
        built = self._unreferenced(given, place)
        if built is not None and "said" in self._traits:
            built = _with_said(built, schema)
        return built

    def _reference(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        reference = str(schema["$ref"])
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "$defs", "definitions")}
        target = self._document.target(reference)
        if beside:
            return self._checked({"allOf": [target, beside]}, place)
        if reference in self._document.recursive:
            if place.visits.count(reference) >= DEEPEST:
                return None
            place = place.through(reference)
        key = (reference, place.path if self._overrides.by_path else (), place.nesting, tuple(sorted(place.visits)))
        if key not in self._built:
            self._built[key] = self.build(target, place)
        return self._built[key]

    def _checked(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        """For a schema of which the parts are easier made than the whole: made as near to it as can be, then tried against it."""
        whole: Any = {key: value for key, value in schema.items() if key not in _LEFT_OUT}
        for part in schema.get("allOf", ()):
            whole = merged(whole, self._resolved(part))
        wholes = [whole]
        if "if" in schema:
            condition = merged(self._resolved(schema["if"]), self._resolved(schema.get("then", True)))
            wholes = [merged(whole, condition), merged(whole, self._resolved(schema.get("else", True)))]
        accepts = conforms({key: value for key, value in schema.items() if key != HINT}, self._document)
        built = _one_of([self._made(each, place) if isinstance(each, Mapping) else self.build(each, place) for each in wholes])
        return None if built is None else built.filter(accepts)

    def _resolved(self, schema: Any) -> Any:
        seen: set[str] = set()
        while isinstance(schema, Mapping) and "$ref" in schema and schema["$ref"] not in seen:
            seen.add(schema["$ref"])
            beside = {key: value for key, value in schema.items() if key != "$ref"}
            schema = merged(beside, self._document.target(schema["$ref"]))
        return schema

    def _unreferenced(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        if HINT in schema and schema[HINT]["type"] in _HINTED:
            return _HINTED[schema[HINT]["type"]](schema[HINT], schema)
        if not CHECKED.isdisjoint(schema) and not ("oneOf" in schema and "discriminator" in schema):
            return self._checked(schema, place)
        return self._made(schema, place)

    def _made(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        """Values of a schema, as far as they can be made from it without trying."""
        if "$ref" in schema or "allOf" in schema:
            return self.build(schema, place)
        if "const" in schema:
            return _constant(schema["const"])
        if "enum" in schema:
            return self._listed(schema)
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._choice(schema, choice, place)
        made = [self._of_kind(kind, schema, place) for kind in kinds(schema)]
        return _one_of(made)

    def _listed(self, schema: Mapping[str, Any]) -> SearchStrategy[Any] | None:
        values = [value for value in schema["enum"] if "type" not in schema or is_of(value, kinds(schema))]
        rest = {key: value for key, value in schema.items() if key not in ("enum", "type", HINT)}
        if rest:
            values = list(filter(conforms(rest, self._document), values))
        return st.sampled_from(values).map(deepcopy) if values else None

    def _choice(self, schema: Mapping[str, Any], choice: str, place: _Place) -> SearchStrategy[Any] | None:
        rest = {key: value for key, value in schema.items() if key not in (choice, "discriminator", "$defs", "definitions")}
        parts = [part if not rest else merged(self._resolved(part), rest) for part in schema[choice]]
        # The plainest first, since values shrink towards it: to send nothing is the plainest.
        parts.sort(key=lambda part: not (isinstance(part, Mapping) and part.get("type") == "null"))
        return _one_of([self.build(part, place) for part in parts])

    def _of_kind(self, kind: str, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        huge = self._huge(place)
        match kind:
            case "null":
                return st.none()
            case "boolean":
                return st.booleans()
            case "integer":
                return numeric.integers(schema, huge=huge)
            case "number":
                return numeric.numbers(schema, huge=huge)
            case "string":
                return self._text(schema, place)
            case "array":
                return arrays(schema, lambda part: self.build(part, place.inside()), place.more, huge=huge)
            case _:
                return self._object(schema, place)

    def _huge(self, place: _Place) -> bool:
        # Long lists of long lists would not end.
        return "huge" in self._traits and place.nesting <= 1

    def _text(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
        if "contentSchema" in schema or schema.get("contentMediaType") == "application/json" or schema.get("format") == "json-string":
            inner = self.build(schema.get("contentSchema", True), place.inside())
            return None if inner is None else inner.map(json.dumps)
        if "pattern" in schema:
            return matching(schema["pattern"], shortest, longest, unicode="unicode" in self._traits)
        if "format" in schema:
            made = formatted(schema["format"], shortest, longest)
            if made is not None:
                return made.filter(lambda text: shortest <= len(text) and (longest is None or len(text) <= longest))
        return texts(shortest, longest, unicode="unicode" in self._traits, huge=self._huge(place))

    def _object(self, schema: Mapping[str, Any], place: _Place) -> SearchStrategy[Any] | None:
        names = list(schema.get("required", ()))
        properties = {**schema.get("properties", {}), **{name: True for name in names if name not in schema.get("properties", {})}}
        made = {name: self._property(name, part, place) for name, part in properties.items()}
        required = {name: each for name, each in made.items() if name in names and each is not None}
        optional = {name: each for name, each in made.items() if name not in names and each is not None}
        if len(required) < len(set(names)):
            return None
        least = schema.get("minProperties", 0)
        extras = self._extras(schema, properties, place, lacking=least > len(made))
        return objects(required, optional, extras, least, schema.get("maxProperties"), sends_optional="optional" in self._traits)

    def _property(self, name: str, schema: Any, place: _Place) -> SearchStrategy[Any] | None:
        inside = place.inside(name)
        override = self._overrides.of_property(inside.path)
        return self.build(schema, inside) if override is None else override

    def _extras(self, schema: Mapping[str, Any], properties: Mapping[str, Any], place: _Place, *, lacking: bool) -> Extras | None:
        values = schema.get("additionalProperties", True)
        patterns: Mapping[str, Any] = schema.get("patternProperties", {})
        spoken_of = isinstance(schema.get("additionalProperties"), Mapping) or "propertyNames" in schema or HINT in schema
        open_object = schema.get("additionalProperties") is True and not properties
        made: list[SearchStrategy[Any] | None] = []
        for pattern, part in patterns.items():
            value = self.build(part, place.inside())
            keys = matching(pattern, unicode="unicode" in self._traits)
            made.append(None if value is None or keys is None else st.tuples(keys, value))
        if (
            values is not False
            and not (patterns and "additionalProperties" not in schema)
            and (spoken_of or open_object or lacking or "unlisted" in self._traits)
        ):
            value, keys = self.build(values, place.inside()), self._keys(schema, place, patterns)
            made.append(None if value is None or keys is None else st.tuples(keys, value))
        entries = _one_of(made)
        if entries is None:
            return None
        return Extras(entries.filter(lambda entry: entry[0] not in properties), schema.get("minProperties", 0) + place.more)

    def _keys(self, schema: Mapping[str, Any], place: _Place, patterns: Collection[str]) -> SearchStrategy[Any] | None:
        hint = schema.get(HINT, {}).get("keys")
        if hint:
            keys = self.build(hint, place.inside())
            return None if keys is None else keys.map(_spelled)
        if schema.get("propertyNames", True) is not True:
            keys = self.build(merged({"type": "string"}, self._resolved(schema["propertyNames"])), place.inside())
        else:
            plain = texts(0, 12, unicode=True) if "unicode" in self._traits else None
            keys = words() if plain is None else words() | plain
        taken = [acceptance(pattern) for pattern in patterns]
        return keys if keys is None or not taken else keys.filter(lambda key: not any(accepts(key) for accepts in taken))


def anything(*, unicode: bool = True) -> SearchStrategy[Any]:
    """Any JSON value, of a few leaves."""
    leaves = st.one_of(st.none(), st.booleans(), *filter(_given, (numeric.numbers({}), texts(0, 20, unicode=unicode))))
    return st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words(), inner, max_size=3), max_leaves=5)


def _given(made: SearchStrategy[Any] | None) -> bool:
    # A strategy is no truth value.
    return made is not None


def _one_of(made: Collection[SearchStrategy[Any] | None]) -> SearchStrategy[Any] | None:
    possible = [each for each in made if each is not None]
    return st.one_of(possible) if possible else None


def _with_said(built: SearchStrategy[Any], schema: Mapping[str, Any]) -> SearchStrategy[Any]:
    said = [*schema.get("examples", ()), *([schema["default"]] if "default" in schema else ())]
    # What is one of a few values comes up by itself.
    if not said or not {"enum", "const", "$ref"}.isdisjoint(schema) or schema.get("type") in ("boolean", "null"):
        return built
    return st.one_of(built, *map(_constant, said))


def _constant(value: Any) -> SearchStrategy[Any]:
    # Whoever gets it may change it.
    return st.just(value).map(deepcopy) if isinstance(value, (list, dict)) else st.just(value)


def _spelled(key: Any) -> str:
    """A key as JSON has it: text, whatever it stands for."""
    return key if isinstance(key, str) else json.dumps(key)


def _complex(core: Any, schema: Any) -> SearchStrategy[Any]:
    return st.complex_numbers(max_magnitude=10**6, allow_nan=False, allow_infinity=False).map(lambda number: str(number).strip("()"))


def _url(core: Mapping[str, Any], schema: Mapping[str, Any]) -> SearchStrategy[Any]:
    return uris(core.get("allowed_schemes") or (), schema.get("minLength", 0), schema.get("maxLength"))


_HINTED = {
    "decimal": lambda core, schema: numeric.decimals(core),
    "date": lambda core, schema: moments.dates(core),
    "datetime": lambda core, schema: moments.datetimes(core),
    "time": lambda core, schema: moments.times(core),
    "timedelta": lambda core, schema: moments.durations(core),
    "url": _url,
    "multi-host-url": _url,
    "complex": _complex,
}


def _shown(schema: Any) -> str:
    text = json.dumps(schema, default=str)
    return text if len(text) <= 200 else text[:199] + "…"
