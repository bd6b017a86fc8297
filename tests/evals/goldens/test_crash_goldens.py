"""Goal: a golden of a run that really happened passes with the unchanged agent, whether its process died or not, and says which it was.
Method: each crash scenario is run, once whole and then killed at places spread over the run; its run becomes a golden, which is checked."""

from __future__ import annotations

import asyncio

import pytest

from afk_es.core import RecordedPeople, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals import CheckReport, Golden, check_golden
from afk_es.log import EventLog
from afk_es.testing import CrashTrial, crash_points
from tests.core.replayed import copied
from tests.crash.test_replays import COUNTED_OTHERWISE, REPLAYED, recorded

KILLED_AT = 3
"""Places of each run at which it is killed, one in each trial."""


def checked(trial: CrashTrial) -> CheckReport | None:
    """The check of a golden of the trial's run by the agent as a new process makes it; None where such a run can be none."""
    scenario, runs = trial.scenario, recorded(trial)

    def runner(log: EventLog, _config: RunnerConfig) -> Runner:
        people = RecordedPeople() if scenario.people is not None else None
        return Runner(log=log, config=scenario.config, policy_engine=scenario.policy_engine, interaction_provider=people)

    async def check() -> CheckReport | None:
        try:
            golden = await Golden.of(await copied(runs), trial.run_id, name="scenario")
        except UsageError:
            return None
        return await check_golden(golden, trial.agent, runner_factory=runner)

    return asyncio.run(check())


@pytest.mark.parametrize("name", REPLAYED)
def test_a_run_that_was_not_killed_passes(name: str) -> None:
    with CrashTrial(REPLAYED[name]) as trial:
        trial.run()
        report = checked(trial)
        assert report is not None
        assert (report.outcome, report.divergences, report.leftovers, report.notes, report.reason) == ("passed", (), (), (), "")


@pytest.mark.parametrize("name", sorted(REPLAYED.keys() - COUNTED_OTHERWISE.keys()))
def test_a_run_that_was_killed_and_resumed_passes_as_one_that_was_not(name: str) -> None:
    scenario = REPLAYED[name]
    points = crash_points(scenario)
    for point in points[:: max(len(points) // KILLED_AT, 1)]:
        with CrashTrial(scenario) as trial:
            if trial.run_until(point):
                continue
            trial.run()
            report = checked(trial)
            assert report is None or (report.outcome, report.divergences, report.reason) == ("passed", (), "")
