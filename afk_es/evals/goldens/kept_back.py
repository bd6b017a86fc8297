"""What a golden keeps back, kept back of what a check reads and reports as well: runs that really happened, and divergences. Pure but for reading."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from afk_es.core.history import ThreadMemory
from afk_es.debugger.exchange.golden_derived import derived
from afk_es.errors import AfkError, RunNotFoundError
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.goldens.golden import Golden
from afk_es.handlers.withholding import Withholding, names_in, secrets_of
from afk_es.log import EventLog, RunHead
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent, evolve, initial_state
from afk_es.redaction import SHORTEST_VALUE, Redaction
from afk_es.views import redacted_event

_WORDS = re.compile(r"\S+")


class KeptBackLog(MemoryEventLog):
    """Runs as the golden would hold them, under their own ids, to be read.

    Args:
        location: where they really are.
        runs: all of each, by its id.
        heads: as they stand there.
    """

    def __init__(self, location: str, runs: Mapping[str, Sequence[AgentRunEvent]], heads: Mapping[str, RunHead]) -> None:
        super().__init__()
        self.location: str = location
        self._events = runs
        self._heads = heads

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        """See `EventLog.read`."""
        events = self._events.get(run_id, ())
        return list(events[after:] if limit is None else events[after : after + limit])

    async def scan(
        self,
        run_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
    ) -> list[AgentRunEvent]:
        """See `EventLog.scan`; `containing` passes all, which is the caller's to look at again."""
        found = [
            event
            for event in await self.read(run_id, after=after)
            if (before is None or event.seq < before) and (not types or event.type in types)
        ]
        return (found[::-1] if backwards else found)[:limit]

    async def head(self, run_id: str) -> RunHead | None:
        """See `EventLog.head`."""
        return self._heads.get(run_id)


async def as_kept_back(golden: Golden, redaction: Redaction, log: EventLog, run_ids: Sequence[str]) -> tuple[KeptBackLog, Redaction]:
    """These runs, with their subagents' and what they build on, as if they had been recorded as the golden was.

    Returns:
        A log that has them; and the redaction with all values that were found.

    Raises:
        RunNotFoundError: there is no such run.
    """
    runs: dict[str, list[AgentRunEvent]] = {}
    heads: dict[str, RunHead] = {}
    waiting = list(reversed(run_ids))
    while waiting:
        run_id = waiting.pop()
        events = await log.read(run_id) if run_id not in runs else []
        head = await log.head(run_id)
        if not events or head is None:
            if run_id in run_ids and run_id not in runs:
                raise RunNotFoundError(f"{log.location} has no run {run_id!r}")
            continue
        runs[run_id], heads[run_id] = events, head
        waiting += _below(events)
    withholding = Withholding(redaction)
    every = [event for events in runs.values() for event in events]
    for event in every:
        if "agent" in event.data and event.type == "run_started":
            withholding.spare(names_in(event.data["agent"]))
    withholding.learn(secrets_of(every, redaction))
    _learn_of(golden, withholding, [runs[run_id][0] for run_id in run_ids])
    kept: dict[str, list[AgentRunEvent]] = {}
    for run_id, events in runs.items():
        # The name of a thread is no part of what is compared, and holds its runs together.
        kept[run_id] = [
            msgspec.structs.replace(redacted_event(event, withholding.redaction), thread_id=event.thread_id) for event in events
        ]
    found = KeptBackLog(log.location, kept, heads)
    await found.open()
    memory = ThreadMemory()
    for run_id, events in runs.items():
        if kept[run_id] != events:
            try:
                history = await memory.read(found, events[0].data.get("history", []))
                kept[run_id][:] = _rehashed(kept[run_id], history)
            except (AfkError, LookupError, TypeError, ValueError):
                # Its hashes are of what was kept back; whoever compares finds out by himself what else does not fit.
                continue
    return found, withholding.redaction


def _below(events: Sequence[AgentRunEvent]) -> list[str]:
    """The runs that one builds on, or has started."""
    found = [ref["run_id"] for ref in events[0].data.get("history", [])]
    return found + [event.data["run_id"] for event in events if event.type == "subagent_started"]


def _learn_of(golden: Golden, withholding: Withholding, begins: Sequence[AgentRunEvent]) -> None:
    """Learn the values that stand in today's agents where the golden has marks."""
    for run_id, event in zip(golden.runs[-len(begins) :], begins, strict=False):
        recorded = msgspec.to_builtins(golden.spec(run_id))
        withholding.data("run_started", {"agent": event.data["agent"]}, {"agent": recorded})


def _rehashed(events: Sequence[AgentRunEvent], history: Any) -> list[AgentRunEvent]:
    """The events with the hashes of what they say now."""
    state = initial_state(events[0].run_id, events[0].thread_id, history)
    found: list[AgentRunEvent] = []
    for event in events:
        anew = {key: item for key, item in derived(state, event.type, event.data).items() if key in event.data and key.endswith("_hash")}
        if anew:
            event = msgspec.structs.replace(event, data={**event.data, **anew})
        found.append(event)
        state = evolve(state, event)
    return found


class Shown:
    """What a report may show.

    Args:
        every_word: the golden keeps back values that nobody has told this check, which may be any words.
    """

    def __init__(self, redaction: Redaction, *, every_word: bool = False) -> None:
        self._redaction = redaction
        self._every_word = every_word

    def text(self, text: str) -> str:
        """A sentence of a report."""
        return self._redaction.text(text)

    def divergence(self, found: Divergence) -> Divergence:
        """A divergence without what the golden keeps back.

        Where a text of the golden has a mark and today's has none in its place, that which is new in today's may be what was kept back.
        """
        return Divergence(
            found.kind,
            self.text(found.field),
            found.expected,
            self._beside(found.expected, self._redaction.value(found.actual)),
            found.recorded,
            self._place(found.recorded, found.today),
            self.text(found.message),
        )

    def _place(self, recorded: Place | None, today: Place | None) -> Place | None:
        if today is None:
            return None
        text = self._beside(recorded.text if recorded is not None else "", self.text(today.text))
        return msgspec.structs.replace(today, text=text)

    def _beside(self, expected: Any, actual: Any) -> Any:
        if isinstance(expected, str) and isinstance(actual, str):
            return self._without_news(expected, actual)
        if isinstance(expected, dict) and isinstance(actual, dict):
            return {key: self._beside(expected.get(key), item) for key, item in actual.items()}
        if isinstance(expected, (list, tuple)) and isinstance(actual, (list, tuple)):
            return [self._beside(expected[index] if index < len(expected) else None, item) for index, item in enumerate(actual)]
        return actual

    def _without_news(self, expected: str, actual: str) -> str:
        mark = self._redaction.mark
        if not mark or expected.count(mark) <= actual.count(mark):
            return actual
        known = set(_WORDS.findall(expected))

        def shown(word: re.Match[str]) -> str:
            bare = word[0].strip(".,;:!?\"'()")
            plain = word[0] in known or len(bare) < SHORTEST_VALUE or (bare.isalpha() and not self._every_word)
            return word[0] if plain else mark

        return _WORDS.sub(shown, actual)
