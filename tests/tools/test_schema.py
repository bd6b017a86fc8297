"""@tool(args_schema=...): tools whose arguments are described by a JSON Schema that came from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.errors import ConfigurationError
from afk_es.tools import Tool, ToolContext, ToolResult, prehook, tool

_FLIGHT = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "seats": {"type": "integer"}},
    "required": ["number"],
    "additionalProperties": False,
}
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "user_id": {"type": "string", "description": "Who books.", "pattern": "^[a-z_]+$"},
        "cabin": {"type": "string", "enum": ["economy", "business"]},
        "flights": {"type": "array", "items": {"$ref": "#/$defs/flight"}},
        "price": {"type": "number"},
        "note": {"type": ["string", "null"]},
        "extras": {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]},
        "_class": {"const": "booking"},
    },
    "required": ["user_id"],
    "$defs": {"flight": _FLIGHT},
}


def _echo(**changes: Any) -> Tool[..., Any]:
    @tool(name="book", description="Book.", args_schema={**_SCHEMA, **changes})
    async def book(arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments

    return book


async def _answer(of: Tool[..., Any], arguments: dict[str, Any] | str) -> Any:
    result = await of.call(arguments)
    assert isinstance(result, ToolResult)
    return result.output if result.success else result.error


def test_the_model_is_shown_the_schema_as_it_is() -> None:
    spec = _echo().spec()
    assert (spec.name, spec.description, spec.parameters) == ("book", "Book.", _SCHEMA)


@pytest.mark.parametrize(
    "arguments",
    [
        {"user_id": "a"},
        {"user_id": "a", "cabin": "economy", "flights": [{"number": "HAT1"}, {"number": "HAT2", "seats": 2}], "_class": "booking"},
        {"user_id": "a", "price": 5, "note": None, "extras": True},
        {"user_id": "a", "price": 5.5, "note": "", "extras": ["wifi"], "said by nobody": {"kept": [1]}},
    ],
)
async def test_the_function_gets_the_arguments_that_were_sent_and_no_others(arguments: dict[str, Any]) -> None:
    answer = await _answer(_echo(), arguments)
    assert answer == arguments
    assert type(answer.get("price")) is type(arguments.get("price"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({}, "- user_id: Field required"),
        ({"user_id": 7}, "- user_id: Input should be a valid string (got 7)"),
        ({"user_id": "a", "cabin": "first"}, "- cabin: Input should be 'economy' or 'business' (got 'first')"),
        ({"user_id": "a", "flights": [{"number": "1"}, {"seats": 1}]}, "- flights.1.number: Field required"),
        ({"user_id": "a", "flights": [{"number": "1", "seat": 1}]}, "- flights.0.seat: Extra inputs are not permitted"),
        ({"user_id": "a", "price": "much"}, "- price.int: Input should be a valid integer"),
        ("[]", "the arguments for book must be one JSON object"),
    ],
)
async def test_what_the_schema_forbids_the_model_is_told(arguments: Any, problem: str) -> None:
    assert problem in await _answer(_echo(), arguments)


async def test_a_misspelt_argument_of_a_closed_schema_is_named_with_the_likely_one() -> None:
    assert "did you mean user_id?" in await _answer(_echo(additionalProperties=False), {"user_id": "a", "userid": "b"})


async def test_properties_beyond_the_listed_ones_may_have_a_schema_of_their_own() -> None:
    counted = _echo(additionalProperties={"type": "integer"})
    assert await _answer(counted, {"user_id": "a", "x": 1}) == {"user_id": "a", "x": 1}
    assert "- x: Input should be a valid integer" in await _answer(counted, {"user_id": "a", "x": "one"})


async def test_a_schema_that_refers_to_itself_is_checked_all_the_way_down() -> None:
    properties = {"child": {"$ref": "#"}, "sibling": {"$ref": "#"}, "leaf": {"$ref": "#/nowhere"}}
    tree = {"type": "object", "properties": properties, "additionalProperties": False}

    @tool(name="plant", args_schema=tree)
    def plant(tree: dict[str, Any]) -> dict[str, Any]:
        return tree

    assert await _answer(plant, {"child": {"child": {"leaf": 1}}}) == {"child": {"child": {"leaf": 1}}}
    assert "child.child.bark: Extra inputs" in str(await _answer(plant, {"child": {"child": {"bark": 1}}}))


async def test_context_hooks_and_hints_are_those_of_any_tool() -> None:
    @prehook
    async def lowered(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        return {**args, "user_id": args["user_id"].lower()}

    @tool(name="who", args_schema=_SCHEMA, prehooks=[lowered], read_only=True)
    def who(ctx: ToolContext, arguments: dict[str, Any]) -> str:
        return f"{arguments['user_id']} in {ctx.thread_id}"

    result = await who.call({"user_id": "ANNA"}, ToolContext(thread_id="t"))
    assert result == ToolResult(output="anna in t")
    assert who.read_only


def test_a_tool_without_arguments_needs_no_properties() -> None:
    @tool(args_schema={})
    def ping(arguments: dict[str, Any]) -> str:
        return "pong"

    assert ping.parameters == {"type": "object", "properties": {}}


class _Model(BaseModel):
    x: int


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"args_schema": {"type": "array"}}, "describes an object"),
        ({"args_schema": {"type": "object", "default": object()}}, "is not JSON"),
        ({"args_schema": {"type": "object", "properties": ["x"]}}, "is not a JSON Schema"),
        ({"args_schema": {}, "args_model": _Model}, "either args_model or args_schema"),
    ],
)
def test_a_schema_that_cannot_be_one_is_refused_at_decoration(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):

        @tool(**options)
        def never(arguments: dict[str, Any]) -> None: ...


def test_a_function_of_several_parameters_cannot_take_the_dict() -> None:
    with pytest.raises(ConfigurationError, match=r"takes \(args\)"):

        @tool(args_schema=_SCHEMA)
        def pair(a: dict[str, Any], b: dict[str, Any]) -> None: ...
