"""The order in which a run's events come is part of the contract, through whichever door it was started and wherever it is read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult, AgentRunEvent, Runner
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from tests.core.scenario import Counted, agent, asks, log_of, says, types

REFERENCE = [
    "run_started",
    "step_started",
    "policy_decision",
    "llm_called",
    "llm_completed",
    "tool_batch_started",
    "policy_decision",
    "tool_completed",
    "step_started",
    "policy_decision",
    "llm_called",
    "llm_completed",
    "run_completed",
]
"""contract.md, 'Order of a run with one tool call'."""

OURS = {"tool_started"}
"""Types of ours that may stand in between."""


async def by_run(runner: Runner, described: Agent) -> AgentResult:
    return await runner.run(described, user_message="go")


async def by_run_sync(runner: Runner, described: Agent) -> AgentResult:
    return await asyncio.to_thread(runner.run_sync, described, user_message="go")


async def by_stream(runner: Runner, described: Agent) -> AgentResult:
    handle = await runner.run_stream(described, user_message="go")
    await handle.collect_text()
    return handle.result


async def by_handle(runner: Runner, described: Agent) -> AgentResult:
    handle = await runner.run_handle(described, user_message="go")
    live = [event async for event in handle.events]
    result = await handle.await_result()
    async with runner:
        assert live == await log_of(runner, result.run_id), "what was seen live is what is in the log"
    return result


def in_memory(path: Path) -> EventLog:
    return MemoryEventLog()


def on_disk(path: Path) -> EventLog:
    return SqliteEventLog(path / "runs.db")


def one_tool_call() -> Agent:
    return agent([asks(("work", {"n": 1})), says("all done")], Counted().tool)


@pytest.mark.parametrize("store", [in_memory, on_disk])
@pytest.mark.parametrize("door", [by_run, by_run_sync, by_stream, by_handle])
async def test_the_reference_order(
    door: Callable[[Runner, Agent], Awaitable[AgentResult]], store: Callable[[Path], EventLog], tmp_path: Path
) -> None:
    log = store(tmp_path)
    result = await door(Runner(log=log), one_tool_call())
    assert (result.state, result.final_text) == ("completed", "all done")

    await log.close()  # A log that a caller made is the caller's to close.
    runner = Runner(log=log)
    async with runner:
        events = await log_of(runner, result.run_id)
    await log.close()
    assert [kind for kind in types(events) if kind not in OURS] == REFERENCE
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.step for event in events] == sorted(event.step for event in events)
    assert (events[0].step, events[-1].step) == (0, 2)
    assert {event.state for event in events[:-1]} == {"running"}
    assert events[-1].state == "completed"
    assert {(event.run_id, event.thread_id) for event in events} == {(result.run_id, result.thread_id)}
    assert all(event.at.utcoffset() is not None and event.at >= events[0].at for event in events)


async def test_the_keys_of_the_contract_are_in_the_data(runner: Runner) -> None:
    result = await runner.run(one_tool_call(), user_message="go")
    keys: dict[str, set[str]] = {
        "run_started": {"agent_name", "resumed"},
        "step_started": {"step", "state"},
        "llm_called": {"model", "provider"},
        "llm_completed": {"tool_call_count", "finish_reason", "text", "tool_calls", "usage", "cost_usd", "latency_ms"},
        "tool_batch_started": {"tool_call_count", "tool_names", "tool_call_ids"},
        "tool_completed": {
            "tool_name", "tool_call_id", "success", "output", "error", "agent_name", "agent_depth", "agent_path", "latency_ms",
        },
        "policy_decision": {"event_type", "action", "reason", "policy_id", "matched_rules"},
    }  # fmt: skip
    for event in await log_of(runner, result.run_id):
        assert keys.get(event.type, set()) <= event.data.keys(), event.type


async def test_text_deltas_are_streamed_with_the_step_they_belong_to_and_not_stored(runner: Runner) -> None:
    handle = await runner.run_stream(one_tool_call(), user_message="go")
    streamed: list[tuple[str, int]] = [(event.type, event.step) async for event in handle]
    assert streamed == [
        ("step_started", 1),
        ("tool_started", 1),
        ("tool_completed", 1),
        ("step_started", 2),
        ("text_delta", 2),
        ("completed", 2),
    ]
    assert "text_delta" not in types(await log_of(runner, handle.run_id))


async def test_parallel_results_are_appended_as_they_finish_and_shown_in_the_order_they_were_asked(runner: Runner) -> None:
    first_may_go = asyncio.Event()

    async def first() -> str:
        await first_may_go.wait()
        return "1"

    async def second() -> str:
        first_may_go.set()
        return "2"

    described = agent([asks(("first", {}), ("second", {})), says("ok")], first, second)
    result = await runner.run(described)
    completed: list[AgentRunEvent] = [event for event in await log_of(runner, result.run_id) if event.type == "tool_completed"]
    assert [event.data["tool_name"] for event in completed] == ["second", "first"]
    request: Any = described.model.requests[-1]
    assert [message.tool_call_id for message in request.messages if message.role == "tool"] == ["c1", "c2"]
