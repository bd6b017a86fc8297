"""Lets a run's process die wherever it can, resumes the run in another, and keeps account of what the world saw.

    scenario = CrashScenario(make_agent, user_message="Pay the invoice")
    for point in crash_points(scenario):
        with CrashTrial(scenario) as trial:
            trial.run_until(point)
            result = trial.run()

`make_agent` gets a directory that is fresh for each trial and outlives its processes: what an agent's tools do to the world goes there.
It is called once per process, so nothing else survives a crash. `crash_everywhere` does all of this and checks the promises. Call these
outside of an event loop; each process has its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import Clock, SeededIds, SimulatedClock
from afk_es.core import AgentResult, AgentRunEvent, AgentRunHandle, RetentionPolicy, Runner, RunnerConfig
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.interaction import InteractionProvider
from afk_es.llms import UserMessage
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import ChainFault
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.mortal import CrashPoint, MortalLog, MortalProcess
from afk_es.testing.mortal_runner import Dispatch, MortalRunner, World

T = TypeVar("T")


class RetryClock(SimulatedClock):
    """A simulated clock on which the delays of retries pass at once and deadlines do not come by themselves; `advance` lets time pass.

    Args:
        passing: the kinds of timers whose time passes at once.
    """

    def __init__(self, passing: Collection[str] = ("retry",)) -> None:
        super().__init__()
        self._passing = tuple(f":{kind}:" for kind in passing)

    async def sleep(self, seconds: float) -> None:
        """For the delay of a retry: return at once, that much later. Otherwise wait for `advance`."""
        task = asyncio.current_task()
        # The loop names the task of an effect by the effect's id, which for the delay of a retry is "retry:" and a seq.
        if task is None or not any(kind in task.get_name() for kind in self._passing):
            await super().sleep(seconds)
            return
        self.advance(seconds)
        await asyncio.sleep(0)


@dataclass(frozen=True, kw_only=True)
class CrashScenario:
    """What is run, again and again, in processes that die.

    Answers of the model must depend on the request or on the directory, and not on how often this object was asked, or a resumed run
    cannot be compared with one that was never killed.

    Attributes:
        agent: makes the agent of a process from the trial's directory; or an Agent that keeps nothing.
        user_message, context, thread_id: as for `Runner.run`.
        config: of the Runner; default `RunnerConfig()`.
        policy_engine: of the Runner.
        log: "memory" (default, fast), or "sqlite" for a file in the trial's directory.
        before: runs in a process of its own first, which does not die; for instance earlier runs on the thread.
        compact: instead of running the agent, compact the thread, which needs a `thread_id` and a `before`; the result is that run's.
        control: is given the handle of the run in each process, and may pause, interrupt or cancel it.
        beside: is given the Runner as well, in each process, for what is said to the run through the log.
        passing: the kinds of timers whose time passes at once: "retry" (default), "grace", "expiry".
        people: makes the interaction provider of a process from the trial's directory, for interactive mode.
        begin: begins the run instead of `Runner.run_handle`, for instance as a fork of one that `before` has made.
        answer: is given the runner and the result where the run lies interrupted, and may answer what it waits for. True: the same process
            resumes it.
        reopenings: how often the run is reopened where it failed, over all processes; default 0.
        world: is given the table of handlers of a process and gives the one that is used, for instance one that answers from a record.
    """

    agent: Callable[[Path], Agent] | Agent
    user_message: UserMessage | None = None
    context: dict[str, Any] | None = None
    thread_id: str | None = None
    config: RunnerConfig = field(default_factory=RunnerConfig)
    policy_engine: PolicyEngine | None = None
    log: Literal["memory", "sqlite"] = "memory"
    before: Callable[[Runner, Agent], Awaitable[object]] | None = None
    control: Callable[[AgentRunHandle], Awaitable[object]] | None = None
    compact: RetentionPolicy | None = None
    beside: Callable[[Runner, AgentRunHandle], Awaitable[object]] | None = None
    passing: Collection[str] = ("retry",)
    people: Callable[[Path], InteractionProvider] | None = None
    answer: Callable[[Runner, AgentResult], Awaitable[bool]] | None = None
    begin: Callable[[Runner, Agent], Awaitable[AgentRunHandle]] | None = None
    reopenings: int = 0
    world: World | None = None

    def agent_in(self, directory: Path) -> Agent:
        """The agent of a process."""
        return self.agent if isinstance(self.agent, Agent) else self.agent(directory)

    def people_in(self, directory: Path) -> InteractionProvider | None:
        """Whoever asks people in a process."""
        return None if self.people is None else self.people(directory)

    def settings(self, log: EventLog, directory: Path, clock: Clock) -> dict[str, Any]:
        """What the Runner of a process is made of, but for its ids."""
        return {
            "log": log,
            "config": self.config,
            "policy_engine": self.policy_engine,
            "interaction_provider": self.people_in(directory),
            "clock": clock,
        }


def outside_of_loops() -> None:
    """Refuse to be where an event loop is running.

    Raises:
        UsageError: one is.
    """
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError("each process of a crash trial has an event loop of its own; use it where none is running, as in a plain test")


class CrashTrial:
    """One run, in as many processes as it takes.

    Use it as a context manager: leaving it clears the dead processes and the directory away. A process that dies before `run_started` is
    durable leaves no run behind, and nobody was told of one: the next process starts it anew.

    Raises:
        UsageError: made where an event loop is running.

    Attributes:
        directory: the trial's outside world.
        clock: the time of all its processes; `clock.advance(seconds)` between two of them is downtime.
        dispatches: every model call, tool call and summary that was started, in order, over all processes.
        passed: the points that the last process came to.
        processes: how many there were.
    """

    def __init__(self, scenario: CrashScenario) -> None:
        outside_of_loops()
        self.scenario = scenario
        self.directory: Path = Path(tempfile.mkdtemp(prefix="afk_es-crash-"))
        self.clock: RetryClock = RetryClock(scenario.passing)
        self.dispatches: list[Dispatch] = []
        self.passed: list[CrashPoint] = []
        self.processes: int = 0
        self._memory = MemoryEventLog(ids=SeededIds())
        self._ids = SeededIds()
        self._run_id = SeededIds().new("run")
        self._dead: list[MortalProcess[AgentResult]] = []
        self._logs: dict[str, MortalLog] = {}
        if scenario.before is not None:
            asyncio.run(self._prepare(scenario.before))

    def __enter__(self) -> CrashTrial:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for process in self._dead:
            process.bury()
        self._dead.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def run_id(self) -> str:
        """The run; the same in every trial."""
        return self._run_id

    @property
    def agent(self) -> Agent:
        """The agent, as a new process makes it."""
        return self.scenario.agent_in(self.directory)

    def run(self) -> AgentResult:
        """Start the run, or resume it, in a new process that comes to its end.

        Raises:
            AfkError: whatever `Runner.run` or `Runner.resume` raises.
        """
        result = self._process(None)
        assert result is not None
        return result

    def run_until(self, point: CrashPoint) -> bool:
        """Start or resume the run in a new process that dies at this point. False: it ended without coming there."""
        return self._process(point) is None

    def events(self) -> list[AgentRunEvent]:
        """What is in the log now; nothing if the process died before the run was there."""
        return asyncio.run(self._with_log(lambda log: log.read(self._run_id)))

    def save(self, target: Path) -> None:
        """Write the log as it is now to a new file, with the run, its subagents' and what its thread remembers: `afk-es debug TARGET`.

        Raises:
            RunNotFoundError: the run is not there yet.
            UsageError: there is a file already.
        """
        from afk_es.debugger.exchange import export_run

        asyncio.run(self._with_log(lambda log: export_run(log, self._run_id, "db", target)))

    def events_of(self, run_id: str) -> list[AgentRunEvent]:
        """What is in the log now of another run."""
        return asyncio.run(self._with_log(lambda log: log.read(run_id)))

    def family(self) -> dict[str, list[AgentRunEvent]]:
        """What is in the log now of the run and of the runs of its subagents at every level, each before those it started."""
        return asyncio.run(self._with_log(self._read_family))

    def verify(self) -> ChainFault | None:
        """Check the hash chain of the run and of its subagents' runs. None: sound, or not there yet."""
        return asyncio.run(self._with_log(self._first_fault))

    # ------------------------------------------------------------------------------------------------------------------ the inside

    def _process(self, until: CrashPoint | None) -> AgentResult | None:
        self.processes += 1
        log = MortalLog(self._store(), f"owner_of_process_{self.processes}", self._living)
        log.root = self._run_id
        self._logs[log.owner] = log
        process = MortalProcess(lambda: self._main(log), until)
        log.process = process
        self.passed = process.passed
        result = process.live()
        if process.dead:
            self._dead.append(process)
        return result

    async def _main(self, log: MortalLog) -> AgentResult:
        process = log.process
        assert process is not None

        def left(dispatch: Dispatch) -> None:
            dispatch.returned = not process.dead

        runner = MortalRunner(
            root=self._run_id,
            process=self.processes,
            reach=process.reach,
            enter=self.dispatches.append,
            left=left,
            world=self.scenario.world,
            ids=SeededIds(),
            **self._settings(log),
        )
        await log.open()
        try:
            return await lived(self.scenario, runner, self.agent, self._run_id)
        finally:
            await _closed(log)

    async def _prepare(self, before: Callable[[Runner, Agent], Awaitable[object]]) -> None:
        log = MortalLog(self._store(), "owner_before", self._living)
        await log.open()
        try:
            async with Runner(**self._settings(log), ids=SeededIds(1)) as runner:
                await before(runner, self.agent)
        finally:
            await log.close()

    def _settings(self, log: EventLog) -> dict[str, Any]:
        return self.scenario.settings(log, self.directory, self.clock)

    async def _with_log(self, ask: Callable[[EventLog], Awaitable[T]]) -> T:
        log = self._store()
        await log.open()
        try:
            return await ask(log)
        finally:
            await log.close()

    async def _read_family(self, log: EventLog) -> dict[str, list[AgentRunEvent]]:
        family: dict[str, list[AgentRunEvent]] = {}
        waiting = [self._run_id]
        while waiting:
            run_id = waiting.pop(0)
            events = await log.read(run_id)
            if events:
                family[run_id] = events
            waiting += [event.data["run_id"] for event in events if event.type == "subagent_started"]
        return family

    async def _first_fault(self, log: EventLog) -> ChainFault | None:
        for run_id in await self._read_family(log):
            with contextlib.suppress(RunNotFoundError):
                fault = await log.verify(run_id)
                if fault is not None:
                    return fault
        return None

    def _store(self) -> EventLog:
        if self.scenario.log == "memory":
            return self._memory
        return SqliteEventLog(self.directory / "runs.db", durability="normal")

    def _living(self, owner: str, run_id: str) -> bool:
        log = self._logs.get(owner)
        return log is not None and log.process is not None and not log.process.dead and run_id in log.held


async def _closed(log: EventLog) -> None:
    """Close it, whatever else is cancelled: a dead process that is cleared away may be told so twice, and its store has a thread."""
    closing = asyncio.ensure_future(log.close())
    while not closing.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(closing)
    await closing


async def lived(scenario: CrashScenario, runner: Runner, agent: Agent, run_id: str) -> AgentResult:
    """Start the scenario's run in this process, or go on with it where its log has it already, to its end. The log is open."""
    async with runner:
        if scenario.compact is not None:
            await runner.compact_thread(thread_id=scenario.thread_id or "", retention=scenario.compact)
            # It has ended, so this is its result, whoever asks for it.
            return await runner.resume(agent, run_id=run_id)
        if await runner.log.head(run_id) is not None:
            handle = await runner.resume_handle(agent, run_id=run_id, reopen=await _reopens(scenario, runner, run_id))
        elif scenario.begin is not None:
            handle = await scenario.begin(runner, agent)
        else:
            handle = await runner.run_handle(
                agent, user_message=scenario.user_message, context=scenario.context, thread_id=scenario.thread_id
            )
        result = await _result_of(scenario, runner, handle)
        while await _goes_on(scenario, runner, result):
            handle = await runner.resume_handle(agent, run_id=run_id, reopen=True)
            result = await _result_of(scenario, runner, handle)
        return result


async def _goes_on(scenario: CrashScenario, runner: Runner, result: AgentResult) -> bool:
    """Whether the same process goes on with the run."""
    match result.state:
        case "interrupted" if scenario.answer is not None:
            return await scenario.answer(runner, result)
        case "failed":
            return await _reopens(scenario, runner, result.run_id)
        case _:
            return False


async def _reopens(scenario: CrashScenario, runner: Runner, run_id: str) -> bool:
    """Whether the run, if it failed, may be reopened once more."""
    if not scenario.reopenings:
        return False
    claims = await runner.log.scan(run_id, types=("run_started",))
    return len([claim for claim in claims if claim.data.get("reopened")]) < scenario.reopenings


async def _result_of(scenario: CrashScenario, runner: Runner, handle: AgentRunHandle) -> AgentResult:
    """The result of a stretch, with whoever interferes beside it."""
    helpers: list[asyncio.Future[object]] = []
    if scenario.control is not None:
        helpers.append(asyncio.ensure_future(scenario.control(handle)))
    if scenario.beside is not None:
        helpers.append(asyncio.ensure_future(scenario.beside(runner, handle)))
    try:
        return await handle.await_result()
    finally:
        for helper in helpers:
            helper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await helper


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The run as it is when nobody kills it.

    Attributes:
        result: what it comes to.
        points: every point it comes to: before and after each write to the log and each effect.
    """

    result: AgentResult
    points: tuple[CrashPoint, ...]


def rehearse(scenario: CrashScenario) -> Rehearsal:
    """Run once, and kill nobody."""
    with CrashTrial(scenario) as trial:
        result = trial.run()
        return Rehearsal(result, tuple(trial.passed))


def crash_points(scenario: CrashScenario) -> tuple[CrashPoint, ...]:
    """Every point at which a process of this run may die. It takes one run to find out."""
    return rehearse(scenario).points
