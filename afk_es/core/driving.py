"""Drives stretches of runs: claims a run, wires its loop to those who answer it and are told of it, and lets it go on in a task of its own.

Where a run begins, and with what, is settled before (see `stretches`); what it does is the loop's affair.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from afk_es.clock import Clock
from afk_es.core.delegation import Children, ChildRun, SubagentHandler, root_of
from afk_es.core.guard import Guard
from afk_es.core.handle import Feed, Stretch, begun
from afk_es.core.history import ThreadMemory
from afk_es.core.inbox import Inbox
from afk_es.core.lease import Lease
from afk_es.core.loop import Handler, Handlers, Loop, Publish
from afk_es.core.news import News
from afk_es.core.result import RESULT_EVENTS, AgentResult, result_of, whole_result
from afk_es.core.session import Session
from afk_es.core.starting import taken
from afk_es.errors import HeadConflictError, InvalidEventError, RunOwnedError
from afk_es.handlers import Binding
from afk_es.handlers.binding import Emit, Report
from afk_es.handlers.outputs import validated
from afk_es.handlers.replaying import Playback
from afk_es.handlers.reusing import Reuse
from afk_es.handlers.withdrawing import WithdrawingHandler
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, Draft, RunState
from afk_es.machine.effects import CallModel
from afk_es.machine.values import Messages

if TYPE_CHECKING:
    from afk_es.telemetry import Delivery

MakeHandlers = Callable[[Binding, Emit | None, Report], Handlers]
"""Makes what performs the effects of a stretch in the world. It is given who takes the model's text, where that is streamed, and progress."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A stretch that can begin.

    Attributes:
        state: where the run stands.
        history: what the thread remembered when the run began.
        started: the stretch's first event, which claims the run.
        notable: of the events so far, those that the result needs; the stretch adds its own.
        reuse: what a fork answers from first.
        child: as its parent wants it, where it is a subagent's.
        playback: what a replay is answered.
        children: who begins the runs of its subagents, where that is not the Runner, as in a replay.
    """

    binding: Binding
    state: RunState
    history: Messages
    started: Draft
    notable: list[AgentRunEvent]
    reuse: Reuse | None = None
    child: ChildRun | None = None
    playback: Playback | None = None
    children: Children | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How whoever asks for a stretch wants it driven.

    Attributes:
        feed: told of every event.
        streamed: let the feed have the model's text as it comes.
        guard, lease: see `Loop`.
        take_over: whether the run is taken from an owner that may still live, with its subagents' runs.
    """

    feed: Feed | None = None
    streamed: bool = False
    guard: Guard | None = None
    lease: Lease | None = None
    take_over: bool = False


@dataclass(frozen=True, slots=True)
class Driver:
    """Drives the stretches of one Runner.

    Attributes:
        inbox: brings letters to the loops.
        news, delivery: told of every event.
        memory: keeps what the runs left to their threads.
        children: begins the runs of subagents.
        handlers: makes what performs effects in the world.
        always_replay: see `Loop`.
    """

    session: Session
    clock: Clock
    inbox: Inbox
    news: News
    memory: ThreadMemory
    children: Children
    handlers: MakeHandlers
    delivery: Delivery | None
    always_replay: bool

    async def drive_whole(self, opening: Opening) -> Stretch:
        """As `drive`, on nobody's terms; begun whole or not at all, whoever is cancelled meanwhile."""
        return await begun(self.drive(opening, Terms()))

    async def drive(self, opening: Opening, terms: Terms) -> Stretch:
        """Claim the run, and let its loop go on in a task of its own. To be called inside the session.

        Raises:
            RunExistsError: it is to begin, and the log has a run of its id.
            RunOwnedError: somebody else has claimed it since it was read.
            LeaseLostError, LogError: see `Loop.open`.
        """
        handlers: dict[type, Handler] = {}
        loop = self._loop(opening, terms, handlers)
        # Filled once its loop is there, since handlers speak to it.
        withdrawing = self._fill(handlers, opening, terms, loop)
        await self._claim(loop, opening.started)
        await self._join_inbox(loop, opening)
        task = asyncio.create_task(self._driven(loop, opening, terms.feed, withdrawing), name=f"{opening.state.run_id}:loop")
        # Our caller is about to leave the session; by then the task has its own share in it.
        await asyncio.sleep(0)
        return Stretch(opening.state.run_id, opening.state.thread_id, task, loop)

    def _loop(self, opening: Opening, terms: Terms, handlers: Handlers) -> Loop:
        playback = opening.playback
        loop = Loop(
            opening.state,
            log=self.session.log,
            handlers=handlers,
            clock=self._clock_of(opening),
            publish=self._publisher(opening, terms.feed),
            room=terms.feed.room if terms.streamed and terms.feed is not None else None,
            # Nobody has posted anything to a replay, and its questions are answered when they were.
            before_term=(lambda: self.inbox.look_for(loop)) if playback is None else None,
            guard=terms.guard,
            lease=terms.lease,
            history=opening.history,
            always_replay=self.always_replay,
            pacing=playback,
        )
        return loop

    def _clock_of(self, opening: Opening) -> Clock:
        return opening.playback.clock if opening.playback is not None else self.clock

    def _publisher(self, opening: Opening, feed: Feed | None) -> Publish:
        """What tells everybody of an event."""
        notable, reuse, playback = opening.notable, opening.reuse, opening.playback
        delivery, news = self.delivery, self.news

        def publish(event: AgentRunEvent) -> None:
            if event.type in RESULT_EVENTS:
                notable.append(event)
            if feed is not None:
                feed.publish(event)
            if delivery is not None:
                delivery.publish(event)
            if reuse is not None:
                reuse.note(event)
            if playback is not None:
                playback.note(event)
            news.publish(event)

        return publish

    def _fill(self, handlers: dict[type, Handler], opening: Opening, terms: Terms, loop: Loop) -> WithdrawingHandler | None:
        """Fill the table: what acts in the world, and before it, in a fork or a replay, what answers from the record.

        Returns:
            Who takes back what models are asked, where one of them can do that.
        """
        live = dict(self.handlers(opening.binding, loop.emit if terms.streamed else None, loop.report))
        live.update(self._subagents(opening, terms, loop).handlers())
        withdrawing = _withdrawing(live[CallModel], opening, loop)
        if withdrawing is not None:
            live[CallModel] = withdrawing
        handlers.update(_from_the_record(live, opening, loop))
        return withdrawing

    def _subagents(self, opening: Opening, terms: Terms, loop: Loop) -> SubagentHandler:
        return SubagentHandler(
            opening.children if opening.children is not None else self.children,
            opening.binding,
            self.session.log,
            self._clock_of(opening),
            root_of(opening.started.data, opening.state.run_id),
            opening.child.place if opening.child is not None else None,
            lambda: loop,
            terms.take_over,
        )

    async def _claim(self, loop: Loop, started: Draft) -> None:
        state, log = loop.state, self.session.log
        try:
            await loop.open(started)
        except (HeadConflictError, InvalidEventError) as error:
            # One that begins finds another of its id, by its head or by its thread.
            if not state.seq and await log.head(state.run_id) is not None:
                raise taken(state.run_id, log) from error
            if isinstance(error, InvalidEventError):
                raise
            raise RunOwnedError(f"run {state.run_id} was taken over by another process at this moment: {error}") from error

    async def _join_inbox(self, loop: Loop, opening: Opening) -> None:
        """Let the loop have letters, those that lie there first, and what its parent has to say before it goes on."""
        if opening.started.data["resumed"]:
            try:
                await self.inbox.catch_up(loop)
            except BaseException:
                self.session.log.release(opening.state.run_id)
                raise
        else:
            self.inbox.join(loop)
        child = opening.child
        if child is not None and child.end is not None:
            loop.post(Draft("control_requested", {"action": "cancel", "reason": child.end, "origin": "parent"}, child.end))

    async def _driven(self, loop: Loop, opening: Opening, feed: Feed | None, withdrawing: WithdrawingHandler | None) -> AgentResult:
        whole = opening.child is None
        # Taken here and not before the task is made: a task that is cancelled before its first step would never give it back.
        self.session.share()
        try:
            state = await loop.run()
            if withdrawing is not None:
                await withdrawing.ended(state)
            if whole:
                self.memory.keep(state)
            return await result_so_far(self.session.log, opening.binding, state, opening.notable, whole=whole)
        finally:
            self.inbox.leave(loop)
            if feed is not None:
                feed.close()
            await self.session.leave()


def _withdrawing(asking: Handler, opening: Opening, loop: Loop) -> WithdrawingHandler | None:
    # By the name alone: to check for the whole protocol takes 0.1 ms, for every run. A replay has asked nobody.
    if opening.playback is not None or not any(hasattr(model, "withdraw") for model in opening.binding.models):
        return None
    return WithdrawingHandler(asking, opening.binding, lambda: loop.state, own=opening.reuse is None)


def _from_the_record(live: Handlers, opening: Opening, loop: Loop) -> Handlers:
    """The table of a fork or a replay, which stands before the live one; for any other run the live one."""
    if opening.reuse is not None:
        live = opening.reuse.over(live, opening.binding, lambda: loop.state, loop.post)
    if opening.playback is not None:
        live = opening.playback.over(live, lambda: loop.state, loop.post, lambda: loop.busy)
    return live


async def result_so_far(log: EventLog, binding: Binding, state: RunState, notable: list[AgentRunEvent], *, whole: bool) -> AgentResult:
    """What a run in this state has come to.

    Args:
        notable: its `RESULT_EVENTS`.
        whole: with what only the logs of its subagents' runs say.
    """
    output_type = binding.agent.output_type
    structured = state.output
    if output_type is not None and structured is not None:
        # A run that has ended has its result, even if today's output type would not take the answer.
        with suppress(Exception):
            structured = validated(output_type, structured)
    # Nobody asks a child for what is below it but its parent's result, which reads that from the logs.
    return await whole_result(log, state, notable, structured) if whole else result_of(state, notable, structured)
