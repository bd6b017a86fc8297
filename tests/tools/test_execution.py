"""One call of a tool: the order of hooks, time, threads, cancellation, and outputs of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import dataclasses
import datetime as dt
import decimal
import threading
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.errors import ConfigurationError, ToolError, ToolTimeoutError, UnknownToolError
from afk_es.tools import (
    ToolContext,
    ToolDeferredHandle,
    ToolRegistry,
    ToolResult,
    failure_text,
    middleware,
    posthook,
    prehook,
    registry_middleware,
    tool,
)


async def test_hooks_run_in_the_documented_order_with_and_without_the_context() -> None:
    seen: list[str] = []

    @prehook
    def clamp(args: dict[str, Any]) -> dict[str, Any]:
        seen.append(f"prehook {args}")
        return {**args, "number": "5"}

    @prehook
    async def note(args: dict[str, Any], ctx: ToolContext) -> dict[str, Any]:
        seen.append(f"second prehook {ctx.run_id}")
        return args

    @middleware
    async def outer(call_next: Any, args: BaseModel, ctx: ToolContext) -> Any:
        seen.append(f"outer {args.model_dump()}")
        return await call_next(args, ctx) + 1

    @middleware
    def inner(call_next: Any, args: BaseModel) -> Any:
        seen.append("inner")
        return call_next()

    @posthook
    def wrap(result: dict[str, Any]) -> dict[str, Any]:
        seen.append(f"posthook {result}")
        return {**result, "output": [result["output"]]}

    @tool(prehooks=[clamp, note], middlewares=[outer, inner], posthooks=[wrap])
    async def double(number: int) -> int:
        seen.append(f"function {number}")
        return number * 2

    assert await double.call({"number": 1}, ToolContext(run_id="r")) == ToolResult(output=[11])
    assert seen == [
        "prehook {'number': 1}",
        "second prehook r",
        "outer {'number': 5}",
        "inner",
        "function 5",
        "posthook {'output': 11, 'tool_name': 'double'}",
    ]


async def test_what_a_prehook_returns_is_validated_again() -> None:
    @tool(prehooks=[lambda args: {"number": "x"}])
    async def double(number: int) -> int:
        return number * 2

    result = await double.call({"number": 1})
    assert isinstance(result, ToolResult)
    assert "number: Input should be a valid integer" in str(result.error)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"prehooks": [lambda args: None]}, "must return the arguments as a dict"), ({"posthooks": [lambda result: 3]}, "key 'output'")],
)
async def test_hooks_that_return_nothing_usable_fail_the_call(options: dict[str, Any], message: str) -> None:
    @tool(**options)
    async def one() -> int:
        return 1

    result = await one.call({})
    assert isinstance(result, ToolResult)
    assert message in str(result.error)


async def test_sync_functions_run_in_a_thread_with_the_callers_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    loop_thread = threading.get_ident()

    @tool
    def where() -> tuple[bool, str]:
        return threading.get_ident() != loop_thread, variable.get()

    variable.set("from the caller")
    assert await where.call({}) == ToolResult(output=[True, "from the caller"])


async def test_a_timeout_is_an_error_of_its_own_and_a_tools_own_timeout_error_is_not_one() -> None:
    @tool(timeout=0.01)
    async def forever() -> None:
        await asyncio.Event().wait()

    @tool(timeout=60)
    async def quick() -> str:
        return "in time"

    @tool(timeout=60)
    async def raises() -> None:
        raise TimeoutError("the server")

    with pytest.raises(ToolTimeoutError, match=r"forever did not finish within 0\.01 s"):
        await forever.execute(forever.validate({}))
    assert await quick.execute(quick.validate({})) == "in time"
    with pytest.raises(TimeoutError, match="the server") as caught:
        await raises.execute(raises.validate({}))
    assert not isinstance(caught.value, ToolTimeoutError)


async def test_a_sync_function_that_takes_too_long_is_given_up() -> None:
    release = threading.Event()

    @tool
    def stuck() -> None:
        release.wait(10)

    try:
        with pytest.raises(ToolTimeoutError):
            await stuck.execute(stuck.validate({}), timeout_s=0.01)
    finally:
        release.set()


async def test_a_function_that_swallows_its_timeout_has_still_timed_out() -> None:
    @tool(timeout=0.01)
    async def stubborn() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "late"

    with pytest.raises(ToolTimeoutError):
        await stubborn.execute(stubborn.validate({}))


@pytest.mark.parametrize("caught", [Exception, BaseException])
async def test_cancelling_the_task_cancels_the_call_whatever_a_middleware_catches(caught: type[BaseException]) -> None:
    started = asyncio.Event()

    async def swallowing(call_next: Any, args: Any) -> Any:
        try:
            return await call_next()
        except caught:
            went_on.append("swallowed")
            return "swallowed"

    went_on: list[str] = []

    @tool(middlewares=[swallowing])
    async def waits() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(waits.call({}))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert went_on == ([] if caught is Exception else ["swallowed"])


async def test_a_tool_that_raises_cancelled_error_by_itself_is_a_failed_call() -> None:
    @tool
    async def odd() -> None:
        raise asyncio.CancelledError

    result = await odd.call({})
    assert isinstance(result, ToolResult)
    assert "cancelled from within" in str(result.error)


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize("error", [SystemExit(2), StopIteration("x"), GeneratorExit(), BaseException("of its own"), Speechless()])
async def test_exceptions_that_would_break_the_loop_are_failed_calls(error: BaseException) -> None:
    @tool
    def breaks() -> None:
        raise error

    result = await breaks.call({})
    assert isinstance(result, ToolResult)
    assert type(error).__name__ in str(result.error)


async def test_a_tool_may_end_the_process_neither_from_the_loop_nor_from_a_thread() -> None:
    @tool
    async def leaves() -> None:
        raise SystemExit(2)

    assert "tried to end the process (SystemExit: 2)" in str(getattr(await leaves.call({}), "error", None))


async def test_raise_on_error_hands_the_exception_to_the_caller() -> None:
    @tool(raise_on_error=True)
    async def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await fails.call({})


def test_failure_text_is_our_words_or_the_exception_with_its_type() -> None:
    assert failure_text(ToolError("no such city")) == "no such city"
    assert failure_text(KeyError("x")) == "KeyError: 'x'"
    assert failure_text(ValueError()) == "ValueError"


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Place(BaseModel):
    name: str
    at: dt.datetime


@pytest.mark.parametrize(
    ("output", "plain"),
    [
        (None, None),
        (True, True),
        ("text", "text"),
        ("\ud800", "\ufffd"),
        (Point(1, 2), {"x": 1, "y": 2}),
        (Place(name="Oslo", at=dt.datetime(2026, 1, 2, tzinfo=dt.UTC)), {"name": "Oslo", "at": "2026-01-02T00:00:00Z"}),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"b": b"bytes", 1: decimal.Decimal("1.50")}, {"b": "bytes", "1": "1.50"}),
        (b"\xff\xfe", "__4="),
        (float("nan"), None),
        ({3}, [3]),
        (ToolResult(output=Point(1, 2)), {"x": 1, "y": 2}),
    ],
)
async def test_outputs_become_plain_json(output: Any, plain: Any) -> None:
    @tool
    async def answers() -> Any:
        return output

    assert await answers.execute(answers.validate({})) == plain


async def test_an_output_that_cannot_be_json_is_a_failed_call() -> None:
    loop: list[Any] = []
    loop.append(loop)
    for output in (object(), loop, {"x": lambda: 1}):

        @tool
        async def answers(output: Any = output) -> Any:
            return output

        with pytest.raises(ToolError, match="cannot be rendered as JSON"):
            await answers.execute(answers.validate({}))


async def test_a_failed_tool_result_fails_the_call_with_its_error() -> None:
    @tool
    async def fails() -> ToolResult:
        return ToolResult(success=False, error="sold out")

    assert await fails.call({}) == ToolResult(success=False, error="sold out")


async def test_a_deferred_handle_passes_by_the_posthooks() -> None:
    handle = ToolDeferredHandle(ticket_id="t1", summary="under way")

    @tool(posthooks=[lambda result: {"output": "replaced"}])
    async def starts() -> ToolDeferredHandle:
        return handle

    assert await starts.call({}) == handle


def test_secrets_are_never_shown() -> None:
    ctx = ToolContext(secrets={"KEY": "hunter2"})
    assert ctx.secrets["KEY"] == "hunter2"
    assert "hunter2" not in repr(ctx)
    assert "hunter2" not in str(ctx.secrets)
    with pytest.raises(KeyError, match="there are: KEY"):
        ctx.secrets["OTHER"]


class TestRegistry:
    async def test_its_middlewares_stand_outside_of_the_tools_own(self) -> None:
        @registry_middleware
        async def mark(call_next: Any, args: Any) -> Any:
            return f"registry({await call_next()})"

        async def own(call_next: Any, args: Any) -> Any:
            return f"own({await call_next()})"

        @tool(middlewares=[own])
        async def hello() -> str:
            return "hello"

        registry = ToolRegistry([hello], middlewares=[mark])
        assert await registry.call("hello", {}) == ToolResult(output="registry(own(hello))")
        assert await next(iter(registry)).call({}) == ToolResult(output="registry(own(hello))")
        assert await hello.call({}) == ToolResult(output="own(hello)")

    def test_two_tools_of_one_name_are_refused_naming_both(self) -> None:
        def search() -> None: ...

        first = tool(search)
        registry = ToolRegistry([first])
        with pytest.raises(ConfigurationError, match=r"locals>.search and .*test_secrets_are_never_shown"):
            registry.register(tool(name="search")(test_secrets_are_never_shown))
        assert (registry.names(), len(registry), "search" in registry) == (("search",), 1, True)
        assert registry.specs() == (first.spec(),)

    def test_an_unknown_tool_is_answered_with_close_matches(self) -> None:
        @tool
        def search_web() -> None: ...

        registry = ToolRegistry([search_web])
        with pytest.raises(UnknownToolError, match="did you mean search_web"):
            registry.get("serch_web")
        with pytest.raises(UnknownToolError, match="the tools are: search_web"):
            registry.get("xyz")


@pytest.mark.parametrize("ticket_id", ["", " ", "two\nlines", "\x1b[2J", "turned \u202e around", "x" * 201])
def test_a_ticket_id_that_is_no_name_is_refused(ticket_id: str) -> None:
    """It is shown to the model and on terminals, and typed by people."""
    with pytest.raises(ValueError, match="ticket_id"):
        ToolDeferredHandle(ticket_id=ticket_id)


@pytest.mark.parametrize("ticket_id", ["1", "shipment A-17", "Lieferung für Müller 7", "注文", None])
def test_a_ticket_id_may_be_any_line(ticket_id: str | None) -> None:
    assert ToolDeferredHandle(ticket_id=ticket_id).ticket_id == ticket_id
