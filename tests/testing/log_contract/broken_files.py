"""Stores in a file with one defect each, for what only shows between two stores or when a process is killed."""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from afk_es.errors import HeadConflictError
from afk_es.log.port import Letter
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent, Draft


class FileLog(SqliteEventLog):
    """A sound store, made from a directory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "runs.db", durability="normal", busy_timeout_s=10.0)
        self.directory = directory


class HasAFileOfItsOwn(FileLog):
    """Every store its own: what one writes no other finds."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._path = directory / f"{self.owner}.db"


class ForgetsLettersForTheNextStore(FileLog):
    """Keeps them beside the log, in memory."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.own: list[Letter] = []

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        letter = Letter(len(self.own) + 1, run_id, at, draft)
        self.own.append(letter)
        return letter

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        self._check_open()
        return [letter for letter in self.own if letter.position > after and (run_ids is None or letter.run_id in run_ids)]

    async def posted(self) -> int:
        self._check_open()
        return len(self.own)


class HasANameForAll(FileLog):
    """Every store is the same owner."""

    @property
    def owner(self) -> str:
        return "the_one"


class ReadsFromACache(FileLog):
    """What it has read once it never asks for again, though another store may have gone on."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.cache: dict[str, list[AgentRunEvent]] = {}

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        await super().append(events, epoch=epoch)
        if events:
            self.cache.pop(events[0].run_id, None)

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        if after or limit is not None:
            return await super().read(run_id, after=after, limit=limit)
        if run_id not in self.cache and (found := await super().read(run_id)):
            self.cache[run_id] = found
        return list(self.cache.get(run_id, []))


class SwallowsConflicts(FileLog):
    """Whoever comes second is told that all went well."""

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        before = await self.head(events[0].run_id) if events else None
        try:
            await super().append(events, epoch=epoch)
        except HeadConflictError:
            after = await self.head(events[0].run_id)
            if before == after:
                raise


class TakesStrangersForDead(FileLog):
    async def alive(self, owner: str, run_id: str) -> bool:
        return owner == self.owner and await super().alive(owner, run_id)


class TakesTheDeadForAlive(FileLog):
    """Whoever has ever claimed the run is alive in it."""

    async def alive(self, owner: str, run_id: str) -> bool:
        if owner == self.owner:
            return await super().alive(owner, run_id)
        return any(item.data.get("owner") == owner for item in await self.read(run_id) if item.type == "run_started")


class Acknowledging(FileLog):
    """Says that it is done, and writes later."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.later: list[tuple[list[AgentRunEvent], int]] = []

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        if len(events) < 80:
            await super().append(events, epoch=epoch)
            return
        self.later.append((list(events), epoch))
        if len(self.later) > 30:
            await self.write()
        await asyncio.sleep(0)

    async def write(self) -> None:
        later, self.later = self.later, []
        for events, epoch in later:
            await super().append(events, epoch=epoch)

    async def close(self) -> None:
        await self.write()
        await super().close()


class TearsAppendsInTwo(FileLog):
    """One transaction per event."""

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        if len(events) < 80:
            await super().append(events, epoch=epoch)
            return
        for item in events:
            await super().append([item], epoch=epoch)


class AcknowledgesLettersTooEarly(FileLog):
    """Writes them at its closing."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.later: list[tuple[str, Draft, dt.datetime]] = []

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        if draft.data.get("reason") == "because":
            return await super().post(run_id, draft, at=at)
        self.later.append((run_id, draft, at))
        await asyncio.sleep(0)
        return Letter(len(self.later), run_id, at, draft)


class HasNoGuards(FileLog):
    """Its tables let events be changed."""

    async def open(self) -> None:
        await super().open()
        with closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            connection.executescript("DROP TRIGGER IF EXISTS events_stay; DROP TRIGGER IF EXISTS events_last;")
