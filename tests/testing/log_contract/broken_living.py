"""Stores in memory that are wrong in their letters, among many, or at their closing, one defect each: everything else is `MemoryEventLog`. The name of a class says what is wrong with it."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Sequence

import msgspec

from afk_es.errors import HeadConflictError, LogClosedError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import Letter
from afk_es.machine import AgentRunEvent, Draft

Events = Sequence[AgentRunEvent]
replaced = msgspec.structs.replace


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
