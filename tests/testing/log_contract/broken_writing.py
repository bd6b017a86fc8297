"""Stores in memory that are wrong in what they keep, one defect each: everything else is `MemoryEventLog`. The name of a class says what is wrong with it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from afk_es.errors import HeadConflictError, InvalidEventError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import ChainFault
from afk_es.machine import AgentRunEvent

Events = Sequence[AgentRunEvent]
replaced = msgspec.structs.replace


class Rewriting(MemoryEventLog):
    """Keeps other events than it was given."""

    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        """What it keeps of an append."""
        raise NotImplementedError

    async def append(self, events: Events, *, epoch: int) -> None:
        await super().append(self.kept(list(events)), epoch=epoch)


class LosesTheLastEventOfALargeAppend(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return events[:-1] if len(events) > 100 else events


class LosesTheMessage(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, message="") for item in events]


class RoundsTimesToMilliseconds(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, at=item.at.replace(microsecond=item.at.microsecond // 1000 * 1000)) for item in events]


class ForgetsTheZoneOfTimes(Rewriting):
    """Takes what a clock on the wall shows for UTC."""

    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, at=item.at.replace(tzinfo=dt.UTC)) if item.at.tzinfo else item for item in events]


class DropsWhatIsNotAscii(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, message=item.message.encode("ascii", "ignore").decode()) for item in events]


class EndsTextsAtNul(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [
            replaced(item, data=_mapped(item.data, lambda value: value.partition("\0")[0] if isinstance(value, str) else value))
            for item in events
        ]


class KeepsNumbersAsFloats(Rewriting):
    """Like a store that goes through JavaScript."""

    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        def floats(value: Any) -> Any:
            return float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 2**53 else value

        return [replaced(item, data=_mapped(item.data, floats)) for item in events]


class CutsLongTexts(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [
            replaced(item, data=_mapped(item.data, lambda value: value[:65_535] if isinstance(value, str) else value)) for item in events
        ]


class DropsKeysItDoesNotKnow(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, data={key: value for key, value in item.data.items() if key != "invented_later"}) for item in events]


class WritesStepZeroAsOne(Rewriting):
    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return [replaced(item, step=item.step or 1) if item.type == "warning" else item for item in events]


class Renumbering(Rewriting):
    """Gives the events of an append the seqs that come next, whatever they say."""

    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        if not events or "forked_from" in events[0].data:
            return events
        run = self._runs.get(events[0].run_id)
        head = run.head.seq if run is not None else 0
        return [replaced(item, seq=head + place) for place, item in enumerate(events, 1)]


class SortsTheEventsOfAnAppend(Rewriting):
    """And so takes those that came in the wrong order."""

    def kept(self, events: list[AgentRunEvent]) -> list[AgentRunEvent]:
        return sorted(events, key=lambda item: item.seq)


class PagesOverlap(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        return await super().read(run_id, after=max(after - 1, 0) if limit else after, limit=limit)


class IgnoresTheLimit(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        return await super().read(run_id, after=after)


class ReadsBackwardsBehindAPage(MemoryEventLog):
    """Orders by the text of the seq, so that 10 comes before 2."""

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        return sorted(await super().read(run_id, after=after, limit=limit), key=lambda item: str(item.seq))


class IgnoresTheEpoch(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        run = self._runs.get(events[0].run_id) if events else None
        if run is not None and events[0].type != "run_started":
            epoch = run.head.epoch
        await super().append(events, epoch=epoch)


class LetsAnybodyClaimAgain(MemoryEventLog):
    """A claim of the epoch that there is already is taken for one of the next."""

    async def append(self, events: Events, *, epoch: int) -> None:
        run = self._runs.get(events[0].run_id) if events else None
        if run is not None and events[0].type == "run_started" and epoch == run.head.epoch:
            run.head = run.head._replace(epoch=epoch - 1)
        await super().append(events, epoch=epoch)


class LetsAClaimSkipEpochs(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        run = self._runs.get(events[0].run_id) if events else None
        if run is not None and events[0].type == "run_started" and epoch > run.head.epoch:
            run.head = run.head._replace(epoch=epoch - 1)
        await super().append(events, epoch=epoch)


class RefusesWithoutAReason(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        try:
            await super().append(events, epoch=epoch)
        except HeadConflictError:
            raise HeadConflictError("conflict") from None


class IsAliveForEverybody(MemoryEventLog):
    async def alive(self, owner: str, run_id: str) -> bool:
        return True


class LetsGoAtTheFirstRelease(MemoryEventLog):
    def release(self, run_id: str) -> None:
        self._held.pop(run_id, None)


class HoldsBeyondItsClosing(MemoryEventLog):
    async def close(self) -> None:
        self._opened = False


class Overwriting(MemoryEventLog):
    """Lets an append begin anywhere in the run, and replaces what was there."""

    async def append(self, events: Events, *, epoch: int) -> None:
        run = self._runs.get(events[0].run_id) if events else None
        if run is not None and run.base is None and 1 < events[0].seq <= run.head.seq:
            rows = run.rows[: events[0].seq - 1]
            run.rows = rows
            run.head = run.head._replace(seq=len(rows), hash=rows[-1][-1])
        await super().append(events, epoch=epoch)


class Remembering(MemoryEventLog):
    """Hands out the objects that it was given, instead of what it has stored."""

    def __init__(self) -> None:
        super().__init__()
        self.remembered: dict[tuple[str, int], AgentRunEvent] = {}

    async def append(self, events: Events, *, epoch: int) -> None:
        await super().append(events, epoch=epoch)
        self.remembered |= {(item.run_id, item.seq): item for item in events}

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        return [self.remembered.get((run_id, item.seq), item) for item in await super().read(run_id, after=after, limit=limit)]


class CachesWhatWasRead(MemoryEventLog):
    """Gives every reader the same objects, which the first of them may change."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[tuple[str, int], AgentRunEvent] = {}

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        events = await super().read(run_id, after=after, limit=limit)
        return [self.cache.setdefault((run_id, item.seq), item) for item in events]


class FindsEverythingSound(MemoryEventLog):
    async def verify(self, run_id: str) -> ChainFault | None:
        if run_id in self._runs:
            return None
        return await super().verify(run_id)


class BlamesTheEventAfter(MemoryEventLog):
    async def verify(self, run_id: str) -> ChainFault | None:
        fault = await super().verify(run_id)
        return fault and replaced(fault, seq=fault.seq + 1)


class FindsFaultAfterATakeover(MemoryEventLog):
    async def verify(self, run_id: str) -> ChainFault | None:
        head = await self.head(run_id)
        if head is not None and head.epoch > 1 and head.forked_from is None:
            return ChainFault(run_id, 1, "the epoch changed")
        return await super().verify(run_id)


class LinksEventsByTheirContentAlone(MemoryEventLog):
    async def link(self, run_id: str, seq: int) -> str | None:
        item = next(iter(await self.read(run_id, after=seq - 1, limit=1)), None) if seq > 0 else None
        return None if item is None else f"{item.type} {item.step}"


class LinksChangeAsTheRunGrows(MemoryEventLog):
    async def link(self, run_id: str, seq: int) -> str | None:
        found = await super().link(run_id, seq)
        return found and f"{found}{self._runs[run_id].head.seq:x}"


class AnswersWhenItIsClosed(MemoryEventLog):
    async def close(self) -> None:
        self._held.clear()


class WritesUpToTheInvalidEvent(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        try:
            await super().append(events, epoch=epoch)
        except InvalidEventError:
            if len({item.run_id for item in events}) == 1 and len(events) > 1:
                await super().append(events[:1], epoch=epoch)
            raise


class TakesTimesWithoutZone(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        await super().append(
            [item if item.at.tzinfo else replaced(item, at=item.at.replace(tzinfo=dt.UTC)) for item in events], epoch=epoch
        )


class TakesEmptyIds(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        await super().append([replaced(item, run_id=item.run_id or "nobody") for item in events], epoch=epoch)


class RaisesKeyErrors(MemoryEventLog):
    """For a run that it does not know."""

    async def verify(self, run_id: str) -> ChainFault | None:
        if run_id not in self._runs:
            raise KeyError(run_id)
        return await super().verify(run_id)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return change(value)
