"""Recorded runs as evidence, for the tests of assertions and scorers."""

from __future__ import annotations

from typing import Any

from afk_es.agents import Agent
from afk_es.debugger import Recording
from afk_es.evals.evidence import Evidence
from afk_es.evals.recorded_results import recorded_evidence
from tests.debugger.recorded import agent, asks, recorded, says


async def of(rec: Recording) -> Evidence:
    """The evidence that a recorded run is."""
    return await recorded_evidence(rec.log, rec.run_id)


async def ran(described: Agent, message: str = "go", **config: Any) -> Evidence:
    """A run of the agent."""
    return await of(await recorded(described, message, **config))


async def calling(*answers: tuple[tuple[str, Any], ...], final: str = "done", **fields: Any) -> Evidence:
    """A run in which the model's answers ask for these calls, an answer each, and which then ends."""
    return await ran(agent(*(asks(*wanted) for wanted in answers), says(final), **fields))
