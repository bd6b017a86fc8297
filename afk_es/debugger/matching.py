"""Where in a run something holds, in either direction. Whether it holds is a property of each place, not of the way there.

The store is asked first for events that may be meant. Only for those, and only where the condition needs it, are states folded: in short
stretches forward, also when the search goes backward. So a search back costs what a search on does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from typing import Protocol

from afk_es.debugger.expression import NOTHING, Need
from afk_es.debugger.keyframes import EVERY
from afk_es.debugger.landmarks import CALL_TYPES
from afk_es.debugger.recording import Progress, Recording
from afk_es.debugger.requirement import Requirement, as_shown
from afk_es.debugger.scope import Scope
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.values import Message, digest_json
from afk_es.redaction import Redaction

CHUNK = 256
"""Candidates that are looked at together, at most."""

SPAN = 8 * EVERY
"""Seqs between the first and the last of them, at most: so far a fold goes on instead of beginning at a keyframe again."""

Around = tuple[AgentRunEvent, dt.datetime | None, RunState | None, RunState | None]
"""An event, the time of the one before it, and the states before and after it."""


class Condition(Protocol):
    """What can be looked for. `Expression` is one."""

    @property
    def requirement(self) -> Requirement:
        """What all events have at which it holds."""
        ...

    @property
    def need(self) -> Need:
        """What has to be known beside the event."""
        ...

    def may_hold(self, scope: Scope) -> bool:
        """Whether it may hold, by the event alone."""
        ...

    def holds(self, scope: Scope) -> bool:
        """Whether it holds."""
        ...

    def quiet(self, before: RunState, after: RunState) -> bool:
        """Whether two states of a run say that it holds at no event between them. False is always right."""
        ...


class Search:
    """Looks for conditions in one run. It keeps what it has counted, so whoever searches again and again keeps the search.

    Args:
        recording: the run.
        redaction: what is kept back from whoever searches; default None, nothing. Conditions are judged without it, as else they would tell it.
    """

    def __init__(self, recording: Recording, *, redaction: Redaction | None = None) -> None:
        self.recording: Recording = recording
        self.redaction: Redaction | None = redaction
        self._calls = _Calls(recording)

    async def scope(self, seq: int, need: Need) -> Scope:
        """What is known at one event.

        Raises:
            UsageError: there is no such event.
        """
        event = await self.recording.event(seq)
        [scope] = [scope async for scope in self._filled([event], need)]
        return scope

    async def hits(
        self,
        condition: Condition,
        *,
        after: int = 0,
        before: int | None = None,
        backwards: bool = False,
        also: Need = NOTHING,
        progress: Progress | None = None,
    ) -> AsyncIterator[Scope]:
        """The places between `after` and `before` at which it holds, in order or the last first.

        Args:
            also: what the caller wants to know of each place beside what the condition needs.
        """
        need = condition.need.both(also)
        required = self._required(condition)
        if required.impossible:
            return
        after = max(after, required.first - 1)
        if required.last is not None:
            before = required.last + 1 if before is None else min(before, required.last + 1)
        if (need.state or need.previous) and required.types is None and not required.texts:
            found = self._everywhere(condition, need, after, before, backwards, progress)
        else:
            found = self._chosen(condition, need, after, before, backwards, progress)
        async for scope in found:
            yield scope

    async def first(
        self,
        condition: Condition,
        *,
        after: int = 0,
        before: int | None = None,
        backwards: bool = False,
        progress: Progress | None = None,
    ) -> Scope | None:
        """The first place at which it holds, in that direction, or None."""
        async for scope in self.hits(condition, after=after, before=before, backwards=backwards, progress=progress):
            return scope
        return None

    async def _chosen(
        self, condition: Condition, need: Need, after: int, before: int | None, backwards: bool, progress: Progress | None
    ) -> AsyncIterator[Scope]:
        """The hits among the events that the store says may be meant."""
        async for chunk in self._candidates(condition, after, before, backwards, progress):
            if need == NOTHING:
                for event in chunk:
                    scope = self._alone(event)
                    if condition.holds(scope):
                        yield scope
                continue
            found = [scope async for scope in self._filled(sorted(chunk, key=_seq), need) if condition.holds(scope)]
            for scope in reversed(found) if backwards else found:
                yield scope

    async def _everywhere(
        self, condition: Condition, need: Need, after: int, before: int | None, backwards: bool, progress: Progress | None
    ) -> AsyncIterator[Scope]:
        """The hits where any event may be meant: each is read once, save in windows about which the states at their ends say enough."""
        end = await self.recording.last_seq() if before is None else min(before - 1, await self.recording.last_seq())
        done, total = 0, max(end - after, 0)
        for begin, stop in _windows(after, end, backwards):
            if not need.state or not condition.quiet(await self.recording.state(begin), await self.recording.state(stop)):
                found = []
                async for event, previous, older, newer in self._walked(begin + 1, stop, need):
                    if condition.may_hold(self._alone(event)):
                        scope = await self._scope_of(event, need, previous, older, newer)
                        if condition.holds(scope):
                            found.append(scope)
                for scope in reversed(found) if backwards else found:
                    yield scope
            done += stop - begin
            if progress is not None:
                progress(done, total)

    async def _candidates(
        self, condition: Condition, after: int, before: int | None, backwards: bool, progress: Progress | None
    ) -> AsyncIterator[list[AgentRunEvent]]:
        """The events that may be meant, in chunks that grow: most of what is looked for is near."""
        required = self._required(condition)
        events = self.recording.scan(
            after=after,
            before=before,
            types=required.types or (),
            containing=tuple(required.texts),
            backwards=backwards,
            progress=progress,
        )
        chunk: list[AgentRunEvent] = []
        size = 8
        async for event in events:
            if not condition.may_hold(self._alone(event)):
                continue
            if chunk and (len(chunk) >= size or abs(event.seq - chunk[0].seq) > SPAN):
                yield chunk
                chunk, size = [], min(4 * size, CHUNK)
                await asyncio.sleep(0)
            chunk.append(event)
        if chunk:
            yield chunk

    async def _filled(self, events: list[AgentRunEvent], need: Need) -> AsyncIterator[Scope]:
        """The scopes of some events, in order, with what is needed."""
        if not need.state and not need.previous:
            for event in events:
                yield await self._scope_of(event, need)
            return
        wanted = {event.seq for event in events}
        async for event, previous, before, after in self._walked(events[0].seq, events[-1].seq, need):
            if event.seq in wanted:
                yield await self._scope_of(event, need, previous, before, after)

    async def _scope_of(
        self,
        event: AgentRunEvent,
        need: Need,
        previous: dt.datetime | None = None,
        before: RunState | None = None,
        after: RunState | None = None,
    ) -> Scope:
        if need.calls:
            await self._calls.count(event.seq)
        said = await self._said(need, before, after) if need.messages and before is not None and after is not None else {}
        repeat = self._calls.at(event.seq) if need.calls else 0
        return Scope(event, self.recording.first.at, previous, before, after, repeat, said, self.redaction)

    def _alone(self, event: AgentRunEvent) -> Scope:
        return Scope(event, self.recording.first.at, redaction=self.redaction)

    def _required(self, condition: Condition) -> Requirement:
        required = condition.requirement
        return required if self.redaction is None else as_shown(required, self.redaction.mark)

    async def _walked(self, first: int, last: int, need: Need) -> AsyncIterator[Around]:
        """The events from `first` to `last`, with the time before each and, where they are needed, the states around it."""
        if need.state:
            before = await self.recording.state(first - 1)
            async for event, after in self.recording.states(first, last):
                yield event, before.at if event.seq > 1 else None, before, after
                before = after
            return
        previous: dt.datetime | None = None
        async for page in self.recording.pages(after=max(first - 2, 0), before=last + 1):
            for event in page:
                if event.seq >= first:
                    yield event, previous, None, None
                previous = event.at

    async def _said(self, need: Need, before: RunState, after: RunState) -> dict[tuple[str, int], Message]:
        """Messages that are asked for and that the states have let go of, read again."""
        found = {}
        for which, position in need.messages:
            state = before if which == "before" else after
            place = position + len(state.messages) if position < 0 else position
            if 0 <= place < state.messages.held_from:
                # Where each message came from is known as far as states were asked for.
                await self.recording.state(after.seq)
                found[which, place] = (await self.recording.messages(state, place, place + 1))[0]
        return found


def _windows(after: int, end: int, backwards: bool) -> Iterator[tuple[int, int]]:
    """The windows that the seqs above `after`, up to `end`, fall into, each as what it is above and up to. They begin at keyframes."""
    cuts = [after, *range((after // SPAN + 1) * SPAN, end, SPAN), end]
    windows = [window for window in pairwise(cuts) if window[0] < window[1]]
    return reversed(windows) if backwards else iter(windows)


def _seq(event: AgentRunEvent) -> int:
    return event.seq


class _Calls:
    """How often each tool was called with the same arguments, at each start. It counts from the run's first event, and each event once."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._reached = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._seqs = array("Q")
        self._repeats = array("Q")
        self._counting = asyncio.Lock()

    async def count(self, seq: int) -> None:
        """Count up to the event at `seq`."""
        async with self._counting:
            if seq <= self._reached:
                return
            async for event in self._recording.scan(after=self._reached, before=seq + 1, types=CALL_TYPES):
                self._note(event)
                self._reached = event.seq
            self._reached = seq

    def _note(self, event: AgentRunEvent) -> None:
        data = event.data
        if data.get("attempt", 1) > 1:
            return
        name = data.get("tool_name") or data.get("subagent_name", "")
        key = (name, data["arguments_hash"] if "arguments_hash" in data else digest_json(data.get("task")))
        self._counts[key] = self._counts.get(key, 0) + 1
        self._seqs.append(event.seq)
        self._repeats.append(self._counts[key])

    def at(self, seq: int) -> int:
        """The count at the event at `seq`; 0 where no call begins."""
        index = bisect_left(self._seqs, seq)
        return self._repeats[index] if index < len(self._seqs) and self._seqs[index] == seq else 0
