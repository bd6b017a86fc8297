"""Every run that the crash tests kill is a golden, however it came to its end: in one piece, or killed in the middle and resumed."""

from __future__ import annotations

import asyncio
import dataclasses
import re

import pytest

from afk_es.core.replayability import unreplayable
from afk_es.errors import UsageError
from afk_es.evals import Golden
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import CrashScenario
from afk_es.testing.crashes import CrashTrial
from tests.crash.scenarios import SCENARIOS
from tests.crash.test_teams import TEAMS
from tests.evals.recorded import check_whole

ALL: dict[str, CrashScenario] = {**SCENARIOS, **TEAMS}


async def _recorded(trial: CrashTrial) -> Golden:
    log = SqliteEventLog(trial.directory / "runs.db")
    await log.open()
    try:
        golden = await Golden.of(log, trial.run_id, name="scenario", redaction=None)
        ids = [head.run_id for head in await log.runs(limit=100)]
    finally:
        await log.close()
    await check_whole(golden)
    facts = golden.text().partition("\n")[2]
    assert [run_id for run_id in ids if run_id in facts] == []
    return golden


def _kept(trial: CrashTrial) -> None:
    """A golden is made of what is in the log, or it is refused for a reason of the run's own."""
    reason = unreplayable(trial.events())
    if reason is None:
        asyncio.run(_recorded(trial))
    else:
        with pytest.raises(UsageError, match=re.escape(reason)):
            asyncio.run(_recorded(trial))


@pytest.mark.parametrize("name", ALL)
def test_a_run_of_any_kind_is_a_golden(name: str) -> None:
    with CrashTrial(dataclasses.replace(ALL[name], log="sqlite")) as trial:
        trial.run()
        _kept(trial)


@pytest.mark.parametrize("name", ALL)
def test_a_run_that_was_killed_and_resumed_is_a_golden_and_one_that_was_not_resumed_is_refused(name: str) -> None:
    scenario = dataclasses.replace(ALL[name], log="sqlite")
    with CrashTrial(scenario) as first:
        first.run()
        points = list(first.passed)
    with CrashTrial(scenario) as trial:
        if trial.run_until(points[len(points) * 2 // 3]) and trial.events():
            _kept(trial)
        trial.run()
        _kept(trial)
