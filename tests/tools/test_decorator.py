"""@tool: what a model sees of a function, and what is refused at decoration."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from afk_es.errors import ConfigurationError, ToolArgumentsError
from afk_es.tools import Tool, ToolContext, ToolResult, tool


class SearchArgs(BaseModel):
    query: str
    limit: int = 10


class Unit(enum.Enum):
    CELSIUS = "c"
    FAHRENHEIT = "f"


def test_schema_comes_from_the_typed_signature_and_the_docstring() -> None:
    @tool
    async def search(query: str, unit: Unit = Unit.CELSIUS, limit: Annotated[int, Field(gt=0)] = 10, ctx: ToolContext | None = None) -> str:
        """Search the web.

        Args:
            query: what to look for,
                in plain words
            limit (int): how many
        """
        return query

    assert (search.name, search.description) == ("search", "Search the web.")
    assert search.parameters == {
        "type": "object",
        "additionalProperties": False,
        "required": ["query"],
        "properties": {
            "query": {"type": "string", "description": "what to look for, in plain words"},
            "unit": {"$ref": "#/$defs/Unit", "default": "c"},
            "limit": {"type": "integer", "exclusiveMinimum": 0, "default": 10, "description": "how many"},
        },
        "$defs": {"Unit": {"enum": ["c", "f"], "title": "Unit", "type": "string"}},
    }
    assert search.spec().parameters == search.parameters


def test_sphinx_docstrings_describe_parameters_as_well() -> None:
    @tool
    def pay(amount: float) -> None:
        """Pay.

        :param amount: in euros
        """

    assert pay.description == "Pay."
    assert pay.parameters["properties"]["amount"]["description"] == "in euros"


async def test_args_model_forms() -> None:
    @tool(SearchArgs)
    def only_args(args: SearchArgs) -> str:
        return args.query

    @tool(args_model=SearchArgs, name="second")
    async def args_and_context(args: SearchArgs, ctx: ToolContext) -> str:
        return f"{args.query} {ctx.run_id}"

    @tool(SearchArgs)
    def context_first(context, given: SearchArgs):  # type: ignore[no-untyped-def]
        return f"{given.query} {context.run_id}"

    ctx = ToolContext(run_id="r1")
    assert await only_args.call({"query": "x", "unknown": "ignored as the model is configured"}, ctx) == ToolResult(output="x")
    assert await args_and_context.call({"query": "x"}, ctx) == ToolResult(output="x r1")
    assert await context_first.call({"query": "x"}, ctx) == ToolResult(output="x r1")
    assert args_and_context.name == "second"


async def test_a_tool_is_still_the_function() -> None:
    @tool()
    def double(number: int) -> int:
        return 2 * number

    assert double(4) == 8
    assert isinstance(double, Tool)


async def test_parameter_names_that_pydantic_reserves_and_an_argument_named_context() -> None:
    @tool
    def odd(copy: int, _hidden: int, model_config: int, context: str, ctx) -> list[Any]:  # type: ignore[no-untyped-def]
        return [copy, _hidden, model_config, context, ctx.step]

    arguments = {"copy": 1, "_hidden": 2, "model_config": 3, "context": "c"}
    assert set(odd.parameters["properties"]) == set(arguments)
    assert await odd.call(arguments, ToolContext(step=7)) == ToolResult(output=[1, 2, 3, "c", 7])


async def test_annotations_may_name_a_class_that_is_local_to_where_the_tool_is_made() -> None:
    class Local(BaseModel):
        size: int

    @tool
    def grow(what: Local) -> int:
        return what.size + 1

    assert await grow.call({"what": {"size": 1}}) == ToolResult(output=2)


def test_an_annotation_that_names_nothing_is_refused() -> None:
    def lost(what: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError, match="define it before the tool"):
        tool(lost)


def test_arguments_that_a_program_gives_need_not_be_json() -> None:
    @tool
    def plan(size: int, thing: Any = None) -> None: ...

    marker = object()
    assert plan.named_arguments(plan.validate({"size": 2**70, "thing": marker})) == {"size": 2**70, "thing": marker}


def test_an_empty_text_counts_as_no_arguments() -> None:
    assert tool(_fine).json_arguments(tool(_fine).validate(" ")) == {}


async def test_bound_methods_partials_and_callable_objects() -> None:
    class Shop:
        def price(self, item: str) -> str:
            return f"{item}: 3"

        async def __call__(self, item: str) -> str:
            return item

    def scaled(factor: int, number: int) -> int:
        return factor * number

    assert await tool(Shop().price).call({"item": "tea"}) == ToolResult(output="tea: 3")
    assert await tool(name="shop")(Shop()).call({"item": "tea"}) == ToolResult(output="tea")
    assert await tool(name="triple")(functools.partial(scaled, 3)).call({"number": 2}) == ToolResult(output=6)


def _variadic(*args: int) -> None: ...
def _keywords(**kwargs: int) -> None: ...
def _positional(number: int, /) -> None: ...
def _untyped(number) -> None: ...  # type: ignore[no-untyped-def]
def _two(args: SearchArgs, other: int) -> None: ...
def _fine() -> None: ...
def _generator() -> Any:
    yield 1


class _Opaque: ...


def _opaque(thing: _Opaque) -> None: ...
def _unschemable(thing: Callable[[], int]) -> None: ...


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tool(_variadic), "cannot fill"),
        (lambda: tool(_keywords), "cannot fill"),
        (lambda: tool(_positional), "positional-only"),
        (lambda: tool(_untyped), "no type annotation"),
        (lambda: tool(_generator), "return a list"),
        (lambda: tool(_opaque), "cannot be validated"),
        (lambda: tool(_unschemable), "JSON Schema"),
        (lambda: tool(lambda: None), "name '<lambda>'"),
        (lambda: tool(name="a b")(_fine), "name 'a b'"),
        (lambda: tool(name="x" * 65)(_fine), "1 to 64"),
        (lambda: tool(timeout=0)(_fine), "above 0"),
        (lambda: tool(timeout=float("nan"))(_fine), "above 0"),
        (lambda: tool(read_only=True, destructive=True)(_fine), "read_only and destructive"),
        (lambda: tool(SearchArgs)(_two), r"\(args, ctx\)"),
        (lambda: tool(dict), "pydantic.BaseModel"),  # type: ignore[type-var,unused-ignore]
        (lambda: tool("search"), "pydantic.BaseModel"),  # type: ignore[call-overload,unused-ignore]
        (lambda: tool(tool(_fine)), "pydantic.BaseModel"),
    ],
)
def test_what_no_model_could_call_is_refused_at_decoration(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


def test_a_hook_of_the_wrong_kind_or_form_is_refused() -> None:
    from afk_es.tools import posthook

    with pytest.raises(ConfigurationError, match="is a posthook"):
        tool(prehooks=[posthook(lambda result: result)])(_fine)
    with pytest.raises(ConfigurationError, match="takes"):
        tool(middlewares=[lambda: None])(_fine)


@tool
def book(seats: int, kind: Literal["aisle", "window"] = "aisle") -> int:
    return seats


class TestArguments:
    def test_every_problem_is_named_in_words_to_correct_it_by(self) -> None:
        with pytest.raises(ToolArgumentsError) as caught:
            book.validate({"seats": "many", "kind": "roof", "knd": 1})
        lines = str(caught.value).splitlines()
        assert lines[0] == "invalid arguments for book:"
        assert lines[1].startswith("- seats: Input should be a valid integer")
        assert lines[1].endswith("(got 'many')")
        assert "'aisle' or 'window'" in lines[2]
        assert lines[3].endswith("did you mean kind?")

    @pytest.mark.parametrize(
        ("text", "message"), [('{"seats": 1', "not valid JSON"), ("[1]", "one JSON object"), ("\ud800", "not valid JSON")]
    )
    def test_broken_json_is_said_to_be_broken(self, text: str, message: str) -> None:
        with pytest.raises(ToolArgumentsError, match=message):
            book.validate(text)

    def test_a_string_that_holds_an_object_after_all_is_taken(self) -> None:
        assert book.json_arguments(book.validate('{"seats": "2"}')) == {"seats": 2, "kind": "aisle"}

    def test_a_long_list_of_problems_is_cut(self) -> None:
        with pytest.raises(ToolArgumentsError, match="and 81 more"):
            book.validate({f"x{number}": 1 for number in range(100)})
