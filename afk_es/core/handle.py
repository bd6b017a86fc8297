"""What a caller holds of a run that is going on: `AgentRunHandle` for events and control, `AgentStreamHandle` for text as it comes."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Protocol

import msgspec

from afk_es.core.loop import Loop
from afk_es.core.result import AgentResult
from afk_es.errors import ConfigurationError, UsageError
from afk_es.machine import AgentRunEvent, Draft, RunState
from afk_es.machine.values import clean_text

STREAM_BUFFER = 64
"""How far a stream runs ahead of its consumer before it waits for it, in events."""


class Feed(Protocol):
    """Where the events of a stretch go while it runs."""

    def publish(self, event: AgentRunEvent) -> None:
        """Take an event."""
        ...

    async def room(self) -> None:
        """Wait until the consumer has caught up, where there is one to wait for."""
        ...

    def close(self) -> None:
        """There will be no more."""
        ...


class EventFeed:
    """The events of a run in this process, from the first, for any number of consumers at any time."""

    def __init__(self) -> None:
        self._events: list[AgentRunEvent] = []
        self._closed = False
        self._news = asyncio.Event()

    def publish(self, event: AgentRunEvent) -> None:
        """Let every consumer have it."""
        self._events.append(event)
        self._news.set()

    async def room(self) -> None:
        """Nobody is waited for: each consumer reads at its own pace."""

    def close(self) -> None:
        """There will be no more."""
        self._closed = True
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[AgentRunEvent]:
        position = 0
        while True:
            while position < len(self._events):
                yield self._events[position]
                position += 1
            if self._closed:
                return
            # Whoever wakes first clears it; the others have been woken by the same set() and look at the list again.
            self._news.clear()
            await self._news.wait()


class StreamFeed:
    """What a stream's consumer is told: no effect starts, and no text is taken from a model, while it is `STREAM_BUFFER` events behind."""

    def __init__(self) -> None:
        self._events: deque[AgentStreamEvent] = deque()
        self._closed = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    def publish(self, event: AgentRunEvent) -> None:
        """Let the consumer have it."""
        told = stream_event(event)
        if told is not None and not self._closed:
            self._events.append(told)
            self._news.set()

    async def room(self) -> None:
        """Wait until the consumer has caught up or has left."""
        while len(self._events) >= STREAM_BUFFER and not self._closed:
            self._room.clear()
            await self._room.wait()

    def close(self) -> None:
        """There will be no more, or nobody will consume more."""
        self._closed = True
        self._news.set()
        self._room.set()

    async def next(self) -> AgentStreamEvent | None:
        """The next event; None after the last."""
        while not self._events:
            if self._closed:
                return None
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        self._room.set()
        return event


class Stretch:
    """One stretch of a run in this event loop: the task that drives it, and the way to reach it.

    Args:
        loop: None for a run that had ended before.
        ended: the state of a run that had ended before.
    """

    def __init__(
        self, run_id: str, thread_id: str, task: asyncio.Future[AgentResult], loop: Loop | None, ended: RunState | None = None
    ) -> None:
        self.run_id = run_id
        self.thread_id = thread_id
        self.task = task
        self._loop = loop
        self._ended = ended

    @classmethod
    def over(cls, state: RunState, result: AgentResult) -> Stretch:
        """The stretch of a run that had ended before."""
        there: asyncio.Future[AgentResult] = asyncio.get_running_loop().create_future()
        there.set_result(result)
        return cls(state.run_id, state.thread_id, there, None, state)

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        if self._loop is not None:
            return self._loop.state
        assert self._ended is not None
        return self._ended

    def ask(self, action: Literal["pause", "resume", "cancel", "interrupt"], reason: str | None = None) -> None:
        """Put a control request to the run, if it still goes on.

        Raises:
            ConfigurationError: the reason is not a text.
        """
        if reason is not None and not isinstance(reason, str):
            raise ConfigurationError(f"a reason is a str or None, not {type(reason).__name__}")
        reason = clean_text(reason) if reason is not None else None
        if self._loop is not None and not self._loop.finished:
            self._loop.post(Draft("control_requested", {"action": action, "reason": reason, "origin": "handle"}, reason or ""))

    async def result(self) -> AgentResult:
        """The result, once there is one. Cancelling the wait leaves the run alone."""
        return await asyncio.shield(self.task)

    async def result_or_cancel(self) -> AgentResult:
        """The result, once there is one. Cancelling the wait cancels the run, and that is in the log before the wait ends."""
        try:
            return await self.result()
        except asyncio.CancelledError:
            if not self.task.done():
                self.ask("cancel", "the task that awaited the run was cancelled")
                await self.result()
            raise


async def begun(starting: Coroutine[Any, Any, Stretch], waits: Callable[[asyncio.Task[Any]], bool] | None = None) -> Stretch:
    """The stretch, begun whole or not at all: a start that is cancelled halfway would leave a run behind that nobody drives.

    Args:
        waits: whether the task only waits for servers yet and has written nothing, so that it may be cancelled; None: it never does.
    """
    task = asyncio.create_task(starting)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if waits is not None and waits(task):
            task.cancel()
        while not task.done():
            # Cancelled again: that is still one cancellation of one run, and not one of its start.
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        if task.cancelled():
            raise
        stretch = await task
        stretch.ask("cancel", "the task that started the run was cancelled")
        await stretch.result()
        raise


class AgentRunHandle:
    """A run that goes on in the background of this event loop.

    Attributes:
        run_id: the run.
        thread_id: its thread.
        events: the run's events from the first of this stretch, live; iterate as often and from as many tasks as you like.
    """

    def __init__(self, stretch: Stretch, events: EventFeed) -> None:
        self.run_id: str = stretch.run_id
        self.thread_id: str = stretch.thread_id
        self.events = events
        self._stretch = stretch

    @property
    def done(self) -> bool:
        """Whether the run has ended or was laid down."""
        return self._stretch.task.done()

    async def await_result(self) -> AgentResult:
        """The result, once the run has ended. Cancelling the wait leaves the run alone.

        Raises:
            LogError: the log could not be written; the run can be resumed from what it has.
            HeadConflictError: another process took the run over.
        """
        return await self._stretch.result()

    async def pause(self) -> None:
        """Start nothing more until `resume`; what is under way comes to its end. Does nothing to a run that has ended."""
        self._stretch.ask("pause")

    async def resume(self) -> None:
        """Go on after `pause`."""
        self._stretch.ask("resume")

    async def cancel(self, reason: str | None = None) -> None:
        """End the run for good. What is under way is cut."""
        self._stretch.ask("cancel", reason)

    async def interrupt(self, reason: str | None = None) -> None:
        """Lay the run down so that `Runner.resume` can go on with it. What is under way is cut."""
        self._stretch.ask("interrupt", reason)


class AgentStreamEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What a streamed run tells its consumer. Fields that do not belong to the type are None.

    Attributes:
        type: text_delta, step_started, tool_started, tool_progress, tool_completed, tool_deferred, tool_background_resolved, tool_background_failed,
            and at the very end exactly one of completed (completed or degraded) and error (failed, cancelled, interrupted).
        ticket_id: of a tool in the background, on tool_deferred, tool_background_resolved and tool_background_failed.
        progress, total, message: how far a tool is, on tool_progress.
        result: the run's result, on the last event.
        error: why the run did not complete, on an error event.
    """

    type: str
    step: int = 0
    state: str = "running"
    text_delta: str | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None
    tool_success: bool | None = None
    tool_output: Any = None
    tool_error: str | None = None
    ticket_id: str | None = None
    progress: float | None = None
    total: float | None = None
    message: str | None = None
    result: AgentResult | None = None
    error: str | None = None


_STREAMED = frozenset(
    {
        "step_started",
        "tool_started",
        "subagent_started",
        "tool_progress",
        "tool_completed",
        "tool_deferred",
        "tool_background_resolved",
        "tool_background_failed",
    }
)


_BACKGROUND_SUCCESS = {"tool_background_resolved": True, "tool_background_failed": False}


def stream_event(event: AgentRunEvent) -> AgentStreamEvent | None:
    """What a stream's consumer is told of an event, or None."""
    data = event.data
    if event.type == "text_delta":
        return AgentStreamEvent(type="text_delta", step=event.step, state=event.state, text_delta=data["delta"])
    if event.type not in _STREAMED:
        return None
    return AgentStreamEvent(
        # To whoever watches, a transfer is a tool call like any other.
        type=event.type if event.type != "subagent_started" else "tool_started",
        step=event.step,
        state=event.state,
        tool_name=data.get("tool_name"),
        tool_call_id=data.get("tool_call_id"),
        tool_success=_BACKGROUND_SUCCESS.get(event.type, data.get("success")),
        tool_output=data.get("output"),
        tool_error=data.get("error"),
        ticket_id=data.get("ticket_id"),
        progress=data.get("progress"),
        total=data.get("total"),
        message=event.message if event.type == "tool_progress" else None,
    )


_LEFT = "the consumer left the stream"


class AgentStreamHandle:
    """A run that its consumer drives: `async for event in handle`.

    The run goes some `STREAM_BUFFER` events ahead and then waits for its consumer. Leaving the iteration before its end cancels the
    run; `async with handle:` around it, or `aclose()`, waits until that is in the log. It can be iterated once. A model call that is
    tried again streams its text again.
    """

    def __init__(self, stretch: Stretch, feed: StreamFeed) -> None:
        self.run_id: str = stretch.run_id
        self.thread_id: str = stretch.thread_id
        self._stretch = stretch
        self._feed = feed
        self._iterated = False
        self._result: AgentResult | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return self._result is not None

    @property
    def result(self) -> AgentResult:
        """The result.

        Raises:
            UsageError: the stream has not been consumed to its end.
        """
        if self._result is None:
            raise UsageError("the stream has no result yet; iterate it to its end first, or call collect_text()")
        return self._result

    async def collect_text(self) -> str:
        """Consume the whole stream and return the final text."""
        async for _event in self:
            pass
        return self.result.final_text

    def __aiter__(self) -> AsyncIterator[AgentStreamEvent]:
        if self._iterated:
            raise UsageError("a stream can be iterated once; use run_handle for events that several consumers want")
        self._iterated = True
        events = self._consumed()
        # `break` merely drops the iterator, and asyncio closes it some time later, or not at all if the program ends; the run is told now.
        weakref.finalize(events, self._stretch.ask, "cancel", _LEFT).atexit = False
        return events

    async def _consumed(self) -> AsyncIterator[AgentStreamEvent]:
        try:
            while (event := await self._feed.next()) is not None:
                yield event
            self._result = await self._stretch.result()
            yield _last(self._result)
        finally:
            await self.aclose()

    async def interrupt(self, reason: str | None = None) -> None:
        """Lay the run down so that `Runner.resume` can go on with it; go on iterating until the end. What is under way is cut."""
        self._stretch.ask("interrupt", reason)

    async def aclose(self) -> None:
        """Cancel the run if it is still going on, and wait until that is in the log."""
        if self._result is not None:
            return
        self._feed.close()
        self._stretch.ask("cancel", _LEFT)
        self._result = await self._stretch.result()

    async def __aenter__(self) -> AgentStreamHandle:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()


def _last(result: AgentResult) -> AgentStreamEvent:
    whole = result.state in ("completed", "degraded")
    return AgentStreamEvent(
        type="completed" if whole else "error", step=result.state_snapshot.step, state=result.state, result=result, error=result.error
    )
