"""contract.md, "AgentStreamEvent": its fields and types, and the one event at the end that carries the result."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es import Agent, Runner
from afk_es.core import AgentStreamEvent
from afk_es.errors import LLMConfigurationError
from afk_es.tools import ToolDeferredHandle
from tests.core.scenario import Counted, agent, asks, limits, says

FIELDS = [
    "type",
    "text_delta",
    "tool_name",
    "tool_call_id",
    "tool_success",
    "tool_output",
    "tool_error",
    "step",
    "state",
    "result",
    "error",
]


async def streamed(runner: Runner, described: Agent) -> list[AgentStreamEvent]:
    handle = await runner.run_stream(described, user_message="go")
    return [event async for event in handle]


def of_type(events: list[AgentStreamEvent], kind: str) -> list[AgentStreamEvent]:
    return [event for event in events if event.type == kind]


def test_it_has_its_fields() -> None:
    assert set(FIELDS) <= set(AgentStreamEvent.__struct_fields__)


async def test_text_delta(runner: Runner) -> None:
    deltas = of_type(await streamed(runner, agent([says("word by word by word")])), "text_delta")
    assert len(deltas) > 1
    assert "".join(event.text_delta or "" for event in deltas) == "word by word by word"


async def test_tool_started_and_tool_completed(runner: Runner) -> None:
    work = Counted()
    events = await streamed(runner, agent([asks(("work", {"n": 1}), ("work", {"n": "many"})), says("ok")], work.tool))
    assert [(event.tool_name, event.tool_call_id) for event in of_type(events, "tool_started")] == [("work", "c1")]
    good, bad = sorted(of_type(events, "tool_completed"), key=lambda event: event.tool_call_id or "")
    assert (good.tool_name, good.tool_call_id, good.tool_success, good.tool_output, good.tool_error) == ("work", "c1", True, "done 1", None)
    assert (bad.tool_call_id, bad.tool_success, bad.tool_output) == ("c2", False, None)
    assert bad.tool_error


async def test_step_started(runner: Runner) -> None:
    events = await streamed(runner, agent([asks(("work", {})), says("ok")], Counted().tool))
    assert [(event.step, event.state) for event in of_type(events, "step_started")] == [(1, "running"), (2, "running")]


async def test_tool_deferred(runner: Runner) -> None:
    async def report() -> ToolDeferredHandle:
        return ToolDeferredHandle(ticket_id="t1")

    handle = await runner.run_stream(agent([asks(("report", {})), *[says("ok")] * 3], report), user_message="go")
    async with handle:
        async for event in handle:
            if event.type == "tool_deferred":
                assert (event.tool_name, event.tool_call_id) == ("report", "c1")
                return
    raise AssertionError("the stream told of no deferred tool")


@pytest.mark.parametrize(
    ("verb", "kind", "told"),
    [("resolve", "tool_background_resolved", {"output": "42 pages"}), ("fail", "tool_background_failed", {"error": "no printer"})],
)
async def test_tool_background_resolved_and_failed(verb: str, kind: str, told: dict[str, Any], runner: Any) -> None:
    async def report() -> ToolDeferredHandle:
        return ToolDeferredHandle(ticket_id="t1")

    handle = await runner.run_stream(agent([asks(("report", {})), *[says("ok")] * 3], report), user_message="go")
    seen: list[AgentStreamEvent] = []
    async for event in handle:
        seen.append(event)
        if event.type == "tool_deferred":
            await getattr(runner, f"{verb}_background_tool")(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", **told)
    (ended,) = of_type(seen, kind)
    assert (ended.tool_name, ended.tool_call_id) == ("report", "c1")
    assert (ended.tool_output, ended.tool_error) == (told.get("output"), told.get("error"))


@pytest.mark.parametrize(
    ("script", "fields", "kind", "state"),
    [
        ([says("ok")], {}, "completed", "completed"),
        ([LLMConfigurationError("down")], {"llm_failure_policy": "degrade"}, "completed", "degraded"),
        ([LLMConfigurationError("down")], {}, "error", "failed"),
    ],
)
async def test_a_stream_ends_with_exactly_one_completed_or_error_event_that_carries_the_result(
    script: Any, fields: dict[str, Any], kind: str, state: str, runner: Runner
) -> None:
    handle = await runner.run_stream(agent(script, fail_safe=limits(**fields)), user_message="go")
    events = [event async for event in handle]
    assert [event for event in events if event.type in ("completed", "error")] == [events[-1]]
    last = events[-1]
    assert (last.type, last.state, last.result) == (kind, state, handle.result)
    assert last.error == handle.result.error


async def test_an_interrupted_stream_ends_with_an_error_event(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("a long answer " * 300)]), user_message="go")
    events: list[AgentStreamEvent] = []
    async for event in handle:
        if event.type == "text_delta" and not of_type(events, "text_delta"):
            await handle.interrupt("enough")
        events.append(event)
    assert (events[-1].type, events[-1].state, events[-1].error) == ("error", "interrupted", "enough")
