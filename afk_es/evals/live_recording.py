"""Goldens of runs that really happen, now: what is recorded first, and what is recorded again. Models and tools are reached here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner
from afk_es.errors import UsageError
from afk_es.evals.divergence import MatchMode
from afk_es.evals.golden import Golden
from afk_es.llms import UserMessage
from afk_es.log import EventLog
from afk_es.machine.content import MultipartMessage, user_turn

RunnerFactory = Callable[[], Runner]
"""Makes the Runner of live runs, with the policy, people and settings that they need."""


class Said(NamedTuple):
    """What a run begins with."""

    user_message: UserMessage | None = None
    context: dict[str, Any] | None = None


class Recorded(NamedTuple):
    """A golden that is not written yet, and what its last run came to."""

    golden: Golden
    result: AgentResult


async def record_live(
    agent: Agent, said: Sequence[Said], *, name: str, mode: MatchMode, thread_id: str | None = None, runner_factory: RunnerFactory | None = None
) -> Recorded:
    """Run the agent once for each of these, on one thread, and take a golden of it.

    Args:
        runner_factory: default a Runner with a log in memory.

    Raises:
        UsageError: a run was laid down or cancelled, which says nothing of the agent.
    """
    runner = runner_factory() if runner_factory is not None else Runner(log=":memory:")
    async with runner:
        result = None
        for each in said:
            result = await runner.run(agent, user_message=each.user_message, context=each.context, thread_id=thread_id)
            if result.state in ("interrupted", "cancelled"):
                raise UsageError(f"the live run was {result.state}, which is no golden: {result.error}")
            thread_id = result.thread_id
        assert result is not None
        golden = await Golden.of(runner.log, result.run_id, name=name, mode=mode, thread=len(said) > 1)
    return Recorded(golden, result)


async def said_in(log: EventLog, run_ids: Sequence[str]) -> list[Said]:
    """What these runs began with, as the log has it."""
    found = []
    for run_id in run_ids:
        (first,) = await log.read(run_id, limit=1)
        text, parts = first.data.get("user_message"), first.data.get("user_parts")
        turn = user_turn(text, parts) if text is not None and parts else None
        found.append(Said(turn.parts if isinstance(turn, MultipartMessage) else text, first.data.get("context")))
    return found
