"""The loop: append, fold, decide, dispatch. There is one, whoever it runs for.

It knows no model, no tool and no policy, only a table of handlers, so a live run, a resumed one and a replayed one differ in nothing but
that table. What it guarantees is the order: an intent is durable before its effect starts, a result is durable before anything that
follows from it starts, and an owner whose append is refused, or whose lease is over, starts nothing more.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from afk_es.clock import Clock
from afk_es.core.guard import Guard
from afk_es.core.lease import Lease
from afk_es.errors import InvariantError, LeaseLostError, LogError
from afk_es.log import EventLog, Letter
from afk_es.machine import AgentRunEvent, Draft, Effect, RunState, decide, endings, evolve, fold, initial_state, stamp
from afk_es.machine.admission import admitted, overtaken
from afk_es.machine.effects import EvaluatePolicy, ValidateOutput, Wait
from afk_es.machine.inquiries import TERM
from afk_es.machine.values import Messages
from afk_es.tools.permission import PERMISSION

Handler = Callable[[Any, RunState], Awaitable[Draft]]
"""Performs one kind of effect and answers with one of its `endings`. It may raise only for a bug of ours."""

Handlers = Mapping[type, Handler]
Publish = Callable[[AgentRunEvent], None]
Room = Callable[[], Awaitable[None]]


class Pacing(Protocol):
    """Lets time pass in place of the clock, as in a replay, where nobody really waits."""

    def folded(self, event: AgentRunEvent) -> None:
        """This event has happened: the times of what follows from it may hang on it, before any of it is durable."""
        ...

    async def wait(self, effect: Wait) -> None:
        """Return when this wait is over."""
        ...

    def idle(self) -> None:
        """The loop waits, and all that has come in is taken in."""
        ...

    def left(self) -> None:
        """The stretch is over, and so are its effects."""
        ...


_INLINE = (EvaluatePolicy, ValidateOutput)
"""Effects that only compute: performed on the spot, without a commit before them and without a task."""

_LEAVING_S = 1.0
"""How long a stretch that has ended waits for cancelled effects to clean up. A tool that ignores its cancellation cannot hold it up."""


class Loop:
    """One stretch of one run, from its `run_started` to its end.

    Args:
        state: where the run stands.
        history: what the thread remembered when the run began; only needed to check the fold.
        publish: called with every event once it is durable, and with transient ones as they come.
        room: waits until whoever consumes the events has caught up. Effects wait for it, and not the loop itself, which must be able to
            take in a deadline or a cancellation meanwhile.
        before_term: awaited before the term of a question to a person ends, so that an answer that waits outside is delivered first.
        guard: may lay the run down before it makes its next call.
        lease: the right to drive the run, where it ends by itself. Its subagents' runs are under the same.
        always_replay: read the run back after each write, fold it from zero, and compare.
        pacing: lets time pass in place of the clock.
    """

    def __init__(
        self,
        state: RunState,
        *,
        log: EventLog,
        handlers: Handlers,
        clock: Clock,
        publish: Publish | None = None,
        room: Room | None = None,
        before_term: Room | None = None,
        guard: Guard | None = None,
        lease: Lease | None = None,
        history: Messages | None = None,
        always_replay: bool = False,
        pacing: Pacing | None = None,
    ) -> None:
        self.state: RunState = state
        self.finished: bool = False
        self._log = log
        self._handlers = handlers
        self._clock = clock
        self._publish = publish
        self._room = room
        self._before_term = before_term
        self.guard: Guard | None = guard
        self.lease: Lease | None = lease
        self._history = history
        self._always_replay = always_replay
        self._pacing = pacing
        self._pending: list[AgentRunEvent] = []
        # How many of them say what has happened, and the state by then; those behind them say what was decided from it.
        self._facts = (0, state)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._inbox: list[tuple[str | None, Draft]] = []
        self._letters: deque[Letter] = deque()
        self.last_letter: int = state.last_letter
        self._wake = asyncio.Event()
        self._emitted = (0, 0)
        self._broken: BaseException | None = None
        # Time of day may jump; a stretch reads it once and goes on by the monotonic clock.
        self._began_at = clock.now()
        self._began = clock.monotonic()

    def now(self) -> dt.datetime:
        """The time by which this stretch goes."""
        return self._began_at + dt.timedelta(seconds=self._clock.monotonic() - self._began)

    @property
    def busy(self) -> bool:
        """Whether something has come in that was not taken in yet."""
        return bool(self._inbox or self._letters) or self._broken is not None

    def post(self, draft: Draft) -> None:
        """Put in an event from outside, such as a control request."""
        self._inbox.append((None, draft))
        self._wake.set()

    def deliver(self, letter: Letter) -> None:
        """Put in a letter; one that was delivered before is let go. Whether it fits is judged when it is taken in."""
        if letter.position > self.last_letter:
            self.last_letter = letter.position
            self._letters.append(letter)
            self._wake.set()

    async def emit(self, text: str) -> None:
        """Let a piece of the model's text be seen; it is not stored, and has the seq of the call it belongs to."""
        if self._publish is None or self.state.call is None:
            return
        state = self.state
        seq = self.state.call.intent_seq
        if self._room is not None:
            await self._room()
        call, offset = self._emitted
        offset = offset if call == seq else 0
        self._emitted = (seq, offset + len(text))
        data = {"delta": text, "offset": offset}
        self._publish(AgentRunEvent("text_delta", state.run_id, state.thread_id, seq, self.now(), state.status, state.step, "", data))

    def report(self, seq: int, message: str, data: dict[str, Any]) -> None:
        """Let it be seen how far a tool is; it is not stored. What comes after the stretch is let go."""
        state = self.state
        if self._publish is not None and not self.finished:
            self._publish(
                AgentRunEvent("tool_progress", state.run_id, state.thread_id, seq, self.now(), state.status, state.step, message, data)
            )

    async def open(self, started: Draft) -> None:
        """Append the stretch's `run_started`, which claims the run; durable when it returns.

        Raises:
            LeaseLostError: its lease is over, as where the process was stopped on its way here; nothing was written.
            HeadConflictError: the run is not any more where it was when it was read; nothing was written.
        """
        self._require_lease()
        self._log.hold(self.state.run_id)
        try:
            self._add(started)
            await self._flush()
        except BaseException:
            self._log.release(self.state.run_id)
            raise

    async def run(self) -> RunState:
        """Drive the run until it ends or is laid down, and return its last state.

        Raises:
            HeadConflictError: somebody else took the run over; nothing was dispatched after that.
            LeaseLostError: its lease is over; nothing was dispatched after that. What effects came to by then is in the log, unless
                somebody else has the run already.
            LogError: the log could not be written. What it has is whole, and the run can be resumed.
            InvariantError: a bug of ours.
        """
        # A tool under a lease may run an agent of its own, whose run is under none.
        PERMISSION.set(None)
        try:
            # What was said before it began comes first: a run that is opened to be ended starts nothing.
            self._take_in()
            while True:
                try:
                    effects = await self._advance()
                except LeaseLostError:
                    raise
                except Exception:
                    # A bug of ours. What came in before and beside it really happened, and must not happen again when the run is resumed.
                    self._take_in()
                    await self._flush()
                    raise
                await self._flush()
                if self.state.ended:
                    return self.state
                self._reconcile(effects)
                await self._receive()
        except asyncio.CancelledError:
            await self._lay_down()
            raise
        except LeaseLostError:
            await self._let_go()
            raise
        finally:
            self.finished = True
            try:
                await self._leave()
            finally:
                self._log.release(self.state.run_id)
                if self._pacing is not None:
                    self._pacing.left()

    async def _advance(self) -> tuple[Effect, ...]:
        """Append what follows by itself, until only effects can bring anything new."""
        while True:
            decision = decide(self.state)
            if self.guard is not None and decision.events and self.state.control is None:
                reason = self.guard.objection(self.state, decision.events)
                if reason is not None:
                    self._add(Draft("control_requested", {"action": "interrupt", "reason": reason, "origin": "guard"}, reason))
                    continue
            for draft in decision.events:
                self._add(draft)
            if decision.events:
                continue
            inline = [effect for effect in decision.effects if isinstance(effect, _INLINE)]
            if not inline:
                if not decision.effects and not self.state.ended and self.state.status != "paused":
                    raise self._invariant(f"nothing follows from phase {self.state.phase!r}")
                return decision.effects
            for effect in inline:
                self._add(await self._answer(effect))

    def _add(self, draft: Draft) -> None:
        event = stamp(self.state, draft, self.now())
        self.state = evolve(self.state, event)
        if self.guard is not None:
            self.guard.note(event)
        if self._pacing is not None:
            self._pacing.folded(event)
        self._pending.append(event)

    async def _flush(self) -> None:
        if not self._pending:
            return
        events, self._pending = self._pending, []
        self._facts = (0, self.state)
        await self._log.append(events, epoch=self.state.epoch)
        if self._always_replay:
            await self._check_replay()
        if self._publish is not None:
            for event in events:
                self._publish(event)

    def _reconcile(self, effects: tuple[Effect, ...]) -> None:
        """Start what should be under way and is not; stop what is and should not be."""
        wanted = {effect.id for effect in effects}
        for effect_id in [effect_id for effect_id in self._running if effect_id not in wanted]:
            self._running.pop(effect_id).cancel()
        for effect in effects:
            if effect.id not in self._running:
                self._running[effect.id] = asyncio.create_task(self._perform(effect), name=f"{self.state.run_id}:{effect.id}")

    async def _receive(self) -> None:
        """Wait until there is news, and take in all of it."""
        while not self._inbox and not self._letters and self._broken is None:
            self._wake.clear()
            if self._pacing is not None:
                self._pacing.idle()
            await self._wake.wait()
        if not self._may_go_on():
            raise self._lease_lost()
        self._take_in()
        if self._broken is not None:
            # What came in beside the bug really happened, and must not happen again when the run is resumed.
            await self._flush()
            raise self._broken

    def _take_in(self) -> None:
        news, self._inbox = self._inbox, []
        for effect_id, draft in news:
            # An effect that was stopped may have answered at the same moment; nobody waits for that answer any more.
            if effect_id is None or (self._running.pop(effect_id, None) is not None and not overtaken(self.state, draft)):
                self._add(draft)
        # After the answers of effects, which are facts: a letter that has been overtaken by one is refused, and no harm done.
        while self._letters:
            letter = self._letters.popleft()
            self._add(admitted(self.state, letter.draft, letter.position))
        self._facts = (len(self._pending), self.state)

    async def _perform(self, effect: Effect) -> None:
        refused: list[LeaseLostError] = []
        if self.lease is not None:
            PERMISSION.set(lambda: self._require_lease(refused))
        try:
            if self._room is not None and not isinstance(effect, Wait):
                await self._room()
            draft = await self._answer(effect)
            if refused:
                # Whatever hooks or handlers have made of it: that is no answer of an effect that never started.
                raise refused[0]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            self._break(self._invariant(f"the handler of {type(effect).__name__} was cancelled from inside"))
        except Exception as error:  # noqa: BLE001 - a handler that raises is a bug of ours; it must end the run's loop and not hang it
            self._break(error)
        except (KeyboardInterrupt, SystemExit):
            # asyncio hands these to whoever runs the event loop, and cancels everybody in it.
            raise
        except BaseException as error:
            self._break(self._invariant(f"the handler of {type(effect).__name__} raised {type(error).__name__}"))
            raise
        else:
            self._inbox.append((effect.id, draft))
            self._wake.set()

    async def _answer(self, effect: Effect) -> Draft:
        if isinstance(effect, Wait):
            if self._pacing is not None:
                await self._pacing.wait(effect)
            else:
                await self._clock.sleep(max(0.0, (effect.until - self.now()).total_seconds()))
            if self._before_term is not None and effect.id.startswith(TERM):
                await self._before_term()
            return Draft("timer_fired", {"timer": effect.timer})
        self._require_lease()
        try:
            draft = await self._handlers[type(effect)](effect, self.state)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise self._invariant(f"the handler of {type(effect).__name__} was cancelled from inside") from error
        except LeaseLostError:
            raise  # A subagent's run is under the same lease.
        except Exception as error:
            raise self._invariant(f"the handler of {type(effect).__name__} raised {type(error).__name__}: {error}") from error
        if draft.type not in endings(effect):
            raise self._invariant(f"the handler of {type(effect).__name__} answered {draft.type}, which is none of its endings")
        return draft

    def _break(self, error: BaseException) -> None:
        self._broken = error
        self._wake.set()

    def _may_go_on(self) -> bool:
        return self.lease is None or self.lease.held()

    def _require_lease(self, refused: list[LeaseLostError] | None = None) -> None:
        """Asked where an effect is about to start, with nothing awaited in between. May be called in another thread."""
        if not self._may_go_on():
            error = self._lease_lost()
            if refused is not None:
                refused.append(error)
            raise error

    def _lease_lost(self) -> LeaseLostError:
        return LeaseLostError(
            f"run {self.state.run_id}: the lease under which this process drove it is over, so nothing more is started here; whoever has the "
            "run now goes on with it, and where nobody has, Runner.resume does"
        )

    async def _let_go(self) -> None:
        """Keep what effects came to, if the run is still this owner's; decide nothing more."""
        # What was decided and is not written goes: its effects have not started, and an intent in the log says that they may have.
        count, self.state = self._facts
        del self._pending[count:]
        # What is said to it is for whoever has it next; what its effects came to has happened.
        self._inbox = [(effect_id, draft) for effect_id, draft in self._inbox if effect_id is not None]
        self._letters.clear()
        self._take_in()
        events, self._pending = self._pending, []
        if not events:
            return
        with suppress(LogError):
            await self._log.append(events, epoch=self.state.epoch)
            for event in events:
                if self._publish is not None:
                    self._publish(event)

    def _invariant(self, message: str) -> InvariantError:
        return InvariantError(message, run_id=self.state.run_id, seq=self.state.seq)

    async def _lay_down(self) -> None:
        """The task that drives the run is being cancelled, as at the end of an event loop: say so in the log, so that it can be resumed."""
        # When an event loop ends, everybody in it is cancelled at once. Whoever awaited this run is, and then it is to be cancelled for good.
        await asyncio.sleep(0)
        if self.state.ended:
            return
        if not self._may_go_on():
            await self._let_go()
            return
        self._take_in()
        if self.state.control is None:
            reason = "the event loop that ran it was closed"
            self._add(Draft("control_requested", {"action": "interrupt", "reason": reason, "origin": "event loop"}, reason))
        await self._advance()
        await self._flush()

    async def _leave(self) -> None:
        tasks = list(self._running.values())
        self._running.clear()
        for task in tasks:
            task.cancel()
        # A turn of the event loop is enough for whoever only waited, and waiting for tasks by name costs a timer.
        await asyncio.sleep(0)
        if left := [task for task in tasks if not task.done()]:
            await asyncio.wait(left, timeout=_LEAVING_S)

    async def _check_replay(self) -> None:
        # What comes behind is another owner's, who has taken the run over meanwhile; the next append finds that.
        events = await self._log.read(self.state.run_id, limit=self.state.seq)
        again = fold(initial_state(self.state.run_id, self.state.thread_id, self._history), events)
        if again != self.state:
            raise self._invariant("the state folded from the log is not the live one")
