"""Goldens to be killed: of every crash scenario, of the demo's stories, and of the recorded conversations of an airline's desk."""

from __future__ import annotations

import asyncio
import importlib
from functools import lru_cache
from pathlib import Path

from afk_es.agents import Agent
from afk_es.cli.demo_runs.recording import DEMO_RUNS, record_demo_runs
from afk_es.evals import Golden
from afk_es.log import open_log
from afk_es.testing import CrashScenario, CrashTrial
from tests.core.replayed import copied
from tests.crash.scenarios import SCENARIOS
from tests.crash.test_teams import TEAMS
from tests.support.tau import Recording
from tests.tau.goldens import recorded as record_conversations
from tests.tau.goldens import today

OF_TEAMS = "team: "

RECORDED: dict[str, CrashScenario] = {**SCENARIOS, **{f"{OF_TEAMS}{name}": scenario for name, scenario in TEAMS.items()}}

STORIES = {run.name: run for run in DEMO_RUNS}


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


def record_stories(directory: Path) -> Path:
    """The log with the runs of the demo."""
    path = directory / "stories.db"
    asyncio.run(record_demo_runs(path))
    return path


def story_golden(name: str, path: Path) -> tuple[Golden, Agent]:
    """The golden of a run of the demo, and its agent.

    Raises:
        UsageError: there can be none of it.
    """
    run = STORIES[name]

    async def made() -> Golden:
        log = open_log(path)
        await log.open()
        try:
            return await Golden.of(log, run.run_id, name=name)
        finally:
            await log.close()

    module, _, agent = run.agent.partition(":")
    return asyncio.run(made()), getattr(importlib.import_module(module), agent)


def record_airline(directory: Path, *, sample: int | None = None) -> dict[str, Path]:
    """The files with the goldens of the conversations that are there, the first ones or all: a hundred, or else those in `fixtures`."""
    recording = conversations()
    goldens = asyncio.run(record_conversations(recording, list(recording.conversations.values())[:sample], directory))
    return {key: Path(golden.path or "") for key, golden in goldens.items()}


def conversation_golden(key: str, path: Path) -> tuple[Golden, Agent]:
    """The golden of a conversation, and the agent, whose tools raise and whose model is nowhere."""
    recording = conversations()
    return Golden.read(path), today(recording, recording.conversations[key])


@lru_cache(maxsize=1)
def conversations() -> Recording:
    """The recording."""
    return Recording.load()
