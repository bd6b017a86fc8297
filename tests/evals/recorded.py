"""Runs that goldens are made of, and what all tests ask of a golden."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner
from afk_es.core.history import ThreadMemory
from afk_es.evals import Golden
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from afk_es.views.verification import Verification
from tests.core.scenario import asks, says

BEGINNING = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


# Async, so that two calls of one answer end in one order: threads would race.
@tool(read_only=True)
async def look(q: str) -> str:
    """Look something up."""
    return f"found {q}"


@tool
async def send(to: str) -> dict[str, str]:
    """Send a message."""
    return {"sent": to}


def desk(*, looking: Any = look, **fields: Any) -> Agent:
    """An agent that looks something up, sends it and says so."""
    script = [asks(("look", {"q": "lamps"}), ("send", {"to": "ada"}), cost=0.01), asks(("look", {"q": "chairs"})), says("Sent.", cost=0.02)]
    given: dict[str, Any] = {"instructions": "Be kind.", "tools": [looking, send], "model": ScriptedModel(script), **fields}
    return Agent(name="desk", **given)


async def ran(log: EventLog, agent: Agent, *, seed: int = 0, start: dt.datetime = BEGINNING, **run: Any) -> str:
    """A run of the agent in the log; its id."""
    clock = SimulatedClock(start)
    result = await Runner(log=log, clock=clock, ids=SeededIds(seed)).run(agent, **{"user_message": "Go.", **run})
    return result.run_id


async def small(**options: Any) -> Golden:
    """A golden of one small run."""
    log = MemoryEventLog()
    await log.open()
    return await Golden.of(log, await ran(log, desk()), **{"name": "small", **options})


async def check_whole(golden: Golden) -> int:
    """Open the golden and check all its runs as `afk-es verify` does; how many requests were proved by their hash."""
    log = await golden.open_log()
    proved = 0
    for head in await log.runs(limit=1_000):
        events = await log.read(head.run_id)
        verification = Verification(await ThreadMemory().read(log, events[0].data.get("history", [])))
        assert [problem for event in events for problem in verification.check(event)] == []
        assert await log.verify(head.run_id) is None
        proved += verification.requests
    await log.close()
    return proved
