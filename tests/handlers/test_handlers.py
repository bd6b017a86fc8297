"""Handlers alone, without a loop: one effect in, one of its endings out, whatever the world does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyEvent, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core.config import RunnerConfig
from afk_es.core.wiring import bind
from afk_es.errors import LLMTimeoutError, ToolArgumentsError, ToolError, ToolTimeoutError
from afk_es.handlers import Binding, live_handlers
from afk_es.handlers.outputs import answer_in
from afk_es.llms import LLMRequest, LLMResponse, StreamPart, Usage
from afk_es.machine import ENDINGS, Draft, Effect
from afk_es.machine.effects import CallModel, CancelSubagent, EvaluatePolicy, ExecuteTool, ResolveInstructions, RunSubagent, Wait
from afk_es.machine.events import validate
from afk_es.machine.state import RunState
from afk_es.machine.values import Messages, ToolCall, plain
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolDeferredHandle


async def bound(described: Agent, clock: SimulatedClock | None = None) -> Binding:
    return await bind(described, RunnerConfig(), None, clock or SimulatedClock(), lambda: ScriptedModel([]))


async def performed(binding: Binding, effect: Effect) -> Draft:
    """What the handler of the effect answers; always one of its endings."""
    state = RunState("run_1", "thread_1", spec=binding.spec, step=1, at=binding.clock.now())
    draft = await live_handlers(binding)[type(effect)](effect, state)
    assert draft.type in ENDINGS[type(effect)]
    return draft


def execution(name: str, **arguments: Any) -> ExecuteTool:
    return ExecuteTool("tool:5", 5, 1, ToolCall("c1", name, arguments), 1, None, "key")


MODEL_CALL = CallModel("llm:4", 4, 0, "scripted-1", 1, Messages(), None, "key")


async def test_every_effect_has_a_handler_but_time_which_is_the_loops_and_subagents_which_are_runs_themselves() -> None:
    handled = live_handlers(await bound(Agent(model=ScriptedModel([])))).keys()
    assert handled == ENDINGS.keys() - {Wait, RunSubagent, CancelSubagent}


FAILURES = [
    (RuntimeError("broke"), "retryable", "RuntimeError: broke"),
    (TimeoutError("slow"), "retryable", "TimeoutError: slow"),
    (ToolTimeoutError("slow"), "retryable", "slow"),
    (ToolError("no such customer"), "terminal", "no such customer"),
    (ToolArgumentsError("n is odd"), "non_fatal", "n is odd"),
    (asyncio.CancelledError(), "terminal", "was cancelled from within"),
    (SystemExit(3), "terminal", "tried to end the process"),
    (KeyError("\ud800"), "retryable", "KeyError"),
]


@pytest.mark.parametrize(("error", "classification", "told"), FAILURES, ids=lambda value: type(value).__name__)
async def test_what_a_tool_raises_is_classified(error: BaseException, classification: str, told: str) -> None:
    async def fail() -> None:
        raise error

    draft = await performed(await bound(Agent(model=ScriptedModel([]), tools=[fail])), execution("fail"))
    assert (draft.type, draft.data["classification"]) == ("tool_failed", classification)
    assert told in draft.data["error"]
    draft.data["error"].encode()


class Outcome(BaseException):
    """As test libraries have them: no Exception, so that nobody catches it."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


async def test_what_a_model_raises_is_a_failed_call_even_if_it_is_no_exception_and_cannot_say_what_it_is() -> None:
    class Model:
        provider_id = "mine"

        async def chat(self, request: LLMRequest) -> LLMResponse:
            raise Outcome

    draft = await performed(await bound(Agent(model=Model())), MODEL_CALL)
    assert (draft.type, draft.data["error_type"], draft.data["classification"]) == ("llm_failed", "Outcome", "terminal")
    assert "its message cannot be made: RuntimeError" in draft.data["error"]


@pytest.mark.parametrize(("usage", "total"), [(Usage(10, 5), 15), (Usage(10, 5, 40), 40), (Usage(), 0)])
async def test_the_sum_of_tokens_is_the_models_or_made(usage: Usage, total: int) -> None:
    draft = await performed(await bound(Agent(model=ScriptedModel([LLMResponse(text="ok", usage=usage)]))), MODEL_CALL)
    assert draft.data["usage"]["total_tokens"] == total


async def test_time_is_the_clocks() -> None:
    clock = SimulatedClock(tick=0.25)

    def slow(request: LLMRequest) -> LLMResponse:
        clock.advance(2)
        return LLMResponse(text="ok")

    async def work() -> str:
        clock.advance(3)
        return "ok"

    binding = await bound(Agent(model=ScriptedModel(slow), tools=[work]), clock)
    assert (await performed(binding, MODEL_CALL)).data["latency_ms"] == 2250
    assert (await performed(binding, execution("work"))).data["latency_ms"] == 3250


@pytest.mark.parametrize(
    ("handle", "ticket", "expires"),
    [
        (ToolDeferredHandle(), "run_1:1", "2026-01-01T01:00:00+00:00"),
        (ToolDeferredHandle(ticket_id="T7", expires_in_s=60), "T7", "2026-01-01T00:01:00+00:00"),
        (ToolDeferredHandle(ticket_id="T7", summary="\ud800", expires_in_s=float("inf")), "T7", "2027-01-01T00:00:00+00:00"),
    ],
)
async def test_a_deferred_tool_gets_a_ticket_and_a_term(handle: ToolDeferredHandle, ticket: str, expires: str) -> None:
    async def order() -> ToolDeferredHandle:
        return handle

    draft = await performed(await bound(Agent(model=ScriptedModel([]), tools=[order])), execution("order"))
    assert (draft.type, draft.data["ticket_id"], draft.data["expires_at"]) == ("tool_deferred", ticket, expires)
    assert draft.data == plain(draft.data)
    draft.message.encode()


async def test_a_failed_model_call_says_what_kind_of_failure_it_was() -> None:
    draft = await performed(await bound(Agent(model=ScriptedModel([LLMTimeoutError("30 s", status_code=408)]))), MODEL_CALL)
    assert (draft.type, draft.data["error_type"], draft.data["classification"]) == ("llm_failed", "LLMTimeoutError", "retryable")
    assert draft.data["status_code"] == 408


@pytest.mark.parametrize(
    ("call", "error_type"),
    [
        (ToolCall("c1", "wrok", {}), "UnknownTool"),
        (ToolCall("c1", "work", {"n": "x"}), "InvalidArguments"),
        (ToolCall("c1", "work", '{"n": 1'), "InvalidArguments"),
        (ToolCall("c1", "work", "[1]"), "InvalidArguments"),
    ],
)
async def test_a_call_that_cannot_run_is_refused_before_the_policy_is_asked(call: ToolCall, error_type: str) -> None:
    def work(n: int) -> int:
        return n

    binding = await bound(Agent(model=ScriptedModel([]), tools=[work]))
    draft = await performed(binding, EvaluatePolicy("policy:1:1", "tool_before_execute", 1, call))
    assert (draft.type, draft.data["error_type"], draft.data["attempt"]) == ("tool_failed", error_type, 0)


async def test_an_instructions_function_that_cancels_itself_is_a_failure_and_not_the_end_of_the_loop() -> None:
    async def instructions(context: dict[str, Any]) -> str:
        raise asyncio.CancelledError

    draft = await performed(await bound(Agent(model=ScriptedModel([]), instructions=instructions)), ResolveInstructions("i:1", 1))
    assert draft.type == "llm_failed"


async def test_a_handler_that_is_really_cancelled_says_nothing() -> None:
    begun = asyncio.Event()

    async def wait() -> None:
        begun.set()
        await asyncio.Event().wait()

    binding = await bound(Agent(model=ScriptedModel([]), tools=[wait]))
    task = asyncio.create_task(performed(binding, execution("wait")))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("text", ['{"a": 1}', '```json\n{"a": 1}\n```', '```\n{"a": 1}```', ' \n{"a": 1}\n'])
def test_the_json_in_an_answer(text: str) -> None:
    assert answer_in(text) == {"a": 1}


@pytest.mark.parametrize("text", ["", "seven", '{"a": 1} and more', '```json\n{"a": 1}\n``` there you are'])
def test_an_answer_without_json(text: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        answer_in(text)


def test_an_answer_that_ends_in_endless_blanks_is_refused_at_once() -> None:
    """By one pattern for the fence and what is in it this took a minute, in the event loop: models do end so."""
    with pytest.raises(ValueError, match="not JSON"):
        answer_in("```json\n" + " " * 400_000 + "x")
    assert answer_in("\n```json \n{}" + " " * 400_000 + "\n```\n") == {}


async def test_a_rule_that_raises_with_what_cannot_be_stored_denies_like_any_other() -> None:
    def broken(event: PolicyEvent) -> bool:
        raise ValueError("\udce4")

    rule = PolicyRule(action="allow", condition=broken)
    binding = await bound(Agent(model=ScriptedModel([]), policy_engine=PolicyEngine([rule])))
    draft = await performed(binding, EvaluatePolicy("policy:1", "llm_before_execute", 1))
    assert draft.data["action"] == "deny"
    validate(draft.type, plain(draft.data))
    assert draft.data == plain(draft.data)
    draft.message.encode()


async def test_a_wait_that_is_no_number_is_no_wait() -> None:
    """What is not a finite number would be read back from the log as another one, and a resumed run would wait for another time."""
    for seconds in (float("inf"), float("nan"), "5"):
        error = LLMTimeoutError("slow", retry_after_s=seconds)  # type: ignore[arg-type]
        draft = await performed(await bound(Agent(model=ScriptedModel([error]))), MODEL_CALL)
        assert draft.data["retry_after_s"] is None


async def test_a_stream_that_is_cut_is_closed_before_the_call_is_over() -> None:
    """It holds a connection, which is let go here and now and not when the garbage is collected."""
    closed = False

    class Chatty(ScriptedModel):
        async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
            nonlocal closed
            try:
                async for part in super().chat_stream(request):
                    yield part
            finally:
                closed = True

    shown = asyncio.Event()

    async def emit(text: str) -> None:
        shown.set()
        await asyncio.Event().wait()

    binding = await bound(Agent(model=Chatty(["one two three four"])))
    state = RunState("run_1", "thread_1", spec=binding.spec, step=1)
    call = asyncio.ensure_future(live_handlers(binding, emit)[CallModel](MODEL_CALL, state))
    await shown.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert closed
