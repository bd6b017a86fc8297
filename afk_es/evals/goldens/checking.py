"""Checks goldens: today's agent is run again on what was recorded, and what both runs did is compared. No model, tool or person is asked.

What is compared, and in which class a difference is, stands in `differences`; what counts, in `modes`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds, SystemClock
from afk_es.core import Leftover, Replayed, Runner, RunnerConfig, Unanswered
from afk_es.core.history import ThreadMemory
from afk_es.core.replays import RecordedPeople
from afk_es.debugger.recording import Recording
from afk_es.errors import AfkError, UsageError
from afk_es.evals.assertions.trajectory import Trajectory
from afk_es.evals.goldens.check_report import DIVERGENCES_KEPT, CheckedRun, CheckReport, LeftOver
from afk_es.evals.goldens.contradictions import contradictions, edited_states
from afk_es.evals.goldens.differences import Compared, Differences, merged
from afk_es.evals.goldens.divergence import Divergence, MatchMode, Place
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.goldens.kept_back import Shown, as_kept_back
from afk_es.evals.goldens.modes import Ignored, counts
from afk_es.evals.goldens.recorded_config import recorded_config
from afk_es.evals.goldens.trajectory_check import compare_trajectories
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent
from afk_es.redaction import Redaction
from afk_es.views.timeline import Timeline

AgentSource: TypeAlias = Agent | Callable[[], "Agent | Awaitable[Agent]"]
"""Today's agent, or a function that makes it; one that cannot is a check that could not measure."""

RunnerFactory: TypeAlias = Callable[[EventLog, RunnerConfig], Runner]
"""Makes the Runner of a check, on this log and with this config: for policies, secrets or a summariser that are the caller's own."""


async def check_golden(
    golden: Golden,
    agent: AgentSource,
    *,
    mode: MatchMode | None = None,
    policy_engine: PolicyEngine | None = None,
    config: RunnerConfig | None = None,
    runner_factory: RunnerFactory | None = None,
    trajectory: Mapping[str, Any] | None = None,
    redaction: Redaction | None = None,
) -> CheckReport:
    """Run today's agent on what a golden has recorded, and compare. Nothing is asked of the world, and nothing is written to a file.

    Each run that is checked is replayed on the history that was recorded before it, so that a divergence in one does not run on into the next.

    Args:
        agent: today's.
        mode: how much has to be the same; default: what the golden says.
        policy_engine: today's, as the Runner would have it beside the agent's own.
        config: today's; default: what was recorded.
        runner_factory: makes the Runner, in place of the two above.
        trajectory: how calls are compared in trajectory mode: keywords of `Trajectory`, such as `{"mode": "superset", "arguments": "ignore"}`;
            default: they have to be the same calls in the same order, those of subagents too.
        redaction: that with which the golden was recorded, where it was given values of the caller's; default: what the header tells. Of
            an exact golden nothing is kept back.

    Returns:
        What was found. A golden that cannot be replayed, an agent that cannot be made, and a replay that was given no recorded answer are
        "not_measurable", and never an exception.

    Raises:
        UsageError: there is no agent to check; `trajectory` in another mode, or with an option that there is not.
    """
    if not isinstance(agent, Agent) and not callable(agent):
        raise UsageError(f"a check needs today's agent, or a function that makes it, and not {agent!r:.80}")
    clock = SystemClock()
    began = clock.monotonic()
    check = _Check(golden, mode or golden.mode, trajectory, redaction)
    try:
        today = agent if isinstance(agent, Agent) else await _made(agent)
        log = await golden.open_log()
        settings = config if config is not None else recorded_config(golden)
        if runner_factory is not None:
            runner = runner_factory(log, settings)
        else:
            people = RecordedPeople() if settings.interaction_mode == "interactive" else None
            runner = Runner(log=log, policy_engine=policy_engine, config=settings, interaction_provider=people, ids=SeededIds(0))
        async with runner:
            for run_id in golden.runs:
                await check.replayed(log, run_id, await runner.replay(today, run_id=run_id, redaction=check.redaction))
    except AfkError as error:
        check.refused(str(error))
    except Exception as error:  # noqa: BLE001 - the user's function, agent or runner: what it raises is what the check came to
        check.refused(f"{type(error).__name__}: {error}")
    return await check.report(clock.monotonic() - began)


async def compare_with_golden(
    golden: Golden,
    log: EventLog,
    run_id: str | Sequence[str],
    *,
    mode: MatchMode | None = None,
    trajectory: Mapping[str, Any] | None = None,
    redaction: Redaction | None = None,
) -> CheckReport:
    """Compare a run that really happened, such as one of production or one with a real model, with a golden.

    Of the run is kept back what was kept back of the golden, before they are compared.

    Args:
        log: open, and left open; it has the run.
        run_id: the run, which is compared with the last one that the golden checks; or as many as that checks, in their order.
        mode: how much has to be the same; default: what the golden says. In a run with a real model, texts hardly ever are.
        trajectory, redaction: see `check_golden`.

    Raises:
        RunNotFoundError: the log has no such run.
        UsageError: not as many runs as the golden has; `trajectory` as for `check_golden`.
    """
    clock = SystemClock()
    began = clock.monotonic()
    run_ids = [run_id] if isinstance(run_id, str) else list(run_id)
    pairs = list(zip(golden.runs[-1:] if isinstance(run_id, str) else golden.runs, run_ids, strict=False))
    if not isinstance(run_id, str) and len(run_ids) != len(golden.runs):
        raise UsageError(f"golden {golden.name} checks {len(golden.runs)} runs ({', '.join(golden.runs)}); these are {len(run_ids)}")
    memory = ThreadMemory()
    today = [await Recording.open(log, own, memory=memory) for _recorded, own in pairs]
    check = _Check(golden, mode or golden.mode, trajectory, redaction)
    try:
        recorded, memory = await golden.open_log(), ThreadMemory()
        if check.redaction is not None:
            kept, check.redaction = await as_kept_back(golden, check.redaction, log, [own for _recorded, own in pairs])
            today = [await Recording.open(kept, own) for _recorded, own in pairs]
        for (name, _own), rec in zip(pairs, today, strict=True):
            await check.compare(await Recording.open(recorded, name, memory=memory), rec, 0)
        await recorded.close()
    except AfkError as error:
        check.refused(str(error))
    return await check.report(clock.monotonic() - began)


def check_golden_sync(
    golden: Golden,
    agent: AgentSource,
    *,
    mode: MatchMode | None = None,
    policy_engine: PolicyEngine | None = None,
    config: RunnerConfig | None = None,
    runner_factory: RunnerFactory | None = None,
    trajectory: Mapping[str, Any] | None = None,
    redaction: Redaction | None = None,
) -> CheckReport:
    """As `check_golden`, and waits for it.

    Raises:
        UsageError: called where an event loop is running already; use `await check_golden(...)` there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        settings: dict[str, Any] = {"policy_engine": policy_engine, "config": config, "runner_factory": runner_factory}
        check = check_golden(golden, agent, mode=mode, trajectory=trajectory, redaction=redaction, **settings)
        return asyncio.run(check)
    raise UsageError("check_golden_sync cannot be called where an event loop is running; use `await check_golden(...)`")


async def _made(agent: Callable[[], Agent | Awaitable[Agent]]) -> Agent:
    made = agent()
    found = await made if inspect.isawaitable(made) else made
    if not isinstance(found, Agent):
        raise UsageError(f"the function is to make an Agent, and made {type(found).__name__}")
    return found


class _Check:
    """What a check has found so far.

    Attributes:
        redaction: what is kept back of all that is of today; None for nothing.
    """

    def __init__(self, golden: Golden, mode: MatchMode, trajectory: Mapping[str, Any] | None, redaction: Redaction | None) -> None:
        if trajectory is not None and mode != "trajectory":
            raise UsageError(f"trajectory= says how calls are compared in trajectory mode, and this is {mode} mode; give mode='trajectory'")
        if trajectory is not None:
            Trajectory([], **trajectory)  # Refuses what it does not know, before anything is run.
        self._golden = golden
        self.redaction = golden.redaction(redaction)
        self._untold = golden.header.secret_values and (redaction is None or not redaction.has_values)
        self._trajectory = trajectory
        self._mode = mode
        self._memory = ThreadMemory()
        self._compared: list[Compared] = []
        self._runs: list[CheckedRun] = []
        self._leftovers: list[LeftOver] = []
        self._reason = ""

    async def replayed(self, log: EventLog, run_id: str, replay: Replayed) -> None:
        """Take in the replay of a run."""
        recorded = await Recording.open(log, run_id, memory=self._memory)
        today = await Recording.open(log, replay.run_id, memory=self._memory)
        compared = await self.compare(recorded, today, replay.served)
        await self._left(log, compared, replay)
        if not replay.served:
            self.refused(f"run {run_id} was given no recorded answer, so that nothing of it was measured")

    async def compare(self, recorded: Recording, today: Recording, served: int) -> Compared:
        """Take in two runs that are to be the same."""
        if self._trajectory is not None:
            compared = await compare_trajectories(recorded, today, self._trajectory)
        else:
            compared = await Differences(self._mode, self._golden.header.recorded.afk_es).of(recorded, today)
        self._compared.append(compared)
        self._runs.append(CheckedRun(recorded.run_id, today.run_id, compared.same, served))
        return compared

    def refused(self, reason: str) -> None:
        """Note why something could not be measured; the first reason is told."""
        self._reason = self._reason or reason

    async def _left(self, log: EventLog, compared: Compared, replay: Replayed) -> None:
        """Answers that nobody asked for, and what had none, where no divergence of that class tells of them yet."""
        for left in replay.leftovers:
            place = _place(await _event(log, left.run_id, left.seq))
            self._leftovers.append(LeftOver(place, left.what))
            if not any(each.kind == "missing" and _tells_of(each.recorded, place) for each in compared.divergences):
                _insert(compared.divergences, _leftover(left, place), lambda each: each.recorded, place)
        for asked in replay.unanswered:
            place = _place(await _event(log, asked.run_id, asked.seq))
            if not any(each.kind == "extra" and _tells_of(each.today, place) for each in compared.divergences):
                _insert(compared.divergences, _unanswered(asked, place), lambda each: each.today, place)

    async def report(self, duration_s: float) -> CheckReport:
        """All of it."""
        ignored = Ignored(self._mode)
        own: list[Divergence] = []
        notes: list[str] = []
        if self._golden.edited:
            notes.append("the file was edited by hand since it was recorded: its digest is not that of its lines")
        for finding, divergence in contradictions(self._golden, await edited_states(self._golden)):
            if counts(finding, self._mode):
                own.append(divergence)
            else:
                ignored.add(finding)
        # What a golden says against itself is the cause of whatever else is found.
        compared = merged([Compared(own, 0, 0, ignored.notes()), *self._compared])
        found = compared.divergences
        if found and self._untold:
            notes.append(
                "the golden keeps back values that only whoever recorded it knew; give the check the same redaction= where [redacted] differs"
            )
        report = CheckReport(
            name=self._golden.name,
            path=self._golden.path or "",
            mode=self._mode,
            outcome="diverged" if found else "not_measurable" if self._reason else "passed",
            divergences=tuple(found[:DIVERGENCES_KEPT]),
            more=compared.more + max(0, len(found) - DIVERGENCES_KEPT),
            served=sum(run.served for run in self._runs),
            leftovers=tuple(self._leftovers),
            notes=(*notes, *compared.notes, *([self._reason] if found and self._reason else [])),
            reason="" if found else self._reason,
            duration_s=duration_s,
            runs=tuple(self._runs),
        )
        return report if self.redaction is None else self._shown(report, Shown(self.redaction, every_word=self._untold))

    def _shown(self, report: CheckReport, shown: Shown) -> CheckReport:
        return msgspec.structs.replace(
            report,
            divergences=tuple(map(shown.divergence, report.divergences)),
            notes=tuple(map(shown.text, report.notes)),
            reason=shown.text(report.reason),
        )


async def _event(log: EventLog, run_id: str, seq: int) -> AgentRunEvent:
    (event,) = await log.read(run_id, after=seq - 1, limit=1)
    return event


def _place(event: AgentRunEvent) -> Place:
    data = event.data
    tool = data.get("tool_name") or data.get("subagent_name") or ""
    text = Timeline().line(event).text
    return Place(event.run_id, event.seq, event.step, (), event.type, text, tool, data.get("tool_call_id", ""))


def _insert(found: list[Divergence], one: Divergence, side: Callable[[Divergence], Place | None], place: Place) -> None:
    """Put it before the first of that side that comes later."""
    for index, each in enumerate(found):
        other = side(each)
        if other is not None and other.run_id == place.run_id and other.seq > place.seq:
            found.insert(index, one)
            return
    found.append(one)


def _tells_of(told: Place | None, place: Place) -> bool:
    """Whether a divergence is about that event, or about its call."""
    if told is None or told.run_id != place.run_id:
        return False
    return told.seq == place.seq or (bool(place.tool_call_id) and (told.tool_call_id, told.step) == (place.tool_call_id, place.step))


def _leftover(left: Leftover, place: Place) -> Divergence:
    field, value = ("tool_name", place.tool_name) if place.tool_name else ("type", left.type)
    return Divergence("missing", field, value, None, place, None, f"nobody asked for the recorded answer of {left.what} today")


def _unanswered(asked: Unanswered, place: Place) -> Divergence:
    field, value = ("tool_name", place.tool_name) if place.tool_name else ("type", place.type)
    return Divergence("extra", field, None, value, None, place, f"{asked.what}: {asked.reason}")
