"""Goal: the wall-time limit counts the time in which a process ran the run, over all its stretches, and no other. Time is simulated."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from afk_es.agents import Agent, FailSafeConfig
from afk_es.testing import CrashPoint, CrashScenario, CrashTrial, RetryClock, ScriptedModel, crash_points
from afk_es.tools import tool
from tests.crash.scenarios import planned

A_YEAR_S = 365 * 86_400.0
STEP_S = 100.0


@dataclass
class Work:
    """An agent whose three tools take a hundred seconds each, of whatever clock is in place."""

    limit_s: float
    clock: RetryClock = field(default_factory=RetryClock)

    def scenario(self) -> CrashScenario:
        """The run of that agent."""

        @tool(idempotent=True)
        async def put(item: str) -> str:
            """Takes its time."""
            self.clock.advance(STEP_S)
            # A few turns of the event loop, so that a deadline in these hundred seconds is noticed before the result.
            for _turn in range(5):
                await asyncio.sleep(0)
            return f"put {item}"

        model = ScriptedModel(planned([["put"], ["put"], ["put"]]))
        agent = Agent(name="clerk", model=model, tools=[put], fail_safe=FailSafeConfig(max_wall_time_s=self.limit_s))
        return CrashScenario(agent=agent, user_message="Do it")

    def trial(self) -> CrashTrial:
        """A trial on whose clock the tools work."""
        trial = CrashTrial(self.scenario())
        self.clock = trial.clock
        return trial


def second_result(work: Work) -> CrashPoint:
    """The moment after the second tool's result has reached the log."""
    with CrashTrial(work.scenario()) as trial:
        work.clock = trial.clock
        trial.run()
        results = [point for point in trial.passed if point.when == "after" and "tool_completed" in point.about]
    return results[1]


def test_downtime_does_not_count() -> None:
    """The run works for 300 s, is dead for a year in the middle of it, and keeps a limit of 310 s."""
    work = Work(limit_s=310)
    point = second_result(work)
    with work.trial() as trial:
        assert trial.run_until(point)
        trial.clock.advance(A_YEAR_S)
        result = trial.run()
    assert result.state == "completed"
    assert result.state_snapshot.elapsed_s == 3 * STEP_S


def test_the_limit_holds_over_a_crash() -> None:
    """200 s before the crash and 100 s after it are more than 250 s, so the run is laid down in its third tool."""
    point = second_result(Work(limit_s=1_000))
    work = Work(limit_s=250)
    with work.trial() as trial:
        assert trial.run_until(point)
        trial.clock.advance(A_YEAR_S)
        result = trial.run()
        assert result.state == "interrupted"
        assert "max_wall_time_s" in (result.error or "")
        assert [event.type for event in trial.events()][-2:] == ["limit_reached", "run_interrupted"]
        assert 250 <= result.state_snapshot.elapsed_s <= 3 * STEP_S
        assert sum(record.success for record in result.tool_executions) == 2


def test_a_run_whose_time_is_used_up_stays_so() -> None:
    """Resumed with the same limit, it is laid down again at once, and no tool runs."""
    work = Work(limit_s=250)
    with work.trial() as trial:
        assert trial.run().state == "interrupted"
        started = len(trial.dispatches)
        trial.clock.advance(A_YEAR_S)
        assert trial.run().state == "interrupted"
        assert not any(dispatch.returned for dispatch in trial.dispatches[started:])


def test_the_points_of_a_run_do_not_depend_on_its_clock() -> None:
    """Crash points name writes and effects, so one rehearsal serves all trials."""
    work = Work(limit_s=1_000)
    assert crash_points(work.scenario()) == crash_points(work.scenario())
