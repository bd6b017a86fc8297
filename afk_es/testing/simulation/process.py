"""One simulated process: an event loop, a Runner and its view of the log. It may die at any write, or stall while another takes over."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import SeededIds
from afk_es.core import AgentResult, AgentRunEvent, AgentRunHandle, Runner, RunnerConfig
from afk_es.core.loop import Handler, Handlers
from afk_es.core.servers import Offered
from afk_es.errors import LogClosedError, UsageError
from afk_es.handlers import Binding
from afk_es.handlers.binding import Emit, Report
from afk_es.llms import ChatModel
from afk_es.log import EventLog, Letter
from afk_es.machine import Draft, Effect, RunState
from afk_es.testing.mortal import MortalLog
from afk_es.testing.simulation.asks import PERFORMING, Ask, AskedModel, AskedPeople, AskKind, check_fits, simulated
from afk_es.testing.simulation.facts import Fact, PersonSays
from afk_es.testing.simulation.virtual_loop import LoopClock, VirtualTimeLoop
from afk_es.tools import Tool, ToolContext

_CLEARING_S = 60.0
"""Virtual seconds that a process has for its clean-up, which nobody sees."""

Work = Callable[["Process"], Awaitable[AgentResult]]
"""What a process does from its start on: begins a run, or goes on with one."""


class Witness(Protocol):
    """Whoever is told what the processes do."""

    def key(self, kind: AskKind, name: str) -> str:
        """The key of the next ask of this kind."""
        ...

    def asked(self, ask: Ask) -> None:
        """A process waits for this."""
        ...

    def appended(self, process: Process, events: Sequence[AgentRunEvent]) -> None:
        """These events are durable."""
        ...

    def living(self, owner: str, run_id: str) -> bool:
        """Whether the process with this owner's name drives the run."""
        ...


class SimulatedLog(MortalLog):
    """The log as a simulated process sees it: it hangs for good at the write at which the process dies, and refuses whatever comes later."""

    def __init__(self, inner: EventLog, owner: str, process: Process, witness: Witness) -> None:
        super().__init__(inner, owner, witness.living)
        self._own = process
        self._witness = witness

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        """Append, or die before or after it.

        Raises:
            LogClosedError: the process is dead, and is only being cleared away.
        """
        await self._own.at_a_write("before")
        await self._inner.append(events, epoch=epoch)
        if events:
            self._witness.appended(self._own, events)
        await self._own.at_a_write("after")

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        """Post, if the process is alive.

        Raises:
            LogClosedError: the process is dead, and is only being cleared away.
        """
        self._own.check_alive()
        return await self._inner.post(run_id, draft, at=at)


class SimulatedRunner(Runner):
    """A Runner whose agents' outside worlds are asked at the desk of its process."""

    def __init__(self, process: Process, log: EventLog, config: RunnerConfig, policy_engine: PolicyEngine | None, ids: SeededIds) -> None:
        people = AskedPeople(process) if config.interaction_mode == "interactive" else None
        super().__init__(
            log=log, config=config, policy_engine=policy_engine, interaction_provider=people, clock=LoopClock(process.loop), ids=ids
        )
        self._process = process

    async def _new_binding(self, agent: Agent, offered: Offered) -> Binding:
        return simulated(await super()._new_binding(agent, offered), self._process)

    def _default_model(self) -> ChatModel:
        # It only stands for a name: every model is replaced once the agent is bound. Its prices are not asked for, which takes seconds.
        return AskedModel(self._process, "default", super()._default_model().provider_id)

    def _handlers(self, binding: Binding, emit: Emit | None, report: Report) -> Handlers:
        return {kind: self._watched(handler) for kind, handler in super()._handlers(binding, emit, report).items()}

    def _watched(self, handler: Handler) -> Handler:
        process = self._process

        async def perform(effect: Effect, state: RunState) -> Draft:
            if process.dead:
                await process.never()
            PERFORMING.set((effect, state))
            return await handler(effect, state)

        return perform


class Process:
    """A process that drives a run until it ends, is laid down or dies.

    Args:
        number: 1 for the first of a simulation.
        witness: is told what it asks and writes.
        store: the log that survives it.
        work: what it does.
        moment: the virtual second at which it starts.
        config, policy_engine, ids: of its Runner.

    Attributes:
        pending: what it waits for, by key, in the order of asking.
        dead: whether it died.
        handle: the run, once it has begun.
        result: what the run came to here; None before.
        error: what came of the work instead.
        faults: what was raised where nobody awaited it.
    """

    def __init__(
        self,
        number: int,
        witness: Witness,
        store: EventLog,
        work: Work,
        *,
        moment: float,
        config: RunnerConfig,
        policy_engine: PolicyEngine | None,
        ids: SeededIds,
    ) -> None:
        self.number: int = number
        self.pending: dict[str, Ask] = {}
        self.dead: bool = False
        self.handle: AgentRunHandle | None = None
        self.result: AgentResult | None = None
        self.error: BaseException | None = None
        self.faults: list[BaseException] = []
        self.loop: VirtualTimeLoop = VirtualTimeLoop(moment)
        self.loop.set_exception_handler(self._unawaited)
        self.log: SimulatedLog = SimulatedLog(store, f"owner_of_process_{number}", self, witness)
        self.runner: SimulatedRunner = SimulatedRunner(self, self.log, config, policy_engine, ids)
        self._witness = witness
        self._dies_in = 0
        self._dies_when: Literal["before", "after"] = "after"
        self._at_its_last = False
        self._helpers: set[asyncio.Task[None]] = set()
        self._start(work)

    # ------------------------------------------------------------------------------------------------------------------ being driven

    @property
    def at_work(self) -> bool:
        """Whether the work goes on."""
        return not self.dead and self.result is None and self.error is None

    def do(self, work: Work) -> None:
        """Go on with something else, once the work before is over."""
        assert not self.at_work
        assert not self.dead
        self.result = self.error = self.handle = None
        self._start(work)

    def settle(self, until: float | None = None) -> None:
        """Run until everything waits; see `VirtualTimeLoop.settle`."""
        if not self.dead:
            self.loop.settle(until)

    def die_at(self, writes: int, when: Literal["before", "after"]) -> None:
        """Die at the n-th write from now, or now."""
        self._dies_in, self._dies_when = writes, when
        if writes == 0:
            self.dead = True

    def give(self, ask: Ask, fact: Fact) -> None:
        """Answer something that is waited for; the run takes it in when it settles.

        Raises:
            UsageError: the fact answers something else.
        """
        check_fits(ask, fact)
        if isinstance(fact, PersonSays) and (fact.outside or ask.effect is None):
            self.spawn(self._said_outside(ask, fact))
        elif not ask.future.done():
            ask.future.set_result(fact)

    def spawn(self, work: Awaitable[Any]) -> None:
        """Have something done beside the run. A caller's mistake that shows itself only then, such as an answer that comes too late, is none."""

        async def done() -> None:
            with contextlib.suppress(UsageError):
                await work

        self._helpers.add(task := self.loop.create_task(done()))
        task.add_done_callback(self._helpers.discard)

    def bury(self) -> None:
        """Clear away what is left of it. Nothing of that reaches the log."""
        self.dead = True
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        # A run that is being cancelled waits a moment for its effects.
        self.loop.settle(self.loop.time() + _CLEARING_S)
        self.loop.close()

    # ---------------------------------------------------------------------------------------------------------------- as its run sees it

    async def answer(
        self, kind: AskKind, name: str, about: Any, tool: Tool[..., Any] | None = None, context: ToolContext | None = None
    ) -> Any:
        """Wait for whoever drives the simulation."""
        if self.dead:
            await self.never()
        effect, state = PERFORMING.get()
        ask = Ask(
            self._witness.key(kind, name),
            kind,
            name,
            self.number,
            state.run_id,
            state.step,
            effect,
            about,
            self.loop.create_future(),
            tool,
            context,
            state,
        )
        self.pending[ask.key] = ask
        self._witness.asked(ask)
        try:
            return await ask.future
        finally:
            self.pending.pop(ask.key, None)

    async def at_a_write(self, when: Literal["before", "after"]) -> None:
        """A write is about to be made, or was made. Does not return to a process that is to die here."""
        self.check_alive()
        if self._dies_in and when == "before":
            self._dies_in -= 1
            self._at_its_last = self._dies_in == 0
        if self._at_its_last and when == self._dies_when:
            self._at_its_last = False
            self.dead = True
            self.loop.stop()
            await self.never()

    def check_alive(self) -> None:
        """Refuse what a dead process would write while it is cleared away."""
        if self.dead:
            raise LogClosedError("this process is dead: nothing of it reaches the log")

    async def never(self) -> None:
        """Wait for good."""
        await self.loop.create_future()

    # ------------------------------------------------------------------------------------------------------------------------ the inside

    def _start(self, work: Work) -> None:
        self._main = self.loop.create_task(self._worked(work), name=f"process {self.number}")

    async def _worked(self, work: Work) -> None:
        try:
            await self.log.open()
            async with self.runner:
                self.result = await work(self)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - whoever drives the simulation judges it
            self.error = error

    async def _said_outside(self, ask: Ask, said: PersonSays) -> None:
        request = ask.about
        if said.outcome in ("absent", "put_off"):
            return
        if said.outcome == "no":
            await self.runner.deny(run_id=request.run_id, by=said.by, request_id=request.request_id, reason=said.words or None)
        elif ask.kind == "approval":
            await self.runner.approve(run_id=request.run_id, by=said.by, request_id=request.request_id, reason=said.words or None)
        else:
            await self.runner.answer(run_id=request.run_id, value=said.words, by=said.by, request_id=request.request_id)

    def _unawaited(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not self.dead:
            error = context.get("exception")
            self.faults.append(error if isinstance(error, BaseException) else RuntimeError(str(context.get("message"))))
