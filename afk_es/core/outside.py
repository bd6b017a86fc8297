"""A run from outside: answers and control for a run that lives in another process, or in none, through letters in its log.

Nothing here needs the agent. What is said is checked against the log as it is now, before anything is written; whether it still fits when
the run's owner takes it in is the machine's to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from afk_es.clock import Clock
from afk_es.core.delegation import cancelled
from afk_es.core.fork_answers import untouched
from afk_es.core.handle import Stretch
from afk_es.core.inbox import Inbox
from afk_es.core.loop import Loop
from afk_es.core.news import News, Watcher
from afk_es.core.patience import Patience
from afk_es.core.pending import answers, pending_requests, state_of
from afk_es.core.result import AgentResult, whole_result
from afk_es.core.session import Session
from afk_es.errors import ConfigurationError, HeadConflictError, RunNotFoundError, RunOwnedError, UsageError
from afk_es.handlers.people import approval_draft, input_draft
from afk_es.interaction.port import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest
from afk_es.log import EventLog, Letter
from afk_es.machine import AgentRunEvent, Draft, RunState
from afk_es.machine.effects import CancelSubagent
from afk_es.machine.events import TERMINAL, stored
from afk_es.machine.values import clean_text

Action = Literal["pause", "resume", "cancel", "interrupt"]

_GLANCE_S = 0.05
"""How often the log is looked at while a letter's fate is waited for. Real seconds, as for the inbox."""


class Receipt(BaseModel):
    """What became of something that was said to a run from outside.

    Attributes:
        run_id: the run it went to; of a subagent's request, the subagent's.
        letter: its position in the log; the event it becomes names it as `data["letter"]`.
        status: "taken_in": it is an event of the run. "refused": the run had gone on meanwhile, and it did not fit any more. "posted": it
            is safe in the log, and nobody has taken it in yet: the run's process will, or whoever resumes or reopens the run.
        reason: why it was refused, or that the run failed before it was taken in; None otherwise.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, defer_build=True)

    run_id: str
    letter: int
    status: Literal["posted", "taken_in", "refused"]
    reason: str | None = None


class AttachedRun:
    """A run as seen from outside its process. Made by `Runner.attach`.

    Attributes:
        run_id: the run.
        thread_id: its thread.
        stretch: of `Runner.run_once`, where the run goes on in this event loop: done with its result when it has ended or was laid down;
            with what stopped it otherwise (LeaseLostError, HeadConflictError, another LogError), and then the run can be gone on with.
            Cancelling it lays the run down. None where another process drives the run, and of `Runner.attach`.

    Methods that say something to the run take `wait_s`: for how many seconds at most to wait until the run has taken it in, which
    `Receipt.status` tells; default 0.
    """

    def __init__(
        self,
        session: Session,
        inbox: Inbox,
        news: News,
        clock: Clock,
        interval_s: float,
        by: str,
        run_id: str,
        thread_id: str,
        watcher: Watcher | None = None,
        stretch: Stretch | None = None,
    ) -> None:
        self.run_id: str = run_id
        self.thread_id: str = thread_id
        self._driven = stretch
        self.stretch: asyncio.Future[AgentResult] | None = stretch.task if stretch is not None else None
        if self.stretch is not None:
            self.stretch.add_done_callback(_heard)
        self._session = session
        self._inbox = inbox
        self._news = news
        # Has what was not stored since before the run began, for the first who asks.
        self._watcher = watcher
        self._clock = clock
        self._interval_s = interval_s
        self._by = by

    # -------------------------------------------------------------------------------------------------------------------------- watching

    @property
    def events(self) -> AsyncIterator[AgentRunEvent]:
        """The run's events from its first, those to come too, until it has ended or was laid down, or until nobody drives it."""
        return self._events()

    def live(self, *, after: int = 0) -> AsyncIterator[AgentRunEvent]:
        """As `events`, and what is not stored too, `text_delta` and `tool_progress`, as far as this Runner drives the run.

        Args:
            after: leave out the events up to this seq.
        """
        return self._events(after, transient=True)

    async def _events(self, after: int = 0, *, transient: bool = False) -> AsyncIterator[AgentRunEvent]:
        async with self._session as log:
            watcher = None
            if transient:
                watcher, self._watcher = self._watcher, None
            async for event in self._watched(log, watcher or self._news.watch(self.run_id), after):
                if transient or stored(event.type):
                    yield event

    async def _watched(self, log: EventLog, watcher: Watcher, after: int) -> AsyncIterator[AgentRunEvent]:
        owner = ""
        driven = True
        ended = False
        patience = Patience(log, self.run_id, watcher, self._interval_s)
        if after:
            # Of what is left out, which may be long, only this matters; what is read sets it right where there is more.
            owner, ended = await _standing(log, self.run_id)
        with patience:
            while True:
                while page := await log.read(self.run_id, after=after, limit=1_000):
                    for event in page:
                        owner = event.data["owner"] if event.type == "run_started" else owner
                        yield event
                    after, ended = page[-1].seq, page[-1].type in TERMINAL
                while watcher.transient:
                    yield watcher.transient.popleft()
                # Looked at once more after its owner was found gone: it may have ended in between.
                if ended or not driven:
                    return
                driven = await log.alive(owner, self.run_id)
                if driven:
                    await watcher.wait(patience.of(owner))

    async def await_result(self) -> AgentResult:
        """The result, once the run has ended or was laid down; a structured answer is JSON data in it.

        Raises:
            UsageError: the run has no end, and no process drives it; `Runner.resume` goes on with it.
        """
        events = [event async for event in self._events()]
        if events[-1].type not in TERMINAL:
            raise UsageError(f"run {self.run_id} has not ended, and no process drives it; Runner.resume goes on with it")
        async with self._session as log:
            state = await state_of(log, events)
            return await whole_result(log, state, events, state.output)

    async def pending(self) -> tuple[ApprovalRequest | InputRequest, ...]:
        """The questions that the run, or a subagent it waits for, waits with."""
        async with self._session as log:
            return await pending_requests(log, self.run_id)

    async def driven_elsewhere(self) -> bool:
        """Whether another process, or another Runner of this one, drives the run now."""
        async with self._session as log:
            owner, ended = await _standing(log, self.run_id)
            return not ended and owner != log.owner and await log.alive(owner, self.run_id)

    # ------------------------------------------------------------------------------------------------------------------------- answering

    async def approve(
        self, request_id: str | None = None, *, reason: str | None = None, wait_s: float = 0.0, reference: str | None = None
    ) -> Receipt:
        """Say yes to an approval request: to this very call, with the arguments it has now.

        Args:
            request_id: which; None where only one is pending.
            reference: the name that whoever answers has for the answer, recorded with it, so that it is known when it comes again; default
                None. It must be a name that says nothing in confidence.

        Raises:
            UsageError: no such request is pending, or several are and it is not said which; nothing was written.
        """
        async with self._session as log:
            request = await self._request(log, request_id)
            if isinstance(request, InputRequest):
                raise UsageError(f"{_named(request)} asks for words, and not for a yes: answer it")
            return await self._say(log, request.run_id, _referred(self._approval(request, "granted", reason), reference), wait_s)

    async def deny(
        self, request_id: str | None = None, *, reason: str | None = None, wait_s: float = 0.0, reference: str | None = None
    ) -> Receipt:
        """Say no to a request of either kind; the model is told the reason. Arguments and errors as for `approve`."""
        return await self._refuse(request_id, "denied", reason, wait_s, reference)

    async def defer(self, request_id: str | None = None, *, reason: str | None = None, wait_s: float = 0.0) -> Receipt:
        """Put a request of either kind off: it stays open, without a term, and the run is laid down. Arguments and errors as for `approve`."""
        return await self._refuse(request_id, "deferred", reason, wait_s)

    async def answer(self, value: str, request_id: str | None = None, *, wait_s: float = 0.0, reference: str | None = None) -> Receipt:
        """Give the words that an input request asks for. Arguments and errors as for `approve`."""
        async with self._session as log:
            request = await self._request(log, request_id)
            if isinstance(request, ApprovalRequest):
                raise UsageError(f"{_named(request)} asks for a yes or no, and not for words: approve or deny it")
            decision = _decision(InputDecision, outcome="answered", by=self._by, value=value)
            return await self._say(log, request.run_id, _referred(input_draft(request, decision), reference), wait_s)

    async def _refuse(
        self, request_id: str | None, outcome: str, reason: str | None, wait_s: float, reference: str | None = None
    ) -> Receipt:
        async with self._session as log:
            request = await self._request(log, request_id)
            if isinstance(request, ApprovalRequest):
                return await self._say(log, request.run_id, _referred(self._approval(request, outcome, reason), reference), wait_s)
            decision = _decision(InputDecision, outcome=outcome, by=self._by, reason=reason)
            return await self._say(log, request.run_id, _referred(input_draft(request, decision), reference), wait_s)

    def _approval(self, request: ApprovalRequest, outcome: str, reason: str | None) -> Draft:
        return approval_draft(request, _decision(ApprovalDecision, outcome=outcome, by=self._by, reason=reason))

    async def _request(self, log: EventLog, request_id: str | None) -> ApprovalRequest | InputRequest:
        """The one open request that is meant."""
        pending = await pending_requests(log, self.run_id)
        found = [request for request in pending if request_id in (None, request.request_id)]
        if len(found) > 1 and request_id is not None:
            # Requests of a run differ in their ids; those of its subagents need not. Each of those is named by its own run's id, and so
            # is this run's own by this one's, or nobody could answer it while a subagent's waits.
            found = [request for request in found if request.run_id == self.run_id] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"several requests are pending; say which: {', '.join(_named(request) for request in found)}")
        state = await _state(log, self.run_id)
        if state.ended and state.status != "interrupted":
            raise UsageError(f"run {self.run_id} has ended ({state.status}), and waits for nobody")
        said = await self._answered(log, state, request_id)
        if said is not None:
            raise UsageError(said)
        waits = f"what is pending: {', '.join(_named(request) for request in pending)}" if pending else "nothing is pending"
        raise UsageError(f"run {self.run_id} has no pending request{f' {request_id!r}' if request_id is not None else ''}; {waits}")

    async def _answered(self, log: EventLog, state: RunState, request_id: str | None) -> str | None:
        """How the request that is meant was answered before, or None."""
        for letter in await log.letters(after=state.last_letter, run_ids=[self.run_id]):
            if answers(state, letter) and request_id in (None, letter.draft.data["request_id"]):
                return f"{_told(letter.draft)}; the answer waits in the log until the run goes on"
        for event in await log.read(self.run_id) if request_id is not None else ():
            if event.type in ("approval_resolved", "input_resolved") and event.data["request_id"] == request_id:
                return f"{_told(Draft(event.type, event.data))} at seq {event.seq}"
        return None

    # ------------------------------------------------------------------------------------------------------------------------- controlling

    async def pause(self, reason: str | None = None, *, wait_s: float = 0.0) -> Receipt:
        """Let a live run start nothing more until `resume`; what is under way comes to its end.

        Raises:
            UsageError: the run has ended, is laid down or paused, or no process drives it; nothing was written.
        """
        return await self._control("pause", reason, wait_s)

    async def resume(self, reason: str | None = None, *, wait_s: float = 0.0) -> Receipt:
        """Let a live run go on that is paused. One that no process drives is gone on with by `Runner.resume`, which has the agent.

        Raises:
            UsageError: the run is not paused, or no process drives it; nothing was written.
        """
        return await self._control("resume", reason, wait_s)

    async def cancel(self, reason: str | None = None, *, wait_s: float = 0.0, take_over: bool = False) -> Receipt:
        """End the run for good. One that is laid down, or whose process is gone, is taken over for that, and has ended on return.

        Args:
            take_over: take it over even from a live owner, which may be stopped and never take a letter in; see `Runner.run_once`.

        Raises:
            UsageError: the run has ended; nothing was written.
        """
        return await self._control("cancel", reason, wait_s, take_over=take_over)

    async def interrupt(self, reason: str | None = None, *, wait_s: float = 0.0) -> Receipt:
        """Lay the run down so that it can be resumed. One whose process is gone is taken over for that, and lies there on return.

        Raises:
            UsageError: the run has ended, or is laid down already; nothing was written.
        """
        return await self._control("interrupt", reason, wait_s)

    def lay_down(self, reason: str) -> None:
        """Interrupt a run that goes on in this event loop, without a letter, so also while the log cannot be reached: `stretch` is done soon
        after. Does nothing to any other.
        """
        if self._driven is not None:
            self._driven.ask("interrupt", reason)

    async def _control(self, action: Action, reason: str | None, wait_s: float, *, take_over: bool = False) -> Receipt:
        reason = _checked_reason(reason)
        draft = Draft("control_requested", {"action": action, "reason": reason, "origin": clean_text(self._by)}, reason or "")
        async with self._session as log:
            state = await _state(log, self.run_id)
            if state.ended and (state.status != "interrupted" or action == "interrupt"):
                raise UsageError(f"run {self.run_id} {'is laid down' if action == 'interrupt' else f'has ended ({state.status})'} already")
            if not state.ended and not take_over and await log.alive(state.owner, self.run_id):
                if action in ("pause", "resume") and (action == "pause") == (state.status == "paused"):
                    raise UsageError(f"run {self.run_id} is {'paused already' if action == 'pause' else 'not paused'}")
                return await self._say(log, self.run_id, draft, wait_s)
            if action in ("pause", "resume"):
                raise UsageError(
                    f"run {self.run_id} is not running: no process drives it. `Runner.resume` and `afk-es resume RUN MODULE:AGENT` go on with it"
                )
            letter = await log.post(self.run_id, draft, at=self._clock.now())
            # Where somebody else takes it over at this moment, they take the letter in.
            with suppress(HeadConflictError):
                await self._take_over(log, state)
            return await _fate(log, letter, state.seq, wait_s)

    async def _take_over(self, log: EventLog, state: RunState, wish: Draft | None = None) -> RunState:
        """Claim a run that nobody drives, and let it end as its letters, or this wish, say: so nothing is started, and subagents are ended.

        Raises:
            HeadConflictError: somebody else drives it now.
        """

        async def end(effect: CancelSubagent, _state: RunState) -> Draft:
            return await cancelled(effect, log, self._clock, self._end_subagent(log, effect.run_id, effect.reason))

        loop = Loop(state, log=log, handlers={CancelSubagent: end}, clock=self._clock)
        data: dict[str, Any] = {"agent_name": state.spec.agent_name, "resumed": True, "epoch": state.epoch + 1, "owner": log.owner}
        if harmless := await untouched(log, self._clock, await log.read(state.run_id), state):
            data["untouched"] = harmless
        await loop.open(Draft("run_started", data))
        try:
            await self._inbox.catch_up(loop)
        except BaseException:
            log.release(state.run_id)
            raise
        if wish is not None:
            loop.post(wish)
        try:
            return await loop.run()
        finally:
            self._inbox.leave(loop)

    async def _end_subagent(self, log: EventLog, run_id: str, reason: str) -> RunState | None:
        """End a run for good whose parent is being ended; its last state, or None where it never began.

        Raises:
            RunOwnedError: a live process drives it, and was told by letter.
            HeadConflictError: somebody else drives it now.
        """
        if await log.head(run_id) is None:
            return None
        state = await _state(log, run_id)
        if state.ended and state.status != "interrupted":
            return state
        wish = Draft("control_requested", {"action": "cancel", "reason": reason, "origin": "parent"}, reason)
        if not state.ended and await log.alive(state.owner, run_id):
            await log.post(run_id, wish, at=self._clock.now())
            self._inbox.look()
            raise RunOwnedError(f"run {run_id} is being driven by {state.owner}, which was asked to cancel it")
        return await self._take_over(log, state, wish)

    async def _say(self, log: EventLog, run_id: str, draft: Draft, wait_s: float) -> Receipt:
        head = await log.head(run_id)
        assert head is not None
        letter = await log.post(run_id, draft, at=self._clock.now())
        self._inbox.look()
        return await _fate(log, letter, head.seq, wait_s)


def _heard(stretch: asyncio.Future[AgentResult]) -> None:
    """Who only watches the run sees in the log what became of it; asyncio need not complain that nobody asked the stretch."""
    if not stretch.cancelled():
        stretch.exception()


async def _state(log: EventLog, run_id: str) -> RunState:
    events = await log.read(run_id)
    if not events:
        raise not_found(log, run_id)
    return await state_of(log, events)


async def _standing(log: EventLog, run_id: str) -> tuple[str, bool]:
    """Who has claimed a run last, and whether it has ended or was laid down since, without reading it."""
    head = await log.head(run_id)
    claims = await log.scan(run_id, types=("run_started",), backwards=True, limit=1)
    return claims[0].data["owner"] if claims else "", head is not None and head.last_type in TERMINAL


def not_found(log: EventLog, run_id: str) -> RunNotFoundError:
    """The error of a run that is not there."""
    return RunNotFoundError(f"{log.location} has no run {run_id!r}; `afk-es runs` lists what it has")


async def _fate(log: EventLog, letter: Letter, after: int, wait_s: float) -> Receipt:
    """What has become of a letter, waited for as long as may be; it is in an event behind the seq at which it was posted."""
    run_id = letter.run_id
    deadline = asyncio.get_running_loop().time() + wait_s
    ended: AgentRunEvent | None = None
    while True:
        for event in await log.read(run_id, after=after):
            after = event.seq
            if event.data.get("letter") == letter.position:
                if event.type == "warning":
                    return Receipt(run_id=run_id, letter=letter.position, status="refused", reason=event.data.get("reason", event.message))
                return Receipt(run_id=run_id, letter=letter.position, status="taken_in")
            if event.type == "run_started" or (event.type in TERMINAL and event.type != "run_interrupted"):
                ended = event if event.type in TERMINAL else None
        if ended is not None:
            reason = f"the run had ended before it was taken in ({ended.state})"
            if ended.type == "run_failed":
                return Receipt(run_id=run_id, letter=letter.position, status="posted", reason=f"{reason}; it is, if the run is reopened")
            # Nobody will ever take it in.
            return Receipt(run_id=run_id, letter=letter.position, status="refused", reason=reason)
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return Receipt(run_id=run_id, letter=letter.position, status="posted")
        await asyncio.sleep(min(_GLANCE_S, left))


def _decision(kind: Any, **fields: Any) -> Any:
    try:
        return kind(**fields)
    except ValidationError as error:
        what = "; ".join(f"{'.'.join(map(str, each['loc'])) or kind.__name__}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(what) from error


def _checked_reason(reason: object) -> str | None:
    if reason is not None and not isinstance(reason, str):
        raise ConfigurationError(f"a reason is a str or None, not {type(reason).__name__}")
    return clean_text(reason) if reason is not None else None


def _referred(draft: Draft, reference: str | None) -> Draft:
    if reference is None:
        return draft
    return Draft(draft.type, {**draft.data, "reference": clean_text(reference)}, draft.message)


def _named(request: ApprovalRequest | InputRequest) -> str:
    return f"{request.request_id!r} ({request.tool_name}, run {request.run_id})"


def _told(draft: Draft) -> str:
    return f"request {draft.data['request_id']!r} was answered: {draft.data['outcome']} by {draft.data['by']}"
