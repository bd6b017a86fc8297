"""Goal: what really happened in the crash scenarios, killed or not, is replayed without anybody being reached. Method: each is run, once whole
and then killed at places spread over the run, and its log is replayed by the agent as a new process makes it."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from afk_es.core import AgentRunEvent, RecordedPeople, Replayed, Runner
from afk_es.errors import UsageError
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import CrashScenario, CrashTrial, crash_points
from tests.core.replayed import Exploding, copied, divergence
from tests.crash.generated import drawn_clerk
from tests.crash.scenarios import SCENARIOS

KILLED_AT = 5
"""Places of each run at which it is killed, one in each trial."""

REPLAYED = {name: scenario for name, scenario in SCENARIOS.items() if scenario.compact is None and scenario.begin is None}

COUNTED_OTHERWISE = {
    "call limit": "a call that was in doubt and run again counted twice, and counts once in a replay, which has no crash",
    "exact model limit": "the same of a request",
    "reopened at a limit": "the same of a request",
    "cancelled by letter": "what was in doubt when the run was taken over to be cancelled is under way in a replay, and cut instead of unknown",
}
"""Scenarios in which a joint shows: `handlers.tape` says what a replay makes of one."""

DRAWN = 20

_TOLD = ("llm_completed", "llm_failed", "tool_completed", "run_completed", "run_failed", "run_cancelled")


def recorded(trial: CrashTrial) -> list[list[AgentRunEvent]]:
    """The runs of a trial: the family, and behind it nothing; before it the runs that it follows."""
    runs = dict(trial.family())
    missing = [ref["run_id"] for events in runs.values() for ref in events[0].data.get("history", [])]
    while missing:
        run_id = missing.pop()
        if run_id not in runs:
            runs = {run_id: trial.events_of(run_id), **runs}
            missing += [ref["run_id"] for ref in runs[run_id][0].data.get("history", [])]
    return list(runs.values())


def replayed(trial: CrashTrial) -> tuple[MemoryEventLog, Replayed, Exploding]:
    """The replay of a trial's run in a log of its own, by an agent of which nothing can be reached."""
    scenario, runs, dead = trial.scenario, recorded(trial), Exploding()

    async def replay() -> tuple[MemoryEventLog, Replayed]:
        log = await copied(runs)
        people = RecordedPeople() if scenario.people is not None else None
        runner = Runner(log=log, config=scenario.config, policy_engine=scenario.policy_engine, interaction_provider=people)
        return log, await runner.replay(dead.agent(trial.agent), run_id=trial.run_id)

    log, came = asyncio.run(replay())
    return log, came, dead


@pytest.mark.parametrize("name", REPLAYED)
def test_a_run_is_replayed_as_it_was(name: str) -> None:
    with CrashTrial(REPLAYED[name]) as trial:
        trial.run()
        world = len(trial.dispatches)
        log, came, dead = replayed(trial)
        assert (came.leftovers, came.unanswered, dead.reached, len(trial.dispatches)) == ((), (), [], world)
        assert asyncio.run(divergence(log, trial.run_id, came.run_id)) is None
        assert came.served > 0


@pytest.mark.parametrize("name", sorted(REPLAYED.keys() - COUNTED_OTHERWISE.keys()))
def test_a_run_that_was_killed_and_resumed_is_replayed_as_one_that_was_not(name: str) -> None:
    scenario = REPLAYED[name]
    points = crash_points(scenario)
    for point in points[:: max(len(points) // KILLED_AT, 1)]:
        with CrashTrial(scenario) as trial:
            if trial.run_until(point):
                trial.run()
                _assert_told(trial, scenario)


@pytest.mark.parametrize("seed", range(DRAWN))
def test_a_drawn_run_is_replayed_as_it_was_and_after_a_crash_too(seed: int) -> None:
    chance = random.Random(seed)
    scenario = drawn_clerk(chance)
    with CrashTrial(scenario) as trial:
        trial.run()
        log, came, dead = replayed(trial)
        assert (came.leftovers, came.unanswered, dead.reached) == ((), (), [])
        assert asyncio.run(divergence(log, trial.run_id, came.run_id)) is None
    for point in chance.sample(points := crash_points(scenario), min(2, len(points))):
        with CrashTrial(scenario) as trial:
            # A call in doubt that is run again counts twice, and in a replay once: where calls are limited, the two may differ.
            if trial.run_until(point):
                trial.run()
                if not any(event.type == "limit_reached" for event in trial.events()):
                    _assert_told(trial, scenario)


def _assert_told(trial: CrashTrial, scenario: CrashScenario) -> None:
    if _decided_by_a_person(trial.events()):
        with pytest.raises(UsageError, match="a person decided"):
            replayed(trial)
        return
    log, came, dead = replayed(trial)
    assert (came.leftovers, came.unanswered, dead.reached) == ((), (), [])
    assert _told(asyncio.run(log.read(came.run_id))) == _told(trial.events())


def _decided_by_a_person(events: list[AgentRunEvent]) -> bool:
    return any(event.type == "effect_in_doubt" and event.data["resolution"] == "ask" for event in events)


def _told(events: list[AgentRunEvent]) -> list[Any]:
    """What the run was told and came to, whoever was first."""
    keys = ("tool_call_id", "output", "error", "text", "outcome", "missing")
    return sorted(repr((event.type, [event.data.get(key) for key in keys])) for event in events if event.type in _TOLD)
