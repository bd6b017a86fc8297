"""Real processes, killed with SIGKILL, stopped, and racing for one run: scenarios by name or seed, on a SQLite file, judged by what they leave.

A process is forked from a server that has imported everything, so that a death costs milliseconds. It enters every effect that it starts in
a journal of its own, with one system call, before it starts it; nothing else of it is believed but the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

from afk_es.clock import SeededIds
from afk_es.core import AgentResult
from afk_es.errors import AfkError, HeadConflictError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import Breach, CrashPoint, CrashScenario, CrashTrial, Dispatch, RetryClock, Survival, comparable, rehearse
from afk_es.testing.crashes import lived
from afk_es.testing.mortal import within
from afk_es.testing.mortal_runner import MortalRunner
from afk_es.testing.survival import Family

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.crash.killed", "tests.crash.generated"])

PATIENCE_S = 60.0
"""Real seconds after which a process that says nothing hangs."""

Source = str | int
"""A crash scenario's name, or the seed of a generated run: what a process of its own can be told."""


@dataclass(frozen=True)
class Job:
    """What a process is to do.

    Attributes:
        process: its number, from 1.
        at: the how-maniest point it comes to is its last; 0: it lives.
        by: what happens there: it is killed, or stopped.
        waits: for a word before it begins.
        blind: takes a refused append for one that went well: a planted bug, that the proof has to find.
        usurps: takes the owner of any run for dead, as a store on another machine would that cannot see its lock.
        paces_s: how long it lingers at each point, so that a kill at a moment has something to hit.
    """

    source: Source
    directory: Path
    process: int
    at: int = 0
    by: Literal["kill", "stop"] = "kill"
    waits: bool = False
    usurps: bool = False
    blind: bool = False
    paces_s: float = 0.0


class Said(NamedTuple):
    """What a process came to: a result, or why it could not go on."""

    result: AgentResult | None
    error: str = ""


@dataclass
class KilledRun:
    """How a run survived its real processes.

    Attributes:
        deaths: where or when each of them died, in words.
        dispatches: effects that were started.
        log: the file it was kept in, where a promise was broken.
    """

    name: str
    deaths: list[str] = field(default_factory=list)
    dispatches: int = 0
    breaches: list[Breach] = field(default_factory=list)
    log: Path | None = None

    def __str__(self) -> str:
        opened = "" if self.log is None else f" (afk-es debug {self.log})"
        return "\n".join(f"{self.name}: {'; '.join(self.deaths)}: {breach.sentence}{opened}" for breach in self.breaches)


def scenario_of(source: Source) -> CrashScenario:
    """The scenario, on a file."""
    from tests.crash.generated import generated_run
    from tests.crash.goldens import RECORDED

    scenario = RECORDED[source] if isinstance(source, str) else generated_run(source).scenario
    return replace(scenario, log="sqlite")


# --------------------------------------------------------------------------------------------------------------------- what is tried


def killed(source: Source, seed: int, *, keep: Path | None = None) -> KilledRun:
    """One to three processes of a run are killed, each at a point or a moment drawn from the seed; then one may live."""
    chance = random.Random(f"kill {seed}")
    with _trial(source, seed, "killed", keep) as (trial, run, survival, points):
        for number in range(1, chance.randint(1, 3) + 1):
            if chance.random() < 0.7:
                at = chance.randint(1, points)
                with _process(Job(source, trial.directory, number, at=at)) as one:
                    one.until_dead()
                run.deaths.append(f"process {number} at point {at} ({_died_at(trial.directory)})")
            else:
                moment_s = chance.uniform(0, 0.2)
                with _process(Job(source, trial.directory, number, paces_s=0.002)) as one:
                    time.sleep(moment_s)
                    one.kill()
                run.deaths.append(f"process {number} after {moment_s:.3f} s")
            survival.prefixes.append((number, trial.family()))
        _ended(source, trial, run, survival, len(run.deaths) + 1)
    return run


def contended(source: Source, seed: int, *, keep: Path | None = None) -> KilledRun:
    """A process is killed, and two go for its run at the same moment: one has it, the other is refused, or comes when it has ended."""
    chance = random.Random(f"contend {seed}")
    with _trial(source, seed, "contended", keep) as (trial, run, survival, points):
        at = chance.randint(1, points)
        with _process(Job(source, trial.directory, 1, at=at)) as one:
            one.until_dead()
        run.deaths.append(f"process 1 at point {at} ({_died_at(trial.directory)}), then two")
        survival.prefixes.append((1, trial.family()))
        jobs = [Job(source, trial.directory, number, waits=True, paces_s=0.001) for number in (2, 3)]
        with _process(jobs[0]) as left, _process(jobs[1]) as right:
            left.go()
            right.go()
            answers = [left.said(), right.said()]
        if survival.prefixes[0][1] and not any(said.result for said in answers):
            run.breaches.append(Breach("resume", f"neither of two processes got the run: {answers}"))
        for said in answers:
            # Where there is no run yet, both begin the same one, as SeededIds have it: the later one is refused its first append.
            if said.result is None and not said.error.startswith(("RunOwnedError", "HeadConflictError")):
                run.breaches.append(Breach("resume", f"a process was refused with {said.error}"))
        _ended(source, trial, run, survival, 4)
    return run


def usurped(source: Source, seed: int, *, keep: Path | None = None, blind: bool = False) -> KilledRun:
    """A process is stopped, another takes its run over and ends it, and the first goes on where it stood: it starts nothing more.

    What it was about to start when it was stopped had been announced in the log, so that its heir knew of it and treated it as in doubt.

    Args:
        blind: with a store that does not tell the stale owner that it is one.
    """
    chance = random.Random(f"usurp {seed}")
    with _trial(source, seed, "usurped", keep) as (trial, run, survival, points):
        at = chance.randint(1, points)
        with _process(Job(source, trial.directory, 1, at=at, by="stop", blind=blind)) as stale:
            stopped = stale.until_stopped()
            run.deaths.append(f"process 1 stopped at point {at} ({_died_at(trial.directory)}) and taken over")
            prefix = trial.family()
            survival.prefixes.append((1, prefix))
            with _process(Job(source, trial.directory, 2, usurps=True)) as heir:
                said = heir.said()
            # Stopped in the middle of a write of another of its runs it holds the file's lock, and nobody can write: a clear error too.
            locked = said.error.startswith("LogLockedError")
            if said.result is None and stopped and prefix and not locked:
                run.breaches.append(Breach("resume", f"the run could not be taken over: {said.error}"))
            before, started = trial.family(), len(_journal(trial.directory))
            if stopped:
                stale.go_on()
                stale.said()
        ended = said.result is not None and said.result.state != "interrupted"
        if stopped and ended and trial.family() != before:
            run.breaches.append(Breach("prefix", "a stale owner wrote to the log"))
        for late in _journal(trial.directory)[started:]:
            known = prefix.get(late.run_id, [])
            if ended and int(late.id.rpartition(":")[2]) > len(known):
                run.breaches.append(
                    Breach("repeat", f"a stale owner started {late.kind} {late.name} ({late.id}), which it had not announced")
                )
        _ended(source, trial, run, survival, 3)
    return run


@contextlib.contextmanager
def _trial(source: Source, seed: int, what: str, keep: Path | None) -> Iterator[tuple[CrashTrial, KilledRun, Survival, int]]:
    """A directory for the processes, the run that nobody kills to compare with, and how many points that comes to."""
    scenario = scenario_of(source)
    rehearsal = rehearse(scenario)
    run = KilledRun(f"{source if isinstance(source, str) else f'seed {source}'}, {what} {seed}")
    with CrashTrial(scenario) as trial:
        survival = Survival(trial.run_id, rehearsal.result, None, {})
        yield trial, run, survival, len(rehearsal.points)
        if run.breaches and keep is not None and trial.events():
            keep.mkdir(parents=True, exist_ok=True)
            run.log = keep / f"{what}-{str(source).replace(' ', '-')}-{seed}.db"
            run.log.unlink(missing_ok=True)
            trial.save(run.log)


def _ended(source: Source, trial: CrashTrial, run: KilledRun, survival: Survival, number: int) -> None:
    """The last process lives; after it the run is judged, and one more finds that there is nothing to do."""
    with _process(Job(source, trial.directory, number)) as one:
        last = one.said()
    trial.processes = number
    trial.dispatches = _journal(trial.directory)
    run.dispatches = len(trial.dispatches)
    if last.result is None:
        run.breaches.append(Breach("resume", f"the run cannot be resumed: {last.error}"))
    fault = trial.verify()
    if fault is not None:
        run.breaches.append(Breach("log", f"the chain is broken at seq {fault.seq}: {fault.reason}"))
    survival = replace(survival, result=last.result, family=trial.family(), dispatches=trial.dispatches)
    run.breaches += survival.breaches()
    if last.result is not None:
        run.breaches += [Breach("own", sentence) for sentence in _own(source, trial, last.result)]
        if last.result.state != "interrupted":
            run.breaches += _stays_as_it_is(source, trial, survival.family, last.result, number + 1)


def _own(source: Source, trial: CrashTrial, result: AgentResult) -> Iterator[str]:
    from tests.crash.generated import generated_run

    if isinstance(source, int):
        yield from generated_run(source).check(trial, result)


def _stays_as_it_is(source: Source, trial: CrashTrial, family: Family, result: AgentResult, number: int) -> Iterator[Breach]:
    with _process(Job(source, trial.directory, number)) as one:
        again = one.said()
    same = again.result is not None and comparable(again.result) == comparable(result)
    if not same or trial.family() != family or len(_journal(trial.directory)) != len(trial.dispatches):
        yield Breach("prefix", f"resuming the run after its end changed something ({again.error})")


# ----------------------------------------------------------------------------------------------------------------------- the parent's side


class _Process:
    """A process, as its parent sees it."""

    def __init__(self, job: Job) -> None:
        self._told, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=_live, args=(job, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def until_dead(self) -> None:
        """Wait until it has killed itself, or has come to its end first."""
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            raise TimeoutError("a process neither died nor ended")

    def until_stopped(self) -> bool:
        """Wait until it has stopped itself. False: it has come to its end first."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._told.poll():
                return False
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                    return True
            time.sleep(0.002)
        raise TimeoutError("a process neither stopped nor ended")

    def go(self) -> None:
        """Let it begin."""
        self._told.send("go")

    def go_on(self) -> None:
        """Let it go on where it was stopped."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.join(PATIENCE_S)

    def said(self) -> Said:
        """What it came to."""
        if not self._told.poll(PATIENCE_S):
            raise TimeoutError("a process says nothing")
        try:
            said: Said = self._told.recv()
        except EOFError:
            said = Said(None, f"it ended with exit code {self._process.exitcode} and said nothing")
        self._process.join(PATIENCE_S)
        return said

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self._process.is_alive():
            self.kill()
        self._told.close()
        self._process.close()


@contextlib.contextmanager
def _process(job: Job) -> Iterator[_Process]:
    one = _Process(job)
    try:
        yield one
    finally:
        one.end()


def _journal(directory: Path) -> list[Dispatch]:
    """What all processes started, in order."""
    path = directory / "dispatches.jsonl"
    return [Dispatch(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def _died_at(directory: Path) -> str:
    path = directory / "died"
    return path.read_text() if path.exists() else "it ended first"


# -------------------------------------------------------------------------------------------------------------------------- the child's side


def _live(job: Job, told: Connection) -> None:
    """The life of a process."""
    if job.waits:
        told.recv()
    if job.blind:
        # Always-replay mode would see the sabotage first.
        os.environ.pop("AFK_ES_ALWAYS_REPLAY", None)
    try:
        said = Said(asyncio.run(_lived(job)))
    except AfkError as error:
        said = Said(None, f"{type(error).__name__}: {error}")
    told.send(said)


async def _lived(job: Job) -> AgentResult:
    scenario = scenario_of(job.source)
    life = _Life(job)
    clock = RetryClock(scenario.passing)
    # Each process begins a little later than the one before it.
    clock.advance(job.process)
    log = _FatalLog(job.directory / "runs.db", life)
    await log.open()
    try:
        runner = MortalRunner(
            root=life.run_id,
            process=job.process,
            reach=life.reach,
            enter=life.enter,
            left=lambda dispatch: None,
            world=scenario.world,
            ids=SeededIds(),
            **scenario.settings(log, job.directory, clock),
        )
        return await lived(scenario, runner, scenario.agent_in(job.directory), life.run_id)
    finally:
        await log.close()


class _Life:
    """Counts the points that a process comes to, and ends it at one."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.run_id = SeededIds().new("run")
        self._passed = 0

    def reach(self, point: CrashPoint) -> None:
        """The process is at a point."""
        self._passed += 1
        if self.job.paces_s:
            time.sleep(self.job.paces_s)
        if self._passed == self.job.at:
            _write(self.job.directory / "died", str(point))
            os.kill(os.getpid(), signal.SIGKILL if self.job.by == "kill" else signal.SIGSTOP)

    def enter(self, dispatch: Dispatch) -> None:
        """An effect is about to start."""
        _write(self.job.directory / "dispatches.jsonl", json.dumps(asdict(dispatch)) + "\n", append=True)


def _write(path: Path, text: str, *, append: bool = False) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC))
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


class _FatalLog(SqliteEventLog):
    """A store whose writes are points of its process."""

    def __init__(self, path: Path, life: _Life) -> None:
        super().__init__(path, durability="normal")
        self._life = life

    async def append(self, events: Any, *, epoch: int) -> None:
        what = f"{within(events[0].run_id, self._life.run_id)}append:{events[0].seq}" if events else ""
        about = ", ".join(event.type for event in events)
        self._life.reach(CrashPoint("before", what, about))
        try:
            await super().append(events, epoch=epoch)
        except HeadConflictError:
            if not self._life.job.blind:
                raise
        self._life.reach(CrashPoint("after", what, about))

    async def post(self, run_id: str, draft: Any, *, at: Any) -> Any:
        self._life.reach(CrashPoint("before", f"post:{run_id}", draft.type))
        letter = await super().post(run_id, draft, at=at)
        self._life.reach(CrashPoint("after", f"post:{run_id}", draft.type))
        return letter

    async def alive(self, owner: str, run_id: str) -> bool:
        return False if self._life.job.usurps else await super().alive(owner, run_id)
