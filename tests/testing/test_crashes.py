"""Goal: the crash kit finds what it is for. Method: break a promise on purpose, and see that the matrix says which."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.agents import Agent
from afk_es.core import Runner, stretches
from afk_es.errors import UsageError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent, RunState, batches, fold
from afk_es.testing import CrashPoint, CrashScenario, CrashTrial, ScriptedModel, crash_at, crash_everywhere, crash_points
from afk_es.tools import tool


def answer(request: LLMRequest) -> Any:
    """One call of `pay`, then its result."""
    last = list(request.messages)[-1]
    if last.role == "tool":
        return f"It said: {last.content.splitlines()[-1]}"
    return LLMResponse(tool_calls=(ToolCall("call_1", "pay", {}),))


def payer(directory: Path) -> Agent:
    """An agent whose tool leaves a line in a file."""

    @tool
    async def pay() -> str:
        """Pay."""
        with (directory / "paid").open("a") as file:
            file.write("paid\n")
        await asyncio.sleep(0)
        return "paid"

    return Agent(model=ScriptedModel(answer), tools=[pay])


SCENARIO = CrashScenario(agent=payer, user_message="Pay")


def point(when: str, what: str) -> CrashPoint:
    """The only point of the scenario that is called so."""
    [found] = [one for one in crash_points(SCENARIO) if one.when == when and what in f"{one.what} {one.about}"]
    return found


class TestATrial:
    def test_dies_between_the_intent_and_the_effect(self) -> None:
        with CrashTrial(SCENARIO) as trial:
            assert trial.run_until(point("before", "effect:tool"))
            assert not (trial.directory / "paid").exists()
            assert trial.events()[-1].type == "tool_started"
            assert [dispatch.kind for dispatch in trial.dispatches] == ["model"]

    def test_dies_between_the_effect_and_its_result(self) -> None:
        with CrashTrial(SCENARIO) as trial:
            assert trial.run_until(point("after", "effect:tool"))
            assert (trial.directory / "paid").read_text() == "paid\n"
            assert trial.events()[-1].type == "tool_started"
            assert trial.dispatches[-1].returned

    def test_dies_before_and_after_a_write(self) -> None:
        write = point("before", "tool_completed").what
        for when, last in (("before", "tool_started"), ("after", "llm_called")):
            with CrashTrial(SCENARIO) as trial:
                assert trial.run_until(point(when, f"{write} "))
                assert trial.events()[-1].type == last

    def test_unwinds_nothing_of_a_dead_process_before_it_is_over(self) -> None:
        cleaned: list[str] = []

        def agent(directory: Path) -> Agent:
            @tool
            async def pay() -> str:
                """Pay, with something to clean up."""
                try:
                    await asyncio.sleep(3600)
                finally:
                    cleaned.append("cleaned up")
                return "never"

            @tool
            async def look() -> str:
                """Look."""
                return "seen"

            calls = (ToolCall("call_1", "pay", {}), ToolCall("call_2", "look", {}))
            return Agent(model=ScriptedModel(lambda request: LLMResponse(tool_calls=calls)), tools=[pay, look])

        with CrashTrial(CrashScenario(agent=agent, user_message="Do both")) as trial:
            assert trial.run_until(CrashPoint("after", "effect:tool:10", "look"))
            assert cleaned == []
            died_with = trial.events()
        assert cleaned == ["cleaned up"]
        assert died_with[-1].type == "tool_started"

    def test_starts_the_run_anew_if_it_died_before_there_was_one(self) -> None:
        with CrashTrial(SCENARIO) as trial:
            assert trial.run_until(point("before", "append:1 "))
            assert trial.events() == []
            assert trial.verify() is None
            assert trial.run().state == "completed"
            assert len([event for event in trial.events() if event.type == "run_started"]) == 1

    def test_says_that_it_did_not_come_to_a_point(self) -> None:
        with CrashTrial(SCENARIO) as trial:
            assert not trial.run_until(CrashPoint("before", "append:1000", "nothing"))

    def test_is_not_for_event_loops(self) -> None:
        async def inside() -> None:
            CrashTrial(SCENARIO)

        with pytest.raises(UsageError, match="event loop of its own"):
            asyncio.run(inside())

    def test_lets_earlier_runs_go_first(self) -> None:
        async def before(runner: Runner, agent: Agent) -> None:
            await runner.run(agent, user_message="Earlier", thread_id="thread_1")

        scenario = CrashScenario(agent=payer, user_message="Pay", thread_id="thread_1", before=before)
        with CrashTrial(scenario) as trial:
            trial.run()
            assert "history" in trial.events()[0].data


def test_the_points_of_a_run_are_the_same_each_time() -> None:
    points = crash_points(SCENARIO)
    assert points == crash_points(SCENARIO)
    assert len(set(points)) == len(points)


class TestTheMatrix:
    @pytest.fixture(autouse=True)
    def _alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Always-replay mode would see the sabotage first."""
        monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY", raising=False)

    def test_is_clean_for_a_run_that_survives(self) -> None:
        matrix = crash_everywhere(SCENARIO)
        assert matrix.problems == []
        assert matrix.summary()["points"] == len(crash_points(SCENARIO))
        assert matrix.summary()["reported_unknown"] > 0

    def test_sees_a_tool_that_is_repeated_and_must_not_be(self, monkeypatch: pytest.MonkeyPatch) -> None:
        careful = batches._doubt

        def careless(*args: Any) -> Any:
            draft = careful(*args)
            return type(draft)(draft.type, {**draft.data, "resolution": "run_again"}, draft.message)

        monkeypatch.setattr(batches, "_doubt", careless)
        text = "\n".join(crash_everywhere(SCENARIO).problems)
        assert "is not repeatable, and was run again" in text
        assert "ran 2 times, and must not be repeated" in text

    def test_sees_an_effect_that_is_repeated_although_its_result_is_in_the_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A runner that takes its last step again on resume, as checkpoints between steps make one do."""

        def forgetful(state: RunState, events: Iterable[AgentRunEvent]) -> RunState:
            state = fold(state, events)
            return replace(state, phase="between", batch=None, requested=(), step=state.step - 1) if state.step else state

        monkeypatch.setattr(stretches, "fold", forgetful)
        matrix = crash_everywhere(SCENARIO)
        assert any("ran again in process 2, and its result was in the log" in problem for problem in matrix.problems)
        assert matrix.summary()["repeated"] > 0

    def test_sees_a_run_that_cannot_be_resumed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that does not give back all that it took."""
        read = MemoryEventLog.read

        async def lossy(self: MemoryEventLog, run_id: str, **options: Any) -> list[AgentRunEvent]:
            events = await read(self, run_id, **options)
            return list(itertools.takewhile(lambda event: event.type != "tool_completed", events))

        monkeypatch.setattr(MemoryEventLog, "read", lossy)
        matrix = crash_everywhere(SCENARIO)
        assert any("cannot be resumed" in problem for problem in matrix.problems)
        assert matrix.summary()["unresumable"] > 0

    def test_sees_an_answer_that_depends_on_more_than_the_log(self) -> None:
        count = itertools.count()
        scenario = CrashScenario(agent=lambda directory: Agent(model=ScriptedModel(lambda request: f"{next(count)}")), user_message="Hello")
        assert any("final_text is" in problem for problem in crash_everywhere(scenario).problems)

    def test_asks_for_promises_of_your_own(self) -> None:
        matrix = crash_everywhere(SCENARIO, lambda trial, result: [] if (trial.directory / "paid").exists() else ["nobody was paid"])
        unpaid = [problem for problem in matrix.problems if "nobody was paid" in problem]
        assert unpaid
        assert len(unpaid) == len(matrix.problems)

    def test_says_when_a_point_was_missed(self) -> None:
        outcome = crash_at(SCENARIO, [CrashPoint("before", "append:1000", "nothing")])
        assert not outcome.reached
        assert outcome.problems == ("the run ended without coming to this point",)
