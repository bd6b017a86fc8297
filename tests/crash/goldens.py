"""Goldens to be killed: of every crash scenario, of the demo's stories, and of the recorded conversations of an airline's desk."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from afk_es.errors import UsageError
from afk_es.evals import Golden
from afk_es.testing import CrashScenario, CrashTrial
from tests.core.replayed import copied
from tests.crash.scenarios import SCENARIOS
from tests.crash.test_teams import TEAMS

RECORDED: dict[str, CrashScenario] = {**SCENARIOS, **TEAMS}


def golden_of(scenario: CrashScenario, name: str) -> Golden:
    """The golden of a scenario that nobody kills.

    Raises:
        UsageError: there can be none of it.
    """
    from tests.crash.test_replays import recorded

    with CrashTrial(scenario) as trial:
        trial.run()
        runs = recorded(trial)

        async def made() -> Golden:
            return await Golden.of(await copied(runs), trial.run_id, name=name)

        return asyncio.run(made())
