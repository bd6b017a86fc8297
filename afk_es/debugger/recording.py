"""One run of a log, for reading at any place: its events, its states, the messages a model saw. It never holds a whole run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.keyframes import Keyframes
from afk_es.debugger.keyframes import Progress as Progress
from afk_es.errors import CorruptLogError, RunNotFoundError, UsageError
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent, RunState, initial_state
from afk_es.machine.values import Message, Messages
from afk_es.views import Line, Timeline
from afk_es.views.timeline import REFERRING

if TYPE_CHECKING:
    from afk_es.core.history import ThreadMemory

PAGE = 250
"""Events read at once where a run is walked: some 3 ms of work, so that whoever else is in the event loop gets a turn."""

_WINDOW = 50_000
"""Seqs that one scan in the store looks at; between two of them it can be cancelled and tells how far it is."""

_WARM_UP = 200
"""Events before a page of lines that are looked at for what its lines refer to."""


class Recording:
    """A run in a log, ended or still going on.

    Attributes:
        log: the open log.
        run_id: the run.
        thread_id: its thread.
        first: its first event.
    """

    def __init__(self, log: EventLog, first: AgentRunEvent, history: Messages, keyframes: KeyframeFile | None = None) -> None:
        self.log = log
        self.run_id: str = first.run_id
        self.thread_id: str = first.thread_id
        self.first = first
        self._history = history
        initial = initial_state(first.run_id, first.thread_id, history)
        self._keyframes = Keyframes(self._read, initial, file=keyframes, link=partial(log.link, first.run_id))

    @classmethod
    async def open(
        cls, log: EventLog, run_id: str, *, keyframes: KeyframeFile | None = None, memory: ThreadMemory | None = None
    ) -> Recording:
        """The run of that id.

        Args:
            log: open, and left open.
            keyframes: where the states of long runs are kept between sessions; None: nowhere, and nothing is written.
            memory: of whoever opens many runs of this log, so that what threads remember is read once; None: it is read for this run.

        Raises:
            RunNotFoundError: the log has no such run.
        """
        first = await log.read(run_id, limit=1)
        if not first:
            raise RunNotFoundError(f"{log.location} has no run {run_id!r}")
        if first[0].seq != 1:
            raise CorruptLogError(f"run {run_id} begins with seq {first[0].seq}; `afk-es verify` says more")
        refs = first[0].data.get("history")
        if not refs:
            return cls(log, first[0], Messages(), keyframes)
        if memory is None:
            from afk_es.core.history import ThreadMemory  # With all of the runner, which a verb that reads a run should not wait for.

            memory = ThreadMemory()
        return cls(log, first[0], await memory.read(log, refs), keyframes)

    async def last_seq(self) -> int:
        """The seq of the last event there is now."""
        head = await self.log.head(self.run_id)
        return head.seq if head is not None else 0

    async def event(self, seq: int) -> AgentRunEvent:
        """The event at `seq`.

        Raises:
            UsageError: there is none; the message says which there are.
        """
        found = await self._read(seq - 1, 1) if seq > 0 else []
        if not found:
            raise UsageError(f"run {self.run_id} has no event {seq}; it has 1 to {await self.last_seq()}")
        return found[0]

    async def events(self, *, after: int = 0, limit: int = PAGE) -> list[AgentRunEvent]:
        """At most `limit` events with a seq above `after`."""
        return await self._read(max(after, 0), limit)

    async def _read(self, after: int, limit: int) -> list[AgentRunEvent]:
        found = await self.log.read(self.run_id, after=after, limit=limit)
        # They come in order, and each once; so if the last one is where it belongs, all are.
        if found and found[-1].seq != after + len(found):
            raise CorruptLogError(f"run {self.run_id} has a gap behind seq {after}; `afk-es verify` says more")
        return found

    async def pages(
        self, *, after: int = 0, before: int | None = None, progress: Progress | None = None
    ) -> AsyncIterator[list[AgentRunEvent]]:
        """The events with a seq above `after` and below `before`, page by page, with a turn of the event loop in between."""
        begin, end = after, (await self.last_seq() if before is None else before - 1)
        while after < end and (page := await self._read(after, min(PAGE, end - after))):
            yield page
            after = page[-1].seq
            if progress is not None:
                progress(after - begin, end - begin)
            await asyncio.sleep(0)

    async def scan(
        self,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
        progress: Progress | None = None,
    ) -> AsyncIterator[AgentRunEvent]:
        """Events that may be what is looked for, in order or the newest first; see `EventLog.scan`. The caller looks again.

        Args:
            limit: what the caller will take at most, if it knows: the store reads no more at once.
        """
        after = max(after, 0)
        last = await self.last_seq()
        end = last + 1 if before is None else min(before, last + 1)
        size, done, total = 1_000, 0, max(end - after - 1, 0)
        while after + 1 < end:
            # The nearest place is looked at first, and alone: most of what is looked for is near.
            low, high = (max(after, end - 1 - size), end) if backwards else (after, min(end, after + 1 + size))
            taken = 0
            while True:
                found = await self.log.scan(
                    self.run_id,
                    after=low,
                    before=high,
                    types=types,
                    containing=containing,
                    backwards=backwards,
                    limit=PAGE if limit is None else min(limit - taken, PAGE),
                )
                for event in found:
                    yield event
                taken += len(found)
                if limit is not None and taken >= limit:
                    return
                if len(found) < PAGE:
                    break
                low, high = (low, found[-1].seq) if backwards else (found[-1].seq, high)
            limit = None if limit is None else limit - taken
            # A file may say of a run that it is endless; then nothing stands where the stretch ends, and to go on would take as long.
            edge = low if backwards else high - 1
            if taken == 0 and edge > 0 and not await self._read(edge - 1, 1):
                raise CorruptLogError(f"run {self.run_id} has no event {edge}, and ends at {last}; `afk-es verify` says more")
            done += min(size, end - after - 1)
            if backwards:
                end = max(after + 1, end - size)
            else:
                after = min(end - 1, after + size)
            size = min(size * 4, _WINDOW)
            if progress is not None:
                progress(done, total)

    async def state(self, seq: int, progress: Progress | None = None) -> RunState:
        """The state after the event at `seq`; 0 for the state before the first. Its messages may have been left behind: see `messages`.

        Raises:
            UsageError: there is no such event.
            InvariantError: the events up to there do not fold.
        """
        if seq > 0:
            await self._check(seq)
        return await self._keyframes.state(seq, progress)

    async def _check(self, seq: int) -> None:
        if seq > self._keyframes.reached and seq > await self.last_seq():
            await self.event(seq)

    async def states(self, first: int, last: int) -> AsyncIterator[tuple[AgentRunEvent, RunState]]:
        """The events from seq `first` to `last`, each with the state after it, in order."""
        async for pair in self._keyframes.states(first, last):
            yield pair

    async def messages(self, state: RunState, start: int = 0, stop: int | None = None) -> list[Message]:
        """The messages that a state of this run has at these positions, read again where the state has let go of them."""
        stop = len(state.messages) if stop is None else min(stop, len(state.messages))
        held = state.messages.held_from
        early = await self._keyframes.messages(start, min(stop, held)) if start < held else []
        return [*early, *state.messages[max(start, held) : stop]]

    async def origin(self, state: RunState, position: int) -> int | None:
        """The seq of the event that put the message at that position into the conversation; 0 for the thread's history, None: not known."""
        return await self._keyframes.origin(state, position)

    def history(self) -> Messages:
        """What the thread remembered when the run began."""
        return self._history

    @property
    def keyframes(self) -> Keyframes:
        """The states that are kept, for whoever wants to have them all before they are needed."""
        return self._keyframes

    async def referred(self, event: AgentRunEvent) -> list[AgentRunEvent]:
        """The earlier events that the event's line in a timeline repeats something of, in order: who asked for its call, who changed it."""
        if event.type not in REFERRING:
            return []
        asked = [each async for each in self.scan(before=event.seq, types=("llm_completed",), backwards=True, limit=1)]
        after, call_id = asked[0].seq if asked else 0, event.data["tool_call_id"]
        changed = self.scan(after=after, before=event.seq, types=("policy_decision",), containing=(call_id,))
        return [*asked, *[each async for each in changed if each.data.get("tool_call_id") == call_id]]

    async def lines(self, *, after: int, limit: int) -> list[Line]:
        """At most `limit` lines of the run's timeline, beginning with the event behind `after`."""
        after = max(after, 0)
        begin = after
        async for event in self.scan(after=max(after - _WARM_UP, 0), before=after + 1, types=("llm_completed",), backwards=True, limit=1):
            begin = event.seq - 1
        reader = Timeline(self.first.at)
        lines = [reader.line(event) for event in await self._read(begin, limit + after - begin)]
        return lines[after - begin :]
