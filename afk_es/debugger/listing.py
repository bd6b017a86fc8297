"""The events of a run that somebody wants to see, in order, and their lines. Nothing here lays a line out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import NamedTuple

from afk_es.debugger.expression import Expression
from afk_es.debugger.following import growth
from afk_es.debugger.matching import Search
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.machine import EVENT_TYPES, AgentRunEvent
from afk_es.redaction import Redaction
from afk_es.views import Line, Timeline, redacted_event

AROUND = 5
"""Events before and after the one that somebody asks for."""

FAR = 250
"""Events between two that are shown, above which those in between are not read for what the later one refers to."""


class Range(NamedTuple):
    """Which events are meant: seqs above `after` and below `before`; None: to the end."""

    after: int
    before: int | None


def around(seq: int) -> Range:
    """An event, and some before and after it."""
    return Range(max(seq - 1 - AROUND, 0), seq + AROUND + 1)


class Wanted(NamedTuple):
    """Which events are wanted: a range of seqs, patterns of types, what holds for them, and whether those that are yet to come are too."""

    span: Range
    types: tuple[str, ...]
    where: Expression | None
    follow: bool = False

    def takes(self, event: AgentRunEvent) -> bool:
        """Whether an event of the range is of a type that is wanted."""
        return not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types)


def type_patterns(types: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns, each of which fits an event type.

    Raises:
        UsageError: one fits none; the message lists the types.
    """
    for pattern in types:
        if not any(fnmatchcase(name, pattern) for name in EVENT_TYPES):
            raise UsageError(f"type {pattern!r} fits no event type; there are: {', '.join(EVENT_TYPES)}")
    return types


async def wanted_events(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> AsyncIterator[AgentRunEvent]:
    """The events that are wanted, in order and as they are kept.

    Args:
        redaction: what is kept back from whoever wants them, and so plays no part in what holds for them; None for nothing.
    """
    after, before = wanted.span
    search = Search(recording, redaction=redaction)
    if not wanted.follow:
        async for event in _between(recording, search, wanted, after, before):
            yield event
        return
    async for last in growth(recording, after):
        async for event in _between(recording, search, wanted, after, last + 1):
            yield event
        after = last


async def _between(recording: Recording, search: Search, wanted: Wanted, after: int, before: int | None) -> AsyncIterator[AgentRunEvent]:
    if wanted.where is not None:
        async for scope in search.hits(wanted.where, after=after, before=before):
            if wanted.takes(scope.event):
                yield scope.event
        return
    async for page in recording.pages(after=after, before=before):
        for event in page:
            if wanted.takes(event):
                yield event


async def wanted_lines(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> AsyncIterator[Line]:
    """The lines of the events that are wanted, in order, without secrets; a renderer has to make them harmless."""
    timeline = Timeline(recording.first.at)
    told = wanted.span.after
    async for event in wanted_events(recording, wanted, redaction):
        if told == wanted.span.after or event.seq - told > FAR:
            # What a line refers to stands in the events since the last answer of a model before it.
            async for answer in recording.scan(before=event.seq, types=("llm_completed",), backwards=True, limit=1):
                told = answer.seq - 1
        async for page in recording.pages(after=told, before=event.seq):
            for passed in page:
                timeline.line(redacted_event(passed, redaction))
        told = event.seq
        yield timeline.line(redacted_event(event, redaction))
