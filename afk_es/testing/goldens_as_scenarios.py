"""The runs of a golden as crash scenarios: what the user said, what the thread remembered, and the world as it answered then.

It knows what is in a recording, and refuses what is not: moments that people chose do not come again by themselves.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds
from afk_es.core import AgentResult, AgentRunEvent, AgentRunHandle, RecordedPeople, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.llms import UserMessage
from afk_es.log import EventLog
from afk_es.machine.content import MultipartMessage, user_turn
from afk_es.machine.inquiries import TERM
from afk_es.testing.crashes import CrashScenario, outside_of_loops
from afk_es.testing.recorded_world import RecordedWorld
from afk_es.testing.survival import Family


def golden_scenarios(
    golden: Golden,
    agent: Agent | Callable[[Path], Agent],
    *,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    log: Literal["memory", "sqlite"] = "memory",
) -> dict[str, CrashScenario]:
    """The runs that a golden checks, as scenarios to be killed, by their ids: each on the history that was recorded before it.

    Args:
        agent, config, policy_engine, log: see `crash_golden`.

    Raises:
        UsageError: a run depends on what is not in its record; or called where an event loop is running.
    """
    base = CrashScenario(agent=agent, config=config or recorded_config(golden), policy_engine=policy_engine, log=log)
    return {run_id: scenario for run_id, (scenario, _world) in recorded_scenarios(golden, base).items()}


def recorded_scenarios(golden: Golden, base: CrashScenario) -> dict[str, tuple[CrashScenario, RecordedWorld]]:
    """The same, each with the world that answers it.

    Args:
        base: with the agent and the settings of the Runner.
    """
    outside_of_loops()
    runs = asyncio.run(_read_runs(golden))
    prepared = {}
    for run_id in golden.runs:
        _refuse_whims(golden.name, _family(runs, run_id))
        world = RecordedWorld(runs, run_id, SeededIds().new("run"))
        prepared[run_id] = (_scenario(base, runs, run_id, world), world)
    return prepared


def _scenario(base: CrashScenario, runs: Family, run_id: str, world: RecordedWorld) -> CrashScenario:
    events = runs[run_id]
    first = events[0].data
    family = list(_family(runs, run_id))
    tickets = any(event.type == "tool_deferred" for each in family for event in each)
    asks_here = base.config.interaction_mode == "interactive"
    followed = _kin(runs, [ref["run_id"] for ref in first.get("history", [])])

    async def before(runner: Runner, agent: Agent) -> None:
        for earlier in [each for each in runs if each in followed]:
            await _copy(runs[earlier], runner.log)

    return replace(
        base,
        user_message=_said(first),
        context=first.get("context"),
        thread_id=events[0].thread_id if followed else None,
        before=before if followed else None,
        passing=("retry", *_terms(family)),
        people=(lambda _directory: RecordedPeople()) if asks_here else None,
        world=world.over,
        answer=_answers(world),
        beside=_deliveries(world) if tickets else None,
    )


# ------------------------------------------------------------------------------------------------------------------- what was recorded


async def _read_runs(golden: Golden) -> dict[str, list[AgentRunEvent]]:
    """All runs of the golden, the older ones first."""
    log = await golden.open_log()
    try:
        heads = await log.runs(limit=10_000)
        return {head.run_id: await log.read(head.run_id) for head in reversed(heads)}
    finally:
        await log.close()


def _family(runs: Family, run_id: str) -> Iterator[list[AgentRunEvent]]:
    if run_id not in runs:
        return
    yield runs[run_id]
    for event in runs[run_id]:
        if event.type == "subagent_started":
            yield from _family(runs, event.data["run_id"])


def _kin(runs: Family, followed: list[str]) -> set[str]:
    """Runs that are remembered, and those that they remember."""
    found: set[str] = set()
    waiting = list(followed)
    while waiting:
        run_id = waiting.pop()
        if run_id in runs and run_id not in found:
            found.add(run_id)
            waiting += [ref["run_id"] for ref in runs[run_id][0].data.get("history", [])]
    return found


async def _copy(events: list[AgentRunEvent], log: EventLog) -> None:
    """Append a recorded run, stretch by stretch: what claims a run is the first of its append."""
    starts = [index for index, event in enumerate(events) if event.type == "run_started"]
    for start, end in zip(starts, [*starts[1:], len(events)], strict=True):
        await log.append(events[start:end], epoch=events[start].data["epoch"])


def _said(first: dict[str, Any]) -> UserMessage | None:
    text: str | None = first.get("user_message")
    message = user_turn(text or "", first.get("user_parts", ()))
    return message.parts if isinstance(message, MultipartMessage) else text


# ------------------------------------------------------------------------------------------------------------- who acts from outside


def _terms(family: list[list[AgentRunEvent]]) -> set[str]:
    """Kinds of timers that came to their end in the recording."""
    found: set[str] = set()
    for event in (event for events in family for event in events):
        if event.type == "timer_fired":
            found.add(event.data["timer"].partition(":")[0])
        elif event.type == "tool_background_failed" and event.data.get("expired"):
            found.add("expiry")
        elif event.type in ("approval_resolved", "input_resolved") and event.data["by"] == "fallback":
            found.add(TERM.rstrip(":"))
    return found - {"deadline"}


def _refuse_whims(name: str, family: Iterator[list[AgentRunEvent]]) -> None:
    """A run that somebody paused, laid down or ended at a moment of their own does not come to the same whenever it is run."""
    for level, events in enumerate(family):
        for event in events:
            # A subagent's run is also ended by its parent, whose own events say so.
            if event.type == "control_requested" and (not level or "letter" in event.data):
                raise UsageError(
                    f"golden {name}: at seq {event.seq} of run {event.run_id} somebody asked for {event.data['action']}, at a moment that "
                    "does not come again by itself; crash it as a CrashScenario of your own, with `control`"
                )


def _answers(world: RecordedWorld) -> Callable[[Runner, AgentResult], Awaitable[bool]]:
    """People who answer from outside what they answered in the recording, the next question each time the run lies there."""

    async def answer(runner: Runner, result: AgentResult) -> bool:
        for request in await runner.pending_requests(run_id=result.run_id):
            if request.kind == "approval" and request.purpose == "in_doubt":
                # The recorded run had no crash, and so no such question. Let it be done again, so that the results can be compared.
                await runner.approve(run_id=request.run_id, request_id=request.request_id, by="recorded world")
                return True
            answers = world.answers_to(request.run_id, request.request_id)
            told = [event for event in answers if event.data.get("outcome") not in (None, "deferred")]
            if not told:
                continue
            said, by = told[-1].data, told[-1].data["by"]
            about = {"run_id": request.run_id, "request_id": request.request_id, "by": by}
            if said["outcome"] == "granted":
                await runner.approve(**about, reason=said.get("reason"))
            elif said["outcome"] == "denied":
                await runner.deny(**about, reason=said.get("reason"))
            else:
                await runner.answer(**about, value=said["value"])
            return True
        return False

    return answer


def _deliveries(world: RecordedWorld) -> Callable[[Runner, AgentRunHandle], Awaitable[None]]:
    """Whoever does the work behind tickets, and hands it in once the run has come to the step in which it was handed in."""

    async def deliver(runner: Runner, handle: AgentRunHandle) -> None:
        run = {"thread_id": handle.thread_id, "run_id": handle.run_id}
        ends = world.tickets_of(handle.run_id)
        steps = {ended.step for ended in ends.values()}
        async for event in handle.events:
            if event.type not in ("run_started", "tool_deferred") and (event.type != "step_started" or event.step not in steps):
                continue
            for ticket in await runner.list_background_tools(**run, include_resolved=False):
                ended = ends.get(ticket["ticket_id"])
                if ended is None or ended.data.get("expired") or event.step < ended.step:
                    continue
                # It may have ended, or the run itself, since it was listed.
                with contextlib.suppress(UsageError):
                    if ended.type == "tool_background_resolved":
                        await runner.resolve_background_tool(**run, ticket_id=ticket["ticket_id"], output=ended.data["output"])
                    else:
                        await runner.fail_background_tool(**run, ticket_id=ticket["ticket_id"], error=ended.data["error"])

    return deliver
