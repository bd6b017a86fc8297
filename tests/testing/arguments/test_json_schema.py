"""JSON Schemas as strategies: by keyword, judged by an implementation of JSON Schema that had no part in making the values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft202012Validator

from afk_es.errors import ConfigurationError
from afk_es.testing.arguments import ALL_TRAITS, from_json_schema
from tests.testing.arguments.table import drawn

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"value": {"type": "integer"}, "below": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["value", "below"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/node",
}

SCHEMAS: dict[str, Any] = {
    "everything": True,
    "empty": {},
    "types by name": {"type": ["string", "null", "array"]},
    "types by keyword": {"minLength": 2, "minimum": 3},
    "const": {"const": {"a": [1]}},
    "enum of one type": {"type": "string", "enum": ["a", 1, None]},
    "enum with more": {"enum": [1, 5, 9], "minimum": 4},
    "integer bounds": {"type": "integer", "minimum": 2.5, "exclusiveMaximum": 9},
    "integer far off": {"type": "integer", "minimum": 2**70, "maximum": 2**70 + 3},
    "integer at the lower end": {"type": "integer", "maximum": -(2**70)},
    "integer multiple of a fraction": {"type": "integer", "multipleOf": 1.5, "minimum": 0, "maximum": 30},
    "number between": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1e-300},
    "number multiple": {"type": "number", "multipleOf": 0.5, "minimum": -1.2, "exclusiveMaximum": 2},
    "number of whole multiples": {"type": "number", "multipleOf": 3, "minimum": 1},
    "tight number": {"type": "number", "minimum": 0.1, "maximum": 0.1},
    "string lengths": {"type": "string", "minLength": 2, "maxLength": 3},
    "array": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    "empty array": {"type": "array", "maxItems": 0},
    "unique items": {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 2},
    "unique of all kinds": {"type": "array", "uniqueItems": True},
    "prefix": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": False},
    "prefix and rest": {"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "boolean"}, "minItems": 3},
    "short prefix": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 0, "maxItems": 1},
    "contains": {"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 100}, "minContains": 2},
    "object": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"], "additionalProperties": False},
    "required and not described": {"type": "object", "required": ["x"]},
    "additional": {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "integer"}, "minProperties": 3},
    "pattern properties": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "integer"}, "^s_": {"type": "string"}},
        "additionalProperties": False,
    },
    "patterns and others": {
        "type": "object",
        "patternProperties": {"^n_": {"type": "integer"}},
        "additionalProperties": {"type": "boolean"},
    },
    "property names": {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
    "property counts": {
        "type": "object",
        "properties": {name: {"type": "integer"} for name in "abcd"},
        "minProperties": 2,
        "maxProperties": 3,
        "additionalProperties": False,
    },
    "one property at most": {"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1, "additionalProperties": False},
    "allOf": {"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 9}, {"multipleOf": 2}, {"multipleOf": 3}]},
    "allOf of objects": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"a": {"minimum": 5}, "b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "allOf of references": {
        "$defs": {"small": {"maximum": 5}, "whole": {"type": "integer"}},
        "allOf": [{"$ref": "#/$defs/small"}, {"$ref": "#/$defs/whole"}],
    },
    "allOf of choices": {
        "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"anyOf": [{"type": "string"}, {"type": "null"}]}]
    },
    "allOf of bounds": {"allOf": [{"type": "integer", "minimum": 1, "maximum": 8}, {"minimum": 3, "maximum": 9}]},
    "allOf of allOf": {"allOf": [{"allOf": [{"type": "integer"}, {"minimum": 3}]}, {"maximum": 4}]},
    "allOf of enums": {"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}]},
    "allOf of arrays": {
        "allOf": [{"type": "array", "items": {"type": "integer"}}, {"items": {"minimum": 2}, "uniqueItems": True, "maxItems": 3}]
    },
    "allOf of number and integer": {"allOf": [{"type": "number"}, {"type": ["integer", "string"]}]},
    "anyOf beside": {"anyOf": [{"type": "integer"}, {"type": "number"}], "minimum": 7},
    "oneOf": {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
    "not": {"type": "integer", "minimum": 0, "maximum": 9, "not": {"enum": [0, 1]}},
    "if": {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}},
        "required": ["kind"],
        "if": {"properties": {"kind": {"const": "a"}}},
        "then": {"required": ["x"], "properties": {"x": {"type": "integer"}}},
        "else": {"required": ["y"]},
    },
    "dependent": {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "null"}}, "dependentRequired": {"a": ["b"]}},
    "reference with siblings": {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n", "minimum": 4, "description": "told"},
    "reference with an escape": {"$defs": {"a/b%": {"type": "null"}}, "$ref": "#/$defs/a~1b%25"},
    "reference into a list": {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#/anyOf/0"}}]},
    "tree": TREE,
    "mutual": {
        "$defs": {
            "a": {"type": "object", "properties": {"b": {"$ref": "#/$defs/b"}}},
            "b": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}},
        },
        "$ref": "#/$defs/a",
    },
    "recursion behind allOf": {
        "$defs": {"n": {"type": "object", "properties": {"next": {"allOf": [{"$ref": "#/$defs/n"}]}, "x": {"type": "integer"}}}},
        "$ref": "#/$defs/n",
    },
    "recursion with siblings": {
        "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n", "minProperties": 1}, "x": {"type": "integer"}}}},
        "$ref": "#/$defs/n",
    },
    "recursion in a choice with siblings": {
        "$defs": {
            "n": {"anyOf": [{"$ref": "#/$defs/list"}, {"type": "integer"}], "not": {"const": 7}},
            "list": {"type": "array", "items": {"$ref": "#/$defs/n"}},
        },
        "$ref": "#/$defs/n",
    },
    "recursion in a condition": {
        "type": "object",
        "properties": {"x": {"type": "integer"}},
        "required": ["x"],
        "if": {"properties": {"x": {"minimum": 0}}},
        "then": {"properties": {"again": {"$ref": "#"}}},
    },
    "said and not allowed": {
        "type": "string",
        "pattern": "^[a-c]{3}$",
        "maxLength": 3,
        "examples": ["aaa", "xyz", "aaaa", 5],
        "default": None,
    },
    "itself": {"type": "object", "properties": {"again": {"$ref": "#"}}, "additionalProperties": False},
}


@pytest.mark.parametrize("name", SCHEMAS)
def test_values_are_what_the_schema_allows(name: str) -> None:
    allowed = Draft202012Validator(SCHEMAS[name])
    values = drawn(from_json_schema(SCHEMAS[name]), 10)
    assert values
    for value in values:
        assert [error.message for error in allowed.iter_errors(value)] == []
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize("name", SCHEMAS)
def test_with_every_trait_too(name: str) -> None:
    allowed = Draft202012Validator(SCHEMAS[name])
    assert all(map(allowed.is_valid, drawn(from_json_schema(SCHEMAS[name], traits=ALL_TRAITS), 4)))


def test_what_is_said_and_not_allowed_is_not_taken_up() -> None:
    values = drawn(from_json_schema(SCHEMAS["said and not allowed"], traits=["said"]), 100)
    assert "aaa" in values
    assert None not in values


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("enum of one type", {"a"}),
        ("enum with more", {5, 9}),
        ("integer bounds", set(range(3, 9))),
        ("integer multiple of a fraction", {0, 3, 6, 9, 12, 15, 18, 21, 24, 27, 30}),
        ("number multiple", {-1.0, -0.5, 0.0, 0.5, 1.0, 1.5}),
        ("allOf", {6}),
        ("allOf of bounds", set(range(3, 9))),
        ("allOf of allOf", {3, 4}),
        ("allOf of enums", {2, 3}),
        ("not", set(range(2, 10))),
        ("tight number", {0.1}),
    ],
)
def test_every_value_of_a_small_set_comes_up(name: str, values: set[Any]) -> None:
    assert set(drawn(from_json_schema(SCHEMAS[name]), 120)) == values


def test_the_exclusive_bounds_of_draft_4() -> None:
    schema = {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "maximum": 4, "exclusiveMaximum": True}
    assert set(drawn(from_json_schema(schema), 30)) == {2, 3}
    assert Draft4Validator(schema).is_valid(2)
    assert not Draft4Validator(schema).is_valid(1)


def test_tuples_as_they_were_before_2020() -> None:
    schema = {"type": "array", "items": [{"type": "integer"}, {"type": "string"}], "additionalItems": False}
    assert {tuple(map(type, value)) for value in drawn(from_json_schema(schema), 10)} == {(int, str)}


def test_the_pattern_of_a_property_asks_rusts_engine() -> None:
    schema = {"type": "object", "patternProperties": {r"^\p{Lu}$": {"type": "null"}}, "additionalProperties": False, "minProperties": 1}
    assert all(key.isupper() for value in drawn(from_json_schema(schema), 20) for key in value)


@pytest.mark.parametrize(
    "name",
    ["date", "date-time", "time", "duration", "uuid", "email", "uri", "ipv4", "ipv6", "hostname", "regex", "json-pointer", "made-up"],
)
def test_formats_make_texts_and_unknown_ones_any_text(name: str) -> None:
    values = drawn(from_json_schema({"type": "string", "format": name}), 20)
    checker = Draft202012Validator.FORMAT_CHECKER
    assert all(checker.conforms(value, name) for value in values)
    assert len(set(values)) > 3


def test_said_values_come_up_and_can_be_left_out() -> None:
    schema = {"type": "string", "examples": ["ZFA04Y"], "default": "none"}
    assert {"ZFA04Y", "none"} <= set(drawn(from_json_schema(schema), 60))
    assert not {"ZFA04Y", "none"} & set(drawn(from_json_schema(schema, traits=["unicode"]), 60))


def test_what_was_said_is_nobody_elses_when_it_is_changed() -> None:
    schema = {"type": "array", "default": ["a"], "items": {"type": "string"}}
    values = drawn(from_json_schema(schema).map(lambda value: (list(value), value.append("changed"))[0]), 60)
    assert ["a"] in values
    assert schema["default"] == ["a"]


def test_embedded_json_is_json_of_its_schema() -> None:
    schema = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "integer", "minimum": 3}}
    assert all(json.loads(value) >= 3 for value in drawn(from_json_schema(schema), 20))


def test_trees_end_and_grow() -> None:
    def size(node: dict[str, Any]) -> int:
        return 1 + sum(map(size, node["below"]))

    sizes = [size(value) for value in drawn(from_json_schema(TREE), 100)]
    assert min(sizes) == 1
    assert 5 < max(sizes) < 300


def test_overrides_by_name_and_path() -> None:
    inner = {"type": "object", "properties": {"value": {"type": "integer"}, "below": {"type": "string"}}, "required": ["value", "below"]}
    schema = {"type": "object", "properties": {"a": inner, "b": inner}, "required": ["a", "b"]}
    for value in drawn(from_json_schema(schema, overrides={"value": st.just(7), "a.below": st.just("here")}), 10):
        assert (value["a"], value["b"]["value"]) == ({"value": 7, "below": "here"}, 7)
    assert {value["b"]["below"] for value in drawn(from_json_schema(schema, overrides={"a.below": st.just("here")}), 10)} != {"here"}


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1},
        {"type": "integer", "multipleOf": 10, "minimum": 1, "maximum": 9},
        {"type": "number", "multipleOf": 0.5, "minimum": 0.1, "maximum": 0.4},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string", "pattern": "a", "minLength": 3, "maxLength": 2},
        {"type": "string", "enum": [1]},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "array", "minItems": 2, "maxItems": 1},
        {"type": "array", "prefixItems": [False], "minItems": 1},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "additionalProperties": False, "minProperties": 1},
        {"type": "object", "required": ["a", "b"], "maxProperties": 1},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"allOf": [True, False]},
        {"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]},
    ],
)
def test_a_schema_without_values_is_refused_at_once(schema: Any) -> None:
    with pytest.raises(ConfigurationError, match="the schema allows no value: "):
        from_json_schema(schema)


@pytest.mark.parametrize("reference", ["#/$defs/missing", "https://example.com/schema.json", "#/$defs/list/7"])
def test_a_reference_to_nothing_is_named(reference: str) -> None:
    with pytest.raises(ConfigurationError, match=f"refers to '{reference}', which is not in it".replace("$", r"\$")):
        from_json_schema({"$ref": reference, "$defs": {"list": [1]}})


@pytest.mark.parametrize(
    ("schema", "smallest"),
    [
        (True, None),
        ({"type": "integer", "minimum": -5, "maximum": 5}, 0),
        ({"type": "number", "minimum": 0.25, "maximum": 0.5}, 0.5),
        ({"type": ["array", "string", "null"]}, None),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, None),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, {}),
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True, "minItems": 2}, [0, 1]),
        (TREE, {"value": 0, "below": []}),
    ],
)
def test_values_shrink_to_plain_ones(schema: Any, smallest: Any) -> None:
    quiet = settings(database=None, derandomize=True, phases=[Phase.generate, Phase.shrink])
    assert find(from_json_schema(schema), lambda value: True, settings=quiet) == smallest
