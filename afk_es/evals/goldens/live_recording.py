"""Goldens of runs that really happen: recorded for the first time, or anew. Models are asked and tools are run here, and nowhere else in evals' goldens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from afk_es import errors
from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner
from afk_es.errors import UsageError
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.golden import Golden
from afk_es.llms import UserMessage
from afk_es.machine import AgentRunEvent
from afk_es.machine.content import MultipartMessage, user_turn


class Said(NamedTuple):
    """What a run begins with, as `Runner.run` takes it."""

    user_message: UserMessage | None = None
    context: dict[str, Any] | None = None


class Recorded(NamedTuple):
    """A golden that no file has yet, and what its last run came to."""

    golden: Golden
    result: AgentResult


async def record_live(
    runner: Runner,
    agent: Agent,
    said: Sequence[Said],
    *,
    name: str,
    mode: MatchMode,
    thread_id: str | None = None,
    agent_ref: str | None = None,
) -> Recorded:
    """Run the agent once for each of these, on one thread, and make a golden of it.

    Args:
        runner: with what the runs need; its log is closed afterwards if it was not open.
        agent_ref: `MODULE:AGENT`, for the golden's header.

    Raises:
        UsageError: a run was laid down or cancelled, or its model could not be asked, which says nothing of the agent; or it cannot be
            replayed.
    """
    async with runner:
        results: list[AgentResult] = []
        for each in said:
            result = await runner.run(agent, user_message=each.user_message, context=each.context, thread_id=thread_id)
            await _check_worth(runner, result)
            thread_id = result.thread_id
            results.append(result)
        golden = await Golden.of(runner.log, results[-1].run_id, name=name, mode=mode, thread=len(said) > 1, agent_ref=agent_ref)
    return Recorded(golden, results[-1])


async def _check_worth(runner: Runner, result: AgentResult) -> None:
    """Refuse what would be green from now on, and says nothing of the agent: a missing key is no behaviour."""
    if result.state in ("interrupted", "cancelled"):
        raise UsageError(f"the live run was {result.state}, so it is no golden: {result.error or 'no reason was given'}")
    if result.state != "failed":
        return
    head = await runner.log.head(result.run_id)
    assert head is not None
    (last,) = await runner.log.read(result.run_id, after=head.seq - 1)
    kind = getattr(errors, last.data["error_type"], None)
    if isinstance(kind, type) and issubclass(kind, errors.LLMError):
        raise UsageError(f"the live run failed since its model could not be asked, so it is no golden: {result.error}")


async def said_in(golden: Golden) -> list[Said]:
    """What the checked runs of a golden began with.

    Raises:
        UsageError: they build on earlier runs that are not checked, and would build on nothing.
    """
    firsts = await first_events(golden)
    if any(ref["run_id"] not in golden.runs for first in firsts for ref in first.data.get("history", [])):
        raise UsageError(
            f"golden {golden.name} goes on with earlier turns that are not checked, so it cannot be recorded by one live run: have the "
            "conversation again, and record it with `afk-es golden record`"
        )
    return [Said(_message(first), first.data.get("context")) for first in firsts]


async def first_events(golden: Golden) -> list[AgentRunEvent]:
    """The first events of the checked runs, in order."""
    log = await golden.open_log()
    try:
        return [(await log.read(run_id, limit=1))[0] for run_id in golden.runs]
    finally:
        await log.close()


def _message(first: AgentRunEvent) -> UserMessage | None:
    text: str | None = first.data.get("user_message")
    parts = first.data.get("user_parts")
    turn = user_turn(text, parts) if text is not None and parts else None
    return turn.parts if isinstance(turn, MultipartMessage) else text
