"""Goal: a golden is killed at every point of it, offline, and what breaks is said. Method: goldens of small runs, and agents that break promises."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, stretches
from afk_es.errors import UsageError
from afk_es.evals import Golden
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent, RunState, batches, fold
from afk_es.machine.values import Message, Messages
from afk_es.testing import ScriptedModel, crash_golden, crash_points, golden_scenarios
from tests.evals.recorded import desk, ran, small


def unreachable() -> Agent:
    """The desk, whose model has nothing left to say and whose tools nobody must run."""
    return desk(model=ScriptedModel([]))


@pytest.fixture(scope="module")
def golden() -> Golden:
    return asyncio.run(small())


def test_every_point_is_tried_and_no_model_or_tool_is_asked(golden: Golden) -> None:
    crashes = crash_golden(golden, unreachable())
    [scenario] = golden_scenarios(golden, unreachable()).values()
    assert crashes.problems == []
    summary = crashes.summary()
    assert (summary["points"], summary["problems"]) == (len(crash_points(scenario)), 0)
    assert summary["reported_unknown"] > 0, "what is in doubt is told"


def test_a_file_is_as_good_and_points_may_be_drawn(golden: Golden, tmp_path: Path) -> None:
    golden.write(tmp_path / "small.golden.jsonl")
    one, same, other = (crash_golden(tmp_path / "small.golden.jsonl", unreachable(), points=5, seed=seed) for seed in (1, 1, 2))
    drawn = [[outcome.points for outcome in each.matrices["run_1"].outcomes] for each in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 5
    with pytest.raises(UsageError, match="points=0"):
        crash_golden(golden, unreachable(), points=0)


def test_a_conversation_is_killed_run_by_run_on_what_was_said_before() -> None:
    async def talked() -> Golden:
        log = MemoryEventLog()
        await log.open()
        run_id = ""
        for seed in range(3):
            run_id = await ran(log, desk(), seed=seed, thread_id="t", user_message=f"Question {seed}.")
        return await Golden.of(log, run_id, name="talk", thread=True)

    crashes = crash_golden(asyncio.run(talked()), unreachable(), points=2, log="sqlite")
    assert crashes.problems == []
    assert list(crashes.matrices) == ["run_1", "run_2", "run_3"]
    assert crashes.summary()["points"] == 6


def test_another_agent_is_refused_before_anything_is_killed(golden: Golden) -> None:
    deny = PolicyEngine([PolicyRule(rule_id="no", action="deny", condition=lambda event: event.tool_name == "send", subjects=("tool",))])
    with pytest.raises(UsageError, match=r"run_1: today nobody asks tool send.*check the golden first"):
        crash_golden(golden, unreachable(), policy_engine=deny, points=1)


def test_a_run_that_somebody_stopped_says_that_its_moment_does_not_come_again() -> None:
    async def stopped() -> Golden:
        log = MemoryEventLog()
        await log.open()
        handle = await Runner(log=log).run_handle(desk(), user_message="Go.")
        await handle.cancel("enough")
        await handle.await_result()
        return await Golden.of(log, handle.run_id, name="stopped")

    with pytest.raises(UsageError, match=r"somebody asked for cancel.*CrashScenario of your own"):
        crash_golden(asyncio.run(stopped()), unreachable())


def test_a_call_that_is_repeated_is_found_and_its_run_kept_for_the_debugger(
    golden: Golden, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The planted bug: whatever is in doubt is run again, as if every tool could be."""
    careful = batches._doubt

    def careless(*args: Any) -> Any:
        draft = careful(*args)
        return type(draft)(draft.type, {**draft.data, "resolution": "run_again"}, draft.message)

    monkeypatch.setattr(batches, "_doubt", careless)
    # Always-replay mode would see the sabotage first.
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    crashes = crash_golden(golden, unreachable(), keep=tmp_path / "failed")
    assert crashes.summary()["silent"] > 0
    assert "tool send was in doubt and is not repeatable, and was run again" in "\n".join(crashes.problems)
    saved = next(outcome.log for outcome in crashes.matrices["run_1"].outcomes if outcome.log is not None)
    assert f"afk-es debug {saved}" in "\n".join(crashes.problems)

    async def kept() -> list[str]:
        log = SqliteEventLog(saved, read_only=True)
        await log.open()
        try:
            [head] = await log.runs()
            return [event.data["resolution"] for event in await log.read(head.run_id) if event.type == "effect_in_doubt"]
        finally:
            await log.close()

    assert set(asyncio.run(kept())) == {"run_again"}


def test_a_resumed_run_that_asks_something_else_is_found(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug: a run that is resumed has forgotten what the last tool said, and its model answers from the record all the same."""

    def forgetful(state: RunState, events: Iterable[AgentRunEvent]) -> RunState:
        state = fold(state, events)
        last = len(state.messages) - 1
        if last < 0 or state.messages[last].role != "tool":
            return state
        return replace(state, messages=Messages([*state.messages[:last], Message("tool", "", tool_call_id="c1")]))

    monkeypatch.setattr(stretches, "fold", forgetful)
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)
    crashes = crash_golden(golden, unreachable())
    assert "was asked what the run nobody killed did not ask it" in "\n".join(crashes.problems)


async def test_inside_an_event_loop_it_says_where_to_be_used() -> None:
    with pytest.raises(UsageError, match="event loop of its own"):
        crash_golden(await small(), unreachable())
