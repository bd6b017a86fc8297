"""A schema of somebody else's is bounded before it is used, fetches nothing, and cannot make a validation take long."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mcp.server import Server
from mcp_types import ListToolsResult, Tool

from afk_es.errors import ToolArgumentsError
from afk_es.mcp import MCPClient
from afk_es.mcp.schemas import Checker, SchemaRefusedError, taken


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels):
        schema = {"properties": {"a": schema}}
    return {"type": "object", **schema}


REFUSED: list[tuple[Any, str]] = [
    (None, "not an object"),
    ([], "not an object"),
    ({}, 'not of type "object"'),
    ({"type": "string"}, 'not of type "object"'),
    ({"type": ["object", "null"]}, 'not of type "object"'),
    ({"type": "object", "properties": 7}, "no JSON Schema"),
    ({"type": "object", "properties": {"a": {"type": "text"}}}, "no JSON Schema"),
    ({"type": "object", "required": "a"}, "no JSON Schema"),
    ({"type": "object", "properties": {"a": {"$ref": "https://example.org/schema"}}}, "nothing is fetched"),
    ({"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}}, "nothing is fetched"),
    ({"type": "object", "allOf": [{"$dynamicRef": "other.json#x"}]}, "nothing is fetched"),
    (nested(60), "more than 40 levels"),
    ({"type": "object", "description": "x" * 70_000}, "more than 65536 bytes"),
    ({"type": "object", "$schema": []}, "no JSON Schema"),
]


@pytest.mark.parametrize(("schema", "reason"), REFUSED)
def test_a_schema_that_is_not_taken_says_why(schema: Any, reason: str) -> None:
    with pytest.raises(SchemaRefusedError, match=reason):
        taken(schema, of_object=True)


def problems(schema: dict[str, Any], value: Any) -> list[str]:
    return Checker(taken(schema, of_object=False)).problems(value)


CHECKED: list[tuple[dict[str, Any], Any, str]] = [
    ({"type": "integer"}, "x", "'x' is not of type 'integer'"),
    ({"properties": {"a": {"type": "string", "minLength": 2}}}, {"a": "x"}, "a: 'x' is too short"),
    ({"properties": {"a": {"pattern": "^[a-z]+$"}}}, {"a": "7"}, "a: '7' does not match '^[a-z]+$'"),
    ({"properties": {"a": {}}, "additionalProperties": False}, {"b": 1}, "there is no 'b'; the properties are: a"),
    ({"additionalProperties": {"type": "integer"}}, {"b": "x"}, "b: 'x' is not of type 'integer'"),
    ({"patternProperties": {"^x": {"type": "integer"}}, "additionalProperties": False}, {"x1": 1, "y": 1}, "there is no 'y'"),
    ({"patternProperties": {"^x": {"type": "integer"}}}, {"x1": "no"}, "x1: 'no' is not of type 'integer'"),
    ({"type": "array", "uniqueItems": True}, [{"a": 1}, {"a": 1}], "it has an item twice"),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "x", "'x' is not of type"),
    ({"not": {"type": "integer"}}, 7, "should not be valid under"),
    ({"$defs": {"n": {"type": "integer"}}, "items": {"$ref": "#/$defs/n"}}, ["x"], "0: 'x' is not of type 'integer'"),
    ({"$ref": "#/nowhere"}, 1, "its schema refers to what is not in it"),
]


@pytest.mark.parametrize(("schema", "value", "problem"), CHECKED)
def test_a_problem_is_told_with_its_place(schema: dict[str, Any], value: Any, problem: str) -> None:
    (found,) = problems(schema, value)
    assert problem in found


def test_no_more_problems_are_told_than_anybody_reads() -> None:
    assert len(problems({"items": {"type": "integer"}}, ["x"] * 1000)) == 11


def doubling(levels: int) -> dict[str, Any]:
    """References that meet again: as many paths as 2 to the power of the levels."""
    definitions: dict[str, Any] = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)}
    return {"$defs": {**definitions, f"d{levels}": {"type": "integer"}}, "$ref": "#/$defs/d0"}


HOSTILE: list[tuple[dict[str, Any], Any, bool]] = [
    ({"pattern": "^(a+)+$"}, "a" * 40 + "!", True),
    ({"propertyNames": {"pattern": "^(a|a)*$"}}, {"a" * 40 + "!": 1}, True),
    ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}, True),
    # What the engine does not know is left to the server.
    ({"pattern": "^(?=(a+)+$)x"}, "a" * 40 + "!", False),
    (doubling(40), 1, True),
    ({"type": "array", "uniqueItems": True}, [[number, str(number), None] for number in range(20_000)], False),
    ({"$ref": "#"}, 1, True),
    ({"items": {"$ref": "#"}, "properties": {"a": {"$ref": "#"}}}, {"a": [[{"a": []}]]}, False),
]


@pytest.mark.parametrize(("schema", "value", "bad"), HOSTILE)
def test_nothing_takes_long(schema: dict[str, Any], value: Any, bad: bool) -> None:
    began = time.process_time()
    assert bool(problems(schema, value)) is bad
    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("value", [1, "x"])
async def test_arguments_are_held_against_a_schema_that_branches_without_end_and_it_takes_no_longer(value: object) -> None:
    """Pydantic would try every way through it."""
    branches: dict[str, Any] = {f"d{level}": {"anyOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(40)}
    schema = {"type": "object", "$defs": {**branches, "d40": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/d0"}}}

    async def on_list_tools(context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=[Tool(name="work", input_schema=schema)])

    async with MCPClient(Server("raw", on_list_tools=on_list_tools)) as client:
        (work,) = await client.tools()
        began = time.process_time()
        if value == 1:
            work.validate({"a": value})
        else:
            with pytest.raises(ToolArgumentsError):
                work.validate({"a": value})
    assert time.process_time() - began < 2.0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text("ab", max_size=3),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abc"), below, max_size=3),
    max_leaves=8,
)
SCHEMAS = st.recursive(
    st.sampled_from(
        [{}, {"type": "integer"}, {"type": ["string", "null"]}, {"enum": [1, "a"]}, {"minimum": 2}, {"pattern": "^a"}, {"maxItems": 1}]
    ),
    lambda below: (
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("abc"), below, max_size=2), "required": st.just(["a"])})
        | st.fixed_dictionaries({"anyOf": st.lists(below, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"items": below, "uniqueItems": st.booleans()})
        | st.fixed_dictionaries({"patternProperties": st.just({"^a": {}}), "additionalProperties": st.just(False) | below})
        | st.fixed_dictionaries({"not": below})
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, VALUES)
def test_it_says_what_the_library_says(schema: dict[str, Any], value: Any) -> None:
    """What is replaced for being slow means the same; items that are 1 and 1.0, or 1 and true, are told apart as JSON texts."""
    expected = Draft202012Validator(schema).is_valid(value)
    assert (not problems(schema, value)) is expected or "uniqueItems" in repr(schema)


class Interrupted(list[int]):
    """A list in the middle of which another thread holds a small value against the same schema."""

    def __init__(self, size: int, checker: Checker) -> None:
        super().__init__(range(size))
        self.checker = checker

    def __getitem__(self, index: Any) -> Any:
        if index == 10:
            other = threading.Thread(target=self.checker.problems, args=([1],))
            other.start()
            other.join()
        return super().__getitem__(index)


def test_the_steps_of_one_validation_are_no_other_thread_s() -> None:
    """Results of parallel calls are checked in threads, and the steps that a large one may take are more than a small one's."""
    checker = Checker(taken({"type": "array", "items": {"type": "integer"}}, of_object=False))
    assert checker.problems(Interrupted(20_000, checker)) == []
