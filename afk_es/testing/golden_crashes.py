"""Crashes goldens: today's agent is run on what a golden has recorded, and killed at every point of it. No model, tool or person is asked.

    assert crash_golden("goldens/refund.golden.jsonl", agent).problems == []

Unlike a check, which replays a recording in one piece, these are runs as any other: the Runner, its handlers of policies and outputs, the
log and the way in which a run is resumed are the real ones, and only the world is the recording (`recorded_world`). What they come to is
first compared with what the golden recorded, so that a changed agent is not taken for a crash that went wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds, SystemClock
from afk_es.core import AgentResult, AgentRunEvent, AgentRunHandle, RecordedPeople, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.llms import UserMessage
from afk_es.log import EventLog
from afk_es.machine.content import MultipartMessage, user_turn
from afk_es.machine.inquiries import TERM
from afk_es.testing.crash_matrix import Check, CrashMatrix, crash_at, drawn_points
from afk_es.testing.crashes import CrashScenario, CrashTrial, Rehearsal
from afk_es.testing.recorded_world import RecordedWorld
from afk_es.testing.survival import Family


@dataclass(frozen=True, slots=True)
class GoldenCrashes:
    """How the runs of a golden survived.

    Attributes:
        name: the golden's.
        matrices: by the id of the run that is checked.
    """

    name: str
    matrices: dict[str, CrashMatrix] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Every broken promise: the run, where it was killed, and what was wrong."""
        return [f"{self.name}, {run_id}: {problem}" for run_id, matrix in self.matrices.items() for problem in matrix.problems]

    def summary(self) -> dict[str, int]:
        """The sum of the runs' matrices, see `CrashMatrix.summary`."""
        summaries = [matrix.summary() for matrix in self.matrices.values()]
        return {column: sum(each[column] for each in summaries) for column in summaries[0]} if summaries else {}


def crash_golden(
    golden: Golden | str | os.PathLike[str],
    agent: Agent | Callable[[Path], Agent],
    *,
    config: RunnerConfig | None = None,
    policy_engine: PolicyEngine | None = None,
    log: Literal["memory", "sqlite"] = "memory",
    points: int | None = None,
    seed: int = 0,
    check: Check | None = None,
    keep: Path | None = None,
) -> GoldenCrashes:
    """Kill each run that a golden checks at every point, on its recorded answers, and check what is promised of runs that survive.

    Beside that, a resumed run has to ask the models exactly what the run nobody killed asked them, unless it had to tell them that the
    outcome of a call is unknown.

    Args:
        golden: it, or its file.
        agent: today's, or what makes it in each process. Its models and tools are never asked.
        config, policy_engine: as the Runner has them; default: as recorded, and none.
        log: the store that survives.
        points: how many points of each run at most, drawn from `seed`; default: all.
        check: promises of your own.
        keep: the directory to which runs that broke a promise are written, for `afk-es debug`.

    Raises:
        GoldenError: the file is none.
        UsageError: a run depends on what is not in its record, such as when somebody paused it; or today's agent does not come to what
            was recorded.
    """
    read = golden if isinstance(golden, Golden) else Golden.read(golden)
    crashes = GoldenCrashes(read.name)
    prepared = _prepared(read, agent, config=config, policy_engine=policy_engine, log=log)
    for run_id, (scenario, world) in prepared.items():
        began = SystemClock().monotonic()
        rehearsal, asked = _rehearsed(scenario)
        _check_outcome(read, run_id, rehearsal.result, world, scenario.beside is not None)
        checks = _asks_the_same(asked, check)
        matrix = crashes.matrices[run_id] = CrashMatrix(rehearsal.result)
        for point in drawn_points(rehearsal.points, points, seed):
            matrix.outcomes.append(crash_at(scenario, (point,), rehearsal, checks, keep=keep))
        matrix.seconds = SystemClock().monotonic() - began
    return crashes


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
        UsageError: a run depends on what is not in its record.
    """
    prepared = _prepared(golden, agent, config=config, policy_engine=policy_engine, log=log)
    return {run_id: scenario for run_id, (scenario, _world) in prepared.items()}


def _prepared(
    golden: Golden,
    agent: Agent | Callable[[Path], Agent],
    *,
    config: RunnerConfig | None,
    policy_engine: PolicyEngine | None,
    log: Literal["memory", "sqlite"],
) -> dict[str, tuple[CrashScenario, RecordedWorld]]:
    runs = asyncio.run(_read_runs(golden))
    settings = config if config is not None else recorded_config(golden)
    base = CrashScenario(agent=agent, config=settings, policy_engine=policy_engine, log=log)
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
    followed = [ref["run_id"] for ref in first.get("history", [])]

    async def before(runner: Runner, agent: Agent) -> None:
        for earlier in [each for each in runs if each in _kin(runs, followed)]:
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


# ------------------------------------------------------------------------------------------------------------------ what is compared

Asked = frozenset[tuple[str, int, int, str]]
"""Requests to models: the run, the step, which model of the agent's, and the hash of the request."""


def _rehearsed(scenario: CrashScenario) -> tuple[Rehearsal, Asked]:
    with CrashTrial(scenario) as trial:
        result = trial.run()
        return Rehearsal(result, tuple(trial.passed)), _asked(trial.family())


def _asked(family: Family) -> Asked:
    return frozenset(
        (run_id, event.step, event.data["model_index"], event.data["request_hash"])
        for run_id, events in family.items()
        for event in events
        if event.type == "llm_called"
    )


def _asks_the_same(asked: Asked, check: Check | None) -> Check:
    """The check, and that models are asked what they were asked in the run nobody killed. After an unknown outcome they are told of it."""

    def both(trial: CrashTrial, result: AgentResult) -> Iterator[str]:
        family = trial.family()
        if not any(event.data.get("outcome") == "unknown" for events in family.values() for event in events):
            for run_id, step, model_index, _hash in sorted(_asked(family) - asked):
                yield f"in step {step} of run {run_id} model {model_index} was asked what the run nobody killed did not ask it"
        if check is not None:
            yield from check(trial, result)

    return both


def _check_outcome(golden: Golden, run_id: str, result: AgentResult, world: RecordedWorld, waits: bool) -> None:
    """Refuse an agent that does not come to what was recorded even where nobody kills it.

    Args:
        waits: for background tools, which texts name by tickets, and a golden by names of its own.
    """
    way_out = "check the golden first (check_golden, or `afk-es golden check`)"
    if waits:
        way_out = f"a background result came at another moment, and cannot be made to come when it did; or else {way_out}"
    for otherwise in (*world.unanswered, *world.leftovers()):
        raise UsageError(f"golden {golden.name}, run {run_id}: today {otherwise}; {way_out}")
    expected = golden.outcomes.get(run_id)
    if expected is None:
        return
    for name in ("state",) if waits else ("state", "final_text", "final_structured", "error"):
        found, recorded = getattr(result, name), getattr(expected, name)
        if name == "final_structured" and isinstance(found, BaseModel):
            found = found.model_dump(mode="json")
        if found != recorded:
            today = f"{name} of run {run_id} is {found!r:.80} today, and {recorded!r:.80} in the golden"
            raise UsageError(f"golden {golden.name}: {today}; {way_out}")


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
