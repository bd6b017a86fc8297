"""Goal: a time of day that is set back or forward, at any moment, moves no deadline and changes no result.

Method: a clock whose time of day jumps at its n-th reading, for every n, while its monotonic half goes on; and one that is set back between
two stretches of a run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, AgentRunEvent, Runner
from afk_es.errors import LLMRetryableError
from afk_es.llms import LLMRequest
from afk_es.tools import ToolDeferredHandle, tool
from tests.core.scenario import Counted, agent, asks, laid_down, limits, log_of, only, says, types

JUMPS = {"a year back": -365 * 86_400.0, "an hour back": -3_600.0, "a day forward": 86_400.0}


class Jumping(SimulatedClock):
    """The time of day is `by_s` off from its reading number `reading` on."""

    def __init__(self, reading: int, by_s: float) -> None:
        super().__init__(autojump_threshold_s=0.005)
        self.readings = 0
        self.by_s = by_s
        self._reading = reading

    def now(self) -> dt.datetime:
        self.readings += 1
        return super().now() + dt.timedelta(seconds=self.by_s if 0 < self._reading <= self.readings else 0.0)


def with_a_retry(clock: SimulatedClock) -> Any:
    """An agent whose model is overloaded for a while, and whose tool then works."""
    script = [LLMRetryableError("overloaded", retry_after_s=40.0), asks(("work", {"n": 1})), says("done")]
    return agent(script, Counted().tool, fail_safe=limits(max_wall_time_s=100.0))


def with_a_deadline(clock: SimulatedClock) -> Any:
    """An agent whose tool takes longer than there is time."""

    @tool
    async def slow() -> str:
        """Take long."""
        await clock.sleep(300.0)
        return "at last"

    return agent([asks(("slow", {})), says("done")], slow, fail_safe=limits(max_wall_time_s=100.0))


def with_a_ticket(clock: SimulatedClock) -> Any:
    """An agent whose tool is answered in the background, by nobody, for ten minutes."""

    @tool
    def order() -> ToolDeferredHandle:
        """Order."""
        return ToolDeferredHandle(ticket_id="t1", status="running", summary="ordered", expires_in_s=600.0)

    def answer(request: LLMRequest) -> Any:
        expired = any("expired" in message.content for message in request.messages)
        return says("it never came") if expired else says("waiting") if len(request.messages) > 1 else asks(("order", {}))

    return agent(answer, order)


CASES: dict[str, Callable[[SimulatedClock], Any]] = {
    "retry": with_a_retry,
    "wall time": with_a_deadline,
    "ticket": with_a_ticket,
}


async def run(make: Callable[[SimulatedClock], Any], clock: Jumping) -> tuple[AgentResult, list[AgentRunEvent], float]:
    described = make(clock)
    async with Runner(log=":memory:", clock=clock, ids=SeededIds(7)) as runner:
        result = await runner.run(described, user_message="go")
        events = await log_of(runner, result.run_id)
        assert await runner.log.verify(result.run_id) is None
    return result, events, clock.monotonic()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("jump", JUMPS)
async def test_a_jump_at_any_reading_of_the_clock_changes_nothing(case: str, jump: str) -> None:
    steady = Jumping(0, 0.0)
    expected, expected_events, took_s = await run(CASES[case], steady)
    assert steady.readings > 0
    for reading in range(1, steady.readings + 1):
        result, events, seconds = await run(CASES[case], Jumping(reading, JUMPS[jump]))
        assert (result.state, result.final_text, result.error) == (expected.state, expected.final_text, expected.error), (
            f"reading {reading}"
        )
        assert types(events) == types(expected_events)
        assert seconds == pytest.approx(took_s, abs=0.001)
        assert all(one.at <= other.at for one, other in pairwise(events)), "times of a stretch do not go back"
        assert result.state_snapshot.elapsed_s == pytest.approx(expected.state_snapshot.elapsed_s, abs=0.001)


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_clock_that_was_set_between_two_stretches_costs_no_time_and_gives_none(jump: str) -> None:
    clock = Jumping(0, 0.0)
    described = agent([asks(("work", {"n": 1})), says("done")], Counted(idempotent=True).tool, fail_safe=limits(max_wall_time_s=100.0))
    async with Runner(log=":memory:", clock=clock, ids=SeededIds(7)) as runner:
        run_id = await laid_down(runner, described)
        before = await log_of(runner, run_id)
        clock._reading, clock.by_s = 1, JUMPS[jump]
        result = await runner.resume(described, run_id=run_id)
        events = await log_of(runner, run_id)
        assert result.state == "completed"
        assert events[: len(before)] == before
        assert 0 <= result.state_snapshot.elapsed_s < 100.0
        assert await runner.log.verify(run_id) is None
        assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_ticket_keeps_its_term_whatever_the_time_of_day_does_meanwhile(jump: str) -> None:
    """Its term is counted from the moment at which it was deferred, by the clock of the stretch."""
    for reading in range(1, 4):
        _, events, _ = await run(with_a_ticket, Jumping(reading, JUMPS[jump]))
        (deferred,) = only(events, "tool_deferred")
        term = dt.datetime.fromisoformat(deferred.data["expires_at"]) - deferred.at
        assert term.total_seconds() == pytest.approx(600.0, abs=0.001)
