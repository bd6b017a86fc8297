"""Stores in memory with one defect each: everything else is `MemoryEventLog`. The name of a class says what is wrong with it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from afk_es.errors import HeadConflictError, InvalidEventError, LogClosedError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import ChainFault, Letter, RunHead, RunRecord
from afk_es.machine import AgentRunEvent, Draft

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


class StaleHeads(MemoryEventLog):
    def __init__(self) -> None:
        super().__init__()
        self.heads: dict[str, RunHead] = {}

    async def head(self, run_id: str) -> RunHead | None:
        found = await super().head(run_id)
        return found and self.heads.setdefault(run_id, found)


class OrdersAThreadByItsBeginnings(MemoryEventLog):
    async def thread(self, thread_id: str) -> list[RunHead]:
        return sorted(await super().thread(thread_id), key=lambda head: head.first_position)


class FindsThreadsByTheirBeginning(MemoryEventLog):
    async def thread(self, thread_id: str) -> list[RunHead]:
        names = {run.head.thread_id for run in self._runs.values() if run.head.thread_id.startswith(thread_id)}
        return [head for name in sorted(names) for head in await super(FindsThreadsByTheirBeginning, self).thread(name)]


class ListsOldestFirst(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        return (await super().runs(thread_id=thread_id, before=before, limit=1_000))[::-1][:limit]


class RepeatsTheLastRunOfAPage(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, before=before, limit=limit)
        return found if before is None else [row for row in await super().runs(limit=1_000) if row.run_id == before] + found


class ListsAnUnknownPriceAsNothing(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, limit=limit, before=before)
        return [replaced(row, cost_usd=row.cost_usd or 0.0) for row in found]


class CountsNoErrors(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        return [replaced(row, errors=0) for row in await super().runs(thread_id=thread_id, limit=limit, before=before)]


class FindsWhateverTheCase(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in reversed(self._runs) if run_id.lower().startswith(prefix.lower())][:20]


class FindsInTheMiddle(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in reversed(self._runs) if prefix in run_id][:20]


class FindsTheOldestTwenty(MemoryEventLog):
    async def find(self, prefix: str) -> list[str]:
        self._check_open()
        return [run_id for run_id in self._runs if run_id.startswith(prefix)][:20][::-1]


class Scanning(MemoryEventLog):
    """Changes what a scan is asked before it is made."""

    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        """What it scans for."""
        raise NotImplementedError

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
        options = {"after": after, "before": before, "types": types, "containing": containing, "backwards": backwards, "limit": limit}
        return await super().scan(run_id, **self.asked(options))


class ScansUpToAndWithTheEnd(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        before = options["before"]
        return options | {"before": None if before is None else before + 1}


class ScansForOneTypeOnly(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"types": list(options["types"])[:1]}


class ScansForwardsOnly(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        return options | {"backwards": False}


class LimitsAScanBeforeItFilters(Scanning):
    def asked(self, options: dict[str, Any]) -> dict[str, Any]:
        if options["limit"] is not None and not options["backwards"] and options["before"] is None:
            return options | {"before": options["after"] + options["limit"] + 1}
        return options


class MindsTheCaseOfTexts(MemoryEventLog):
    async def scan(self, run_id: str, *, containing: Sequence[str] = (), **options: Any) -> list[AgentRunEvent]:
        found = await super().scan(run_id, containing=containing, **options)
        return [item for item in found if all(text in f"{item.message}{item.data}{item.type}" or not text.isascii() for text in containing)]


class LosesTextsInParts(MemoryEventLog):
    async def scan(self, run_id: str, *, containing: Sequence[str] = (), **options: Any) -> list[AgentRunEvent]:
        found = await super().scan(run_id, containing=containing, **options)
        return [item for item in found if not containing or item.type != "run_started"]


class ForksSeeTheirBaseGoOn(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        if run is None or run.base is None or limit is not None:
            return found
        late = await super().read(run.base.run_id, after=max(run.base.seq, after))
        return [*found, *(replaced(item, run_id=run_id) for item in late)]


class ForksKeepTheNameOfTheirBase(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        if run is None or run.base is None:
            return found
        return [replaced(item, run_id=run.base.run_id) if item.seq <= run.base.seq else item for item in found]


class ForksShareOneEventTooFew(MemoryEventLog):
    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        found = await super().read(run_id, after=after, limit=limit)
        run = self._runs.get(run_id)
        return found if run is None or run.base is None else [item for item in found if item.seq != run.base.seq]


class KnowsForksOfForksAsItsOwn(MemoryEventLog):
    async def forks(self, run_id: str) -> list[RunHead]:
        own = await super().forks(run_id)
        deeper = [await super(KnowsForksOfForksAsItsOwn, self).forks(fork.run_id) for fork in own]
        return [*own, *(head for heads in deeper for head in heads)]


class CountsWhatAForkReuses(MemoryEventLog):
    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, limit=limit, before=before)
        return [replaced(row, cost_usd=(row.cost_usd or 0.0) * 2) if row.forked_from else row for row in found]


class KeepsLettersTwice(MemoryEventLog):
    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        return [letter for letter in await super().letters(after=after, run_ids=run_ids) for _ in range(2)]


class KeepsOneLetterOfEqualOnes(MemoryEventLog):
    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        for letter in self._letters:
            if (letter.run_id, letter.at, letter.draft) == (run_id, at, draft):
                return letter
        return await super().post(run_id, draft, at=at)


class LettersByRun(MemoryEventLog):
    """Orders letters by run and not by position."""

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        return sorted(await super().letters(after=after, run_ids=run_ids), key=lambda letter: letter.run_id)


class LettersAreReadOnce(MemoryEventLog):
    def __init__(self) -> None:
        super().__init__()
        self.taken = 0

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        found = await super().letters(after=max(after, self.taken), run_ids=run_ids)
        self.taken = max([self.taken, *(letter.position for letter in found)])
        return found


class CountsLettersOfOneRun(MemoryEventLog):
    """Positions begin anew in each run."""

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        letter = await super().post(run_id, draft, at=at)
        mine = sum(other.run_id == run_id for other in self._letters)
        self._letters[-1] = replaced(letter, position=mine)
        return self._letters[-1]


class TakesLettersForAnybody(MemoryEventLog):
    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        if run_id not in self._runs:
            return Letter(len(self._letters) + 1, run_id, at, draft)
        return await super().post(run_id, draft, at=at)


class LettersTouchTheirRun(MemoryEventLog):
    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        letter = await super().post(run_id, draft, at=at)
        self._runs[run_id].last_position += 1
        return letter


class ChecksTheHeadAndThenWaits(MemoryEventLog):
    """Compares, awaits and then writes: two that come at once have both compared."""

    async def append(self, events: Events, *, epoch: int) -> None:
        run = self._runs.get(events[0].run_id) if events else None
        head = None if run is None else run.head
        await asyncio.sleep(0)
        if run is not None and head is not None and run.head != head and events[0].seq == head.seq + 1:
            return  # It would have landed beside the other.
        await super().append(events, epoch=epoch)


class DropsCancelledAppends(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        await asyncio.sleep(0)
        await super().append(events, epoch=epoch)


class ShowsHalfAnAppend(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        for item in events if len(events) == 40 else ():
            await super().append([item], epoch=epoch)
            await asyncio.sleep(0)
        if len(events) != 40:
            await super().append(events, epoch=epoch)


class RefusesAllForOne(MemoryEventLog):
    """Writes whatever waits together as one, so that a conflict is everybody's."""

    def __init__(self) -> None:
        super().__init__()
        self.together: list[list[HeadConflictError]] = []

    async def append(self, events: Events, *, epoch: int) -> None:
        mine: list[HeadConflictError] = []
        self.together.append(mine)
        await asyncio.sleep(0)
        try:
            await super().append(events, epoch=epoch)
        except HeadConflictError as error:
            for other in self.together:
                other.append(error)
            raise
        finally:
            self.together.remove(mine)
        if mine:
            raise mine[0]


class ForgetsAtItsClosing(MemoryEventLog):
    async def close(self) -> None:
        await super().close()
        self._runs.clear()


class ForgetsLettersAtItsClosing(MemoryEventLog):
    async def close(self) -> None:
        await super().close()
        self._letters.clear()


class DropsTheQueueAtItsClosing(MemoryEventLog):
    async def append(self, events: Events, *, epoch: int) -> None:
        self._check_open()
        await asyncio.sleep(0)
        if self._opened:
            await super().append(events, epoch=epoch)


class CannotBeClosedTwice(MemoryEventLog):
    async def close(self) -> None:
        if not self._opened:
            raise LogClosedError("it is closed already")
        await super().close()


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return change(value)
