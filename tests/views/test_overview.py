"""A run at a glance says how it ended, in a sentence, for every way to end."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from afk_es.agents import FailSafeConfig
from afk_es.core import RetentionPolicy
from afk_es.machine import AgentRunEvent
from afk_es.machine.values import Messages
from afk_es.views import overview
from tests.views.runs import agent, calls, eventful, events_of


async def test_the_whole_run_is_in_it() -> None:
    events = await eventful()
    seen = overview(events)
    assert seen.ending == "completed in step 3"
    assert (seen.status, seen.answer, seen.cost_usd, seen.usage.total_tokens) == ("completed", "It is 3.", 0.75, 36)
    assert [message.role for message in seen.conversation] == ["user", "assistant", "tool", "tool", "assistant", "tool", "assistant"]
    assert [call.outcome for call in seen.calls] == ["returned", "returned", "denied"]
    assert {use.limit: use.used for use in seen.limits}["max_llm_calls"] == 3
    assert seen.context == {"user_id": "ada"}


async def test_what_the_thread_remembered_is_not_what_was_said() -> None:
    events = await eventful()
    history = overview(events).conversation
    assert overview(events, Messages(history)).conversation == history


def _ended(events: list[AgentRunEvent], kind: str, reason: str) -> list[AgentRunEvent]:
    last = events[-1]
    return [*events[:-1], replace(last, type=kind, data={"reason": reason}, message=reason)]


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("run_interrupted", "interrupted in step 3, and can be resumed: Ctrl-C"), ("run_cancelled", "cancelled in step 3: Ctrl-C")],
)
async def test_an_end_from_outside_says_why(kind: str, sentence: str) -> None:
    assert overview(_ended(await eventful(), kind, "Ctrl-C")).ending == sentence


async def test_a_failure_a_partial_end_and_no_end_say_what_they_are() -> None:
    failed = overview(await events_of(agent(ValueError("no"))))
    assert failed.ending.startswith("failed in step 1 with ValueError")
    limits = FailSafeConfig(llm_failure_policy="degrade", max_wall_time_s=1e9, max_total_cost_usd=9.0)
    partial = overview(await events_of(agent(calls(("add", {"a": 1, "b": 1})), ValueError("no"), fail_safe=limits)))
    assert partial.ending.startswith("ended with part of the work in step 2")
    assert [use.limit for use in partial.limits] == [
        "max_steps",
        "max_llm_calls",
        "max_tool_calls",
        "max_wall_time_s",
        "max_total_cost_usd",
    ]
    cut = overview((await eventful())[:-1])
    assert cut.ending == "no terminal event: it is still running, or its process died after llm_completed (seq 26)"
    assert overview(await events_of(agent("free"))).cost_usd is None


async def test_a_compaction_takes_nothing_back_of_what_was_said() -> None:
    policy = RetentionPolicy(max_messages=4, summariser=lambda messages: "They added.")
    script = [*[calls(("add", {"a": n, "b": n}), text=f"step {n}") for n in range(3)], "done"]
    events = await events_of(agent(*script), thread_retention=policy)
    said = [message.content for message in overview(events).conversation if message.role != "tool"]
    assert said == ["go", "step 0", "step 1", "step 2", "done"]
