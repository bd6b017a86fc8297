"""The log in one SQLite file: the default store.

One connection writes (see `sqlite_writer`), another, opened at the first read, only reads; both live in threads of their own, which end
at `close()`. An open store belongs to its event loop and its process: do not carry it across a fork, open another one in the child.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sqlite3
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import aiosqlite

from afk_es.clock import Ids, RandomIds
from afk_es.errors import CorruptLogError, LogClosedError, LogReadOnlyError, RunNotFoundError
from afk_es.log import sqlite_queries as queries
from afk_es.log.batch import encode_batch, stored_batches
from afk_es.log.codec import Codec, Row, microseconds
from afk_es.log.owners import Owners
from afk_es.log.port import ChainFault, Letter, RunHead, RunRecord, Statement, StoredLetter
from afk_es.log.records import letter_of, listed_run
from afk_es.log.sqlite_file import Durability, check_options, fetch, in_our_words, of_a_statement, open_reader, open_writer, run
from afk_es.log.sqlite_writer import Writer
from afk_es.log.verification import Segment, chain_fault, part_fault
from afk_es.machine.events import AgentRunEvent, Draft, validate_letter
from afk_es.machine.values import canonical_json, plain


class _Share(NamedTuple):
    """What one run contributes to another, or to itself: its own rows up to a seq."""

    run: int
    run_id: str
    thread_id: str
    upto: int


class SqliteEventLog:
    """An `EventLog` in a file.

    Args:
        path: the file; it and its directory are made if missing.
        durability: "full" survives a power cut, "normal" may lose the last moments in one (never in a crash of the process).
        busy_timeout_s: seconds to wait for another process's write lock.
        max_size_bytes: a quota for the file, without its write-ahead log; an append beyond it is a `LogFullError`. None: the disk's size.
            A file that is larger already stays as large as it is.
        read_only: never write to the file; works in a directory that cannot be written. In one that can, SQLite puts a `-wal` (empty) and
            a `-shm` file beside it and a reader may not take them away again; the next writer does.
        ids: where the owner's id comes from.
        codec: how events become rows; only tests of old versions need another.

    Raises:
        ConfigurationError: an option that cannot work.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        busy_timeout_s: float = 5.0,
        max_size_bytes: int | None = None,
        read_only: bool = False,
        ids: Ids | None = None,
        codec: Codec | None = None,
    ) -> None:
        check_options(durability, busy_timeout_s, max_size_bytes)
        self._path = Path(path)
        self._durability: Durability = durability
        self._busy_timeout_s = busy_timeout_s
        self._max_size_bytes = max_size_bytes
        self._read_only = read_only
        self._owner = (ids or RandomIds()).new("owner")
        self._codec = codec or Codec()
        self._owners = Owners(self._path, self._owner)
        self._held: Counter[str] = Counter()
        self._writer: Writer | None = None
        self._reader: aiosqlite.Connection | None = None
        self._door = asyncio.Lock()
        self._opened = False
        self._forks = not read_only

    @property
    def location(self) -> str:
        """The path, as it was given."""
        return str(self._path)

    @property
    def owner(self) -> str:
        """The identity under which this store claims runs."""
        return self._owner

    async def open(self) -> None:
        """Open the file, or make it.

        Raises:
            LogError: the file is foreign, newer, damaged, missing (if read-only) or cannot be written.
        """
        async with self._door:
            if self._opened:
                return
            if self._read_only:
                self._reader = await open_reader(self._path, busy_timeout_s=self._busy_timeout_s)
            else:
                connection = await open_writer(
                    self._path,
                    durability=self._durability,
                    busy_timeout_s=self._busy_timeout_s,
                    max_size_bytes=self._max_size_bytes,
                )
                self._writer = Writer(connection, self._path, self._owners.hold)
            self._opened = True

    async def close(self) -> None:
        """Finish what is queued, end both threads, let go of the owner's lock."""
        self._opened = False
        async with self._door:
            writer, self._writer = self._writer, None
            reader, self._reader = self._reader, None
            self._held.clear()
            try:
                # The reader first: whoever closes last checkpoints, and only the writer may.
                if reader is not None:
                    await reader.close()
            finally:
                try:
                    if writer is not None:
                        await writer.close()
                finally:
                    self._owners.release()
        self._door = asyncio.Lock()  # A lock belongs to the event loop it was first waited for in; the next may be another.

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        """See `EventLog.append`."""
        writer = self._writing()
        if events:
            await writer.append(encode_batch(self._codec, events, epoch))

    @property
    def dialect(self) -> Literal["sqlite"]:
        """See `DatabaseLog.dialect`."""
        return "sqlite"

    async def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """See `DatabaseLog.query`."""
        self._check_open()
        try:
            return await run(self._reader or await self._open_reader(), statement)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            self._check_open()
            raise of_a_statement(error, self._path) from error

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """See `DatabaseLog.transact`."""
        writer = self._writing()
        return await writer.transact(tuple(statements)) if statements else []

    async def append_with(self, events: Sequence[AgentRunEvent], *, epoch: int, statements: Sequence[Statement]) -> None:
        """See `DatabaseLog.append_with`."""
        if events:
            await self._writing().append(encode_batch(self._codec, events, epoch), tuple(statements))
        else:
            await self.transact(statements)

    def _writing(self) -> Writer:
        self._check_open()
        if self._writer is None:
            raise LogReadOnlyError(f"the log {self._path} was opened read-only; open it without read_only to write")
        return self._writer

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        """See `EventLog.read`."""
        lineage = await self._lineage(run_id)
        rows: list[Row] = []
        for share in reversed(lineage):
            if share.upto > after and (limit is None or len(rows) < limit):
                rows += await self._fetch(queries.EVENTS, (share.run, after, share.upto, -1 if limit is None else limit - len(rows)))
        return await self._decoded(run_id, lineage[0].thread_id, rows) if rows else []

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
        """See `EventLog.scan`."""
        lineage = await self._lineage(run_id)
        statement, parameters = queries.scan(types, containing, backwards=backwards)
        rows: list[Row] = []
        for share in lineage if backwards else reversed(lineage):
            end = min(sys.maxsize if before is None else before, share.upto + 1 if share.upto < sys.maxsize else sys.maxsize)
            if after < end and (limit is None or len(rows) < limit):
                bounds = {"run": share.run, "after": after, "before": end, "limit": -1 if limit is None else limit - len(rows)}
                rows += await self._fetch(statement, {**parameters, **bounds})
        return await self._decoded(run_id, lineage[0].thread_id, rows) if rows else []

    async def _decoded(self, run_id: str, thread_id: str, rows: Sequence[Row]) -> list[AgentRunEvent]:
        try:
            parts = await self._parts_of(rows)
        except CorruptLogError as error:
            raise CorruptLogError(f"the log {self._path}, run {run_id}: {error}") from error
        return self._codec.decode_all(rows, run_id=run_id, thread_id=thread_id, parts=parts)

    async def _parts_of(self, rows: Sequence[Row]) -> dict[str, Any]:
        wanted = self._codec.references(rows)
        parts = self._codec.known_parts(wanted)
        if missing := wanted - parts.keys():
            for key, content in await self._fetch(queries.PARTS, (json.dumps(sorted(missing)),)):
                parts[key] = self._codec.load_part(key, content)
        return parts

    async def _lineage(self, run_id: str) -> list[_Share]:
        """The runs that the events of this one are rows of: itself, and those it was forked from; empty for an unknown run."""
        statement = queries.LINEAGE if await self._has_forks() else queries.LINE_OF_ONE
        return [_Share(*row) for row in await self._fetch(statement, (run_id,))]

    async def _has_forks(self) -> bool:
        """Whether the file has the table: one of version 1 or 2 that nobody has written to since has not."""
        if not self._forks:
            self._forks = bool((await self._fetch(queries.HAS_FORKS, ()))[0][0])
        return self._forks

    async def _thread_of(self, run_id: str) -> str | None:
        found = await self._fetch(queries.THREAD_OF_RUN, (run_id,))
        return found[0][0] if found else None

    async def head(self, run_id: str) -> RunHead | None:
        """See `EventLog.head`."""
        found = await self._fetch(queries.HEAD, (run_id,))
        return queries.run_head(found[0]) if found else None

    async def thread(self, thread_id: str) -> list[RunHead]:
        """See `EventLog.thread`."""
        return [queries.run_head(row) for row in await self._fetch(queries.THREAD, (thread_id,))]

    async def forks(self, run_id: str) -> list[RunHead]:
        """See `EventLog.forks`."""
        if not await self._has_forks():
            return []
        return [queries.run_head(row) for row in await self._fetch(queries.FORKS, (run_id,))]

    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        """See `EventLog.runs`."""
        if before is not None and await self._thread_of(before) is None:
            raise RunNotFoundError(f"there is no run {before} in {self._path} to page on from")
        parameters = {"thread_id": thread_id, "before": before, "limit": max(limit, 0)}
        return [listed_run(row) for row in await self._fetch(queries.RUNS, parameters)]

    async def find(self, prefix: str) -> list[str]:
        """See `EventLog.find`."""
        return [run_id for (run_id,) in await self._fetch(queries.FIND, (prefix, prefix))]

    async def verify(self, run_id: str) -> ChainFault | None:
        """See `EventLog.verify`. Reads the whole run."""
        segments = []
        for place, share in reversed([*enumerate(await self._lineage(run_id))]):
            stored = [queries.stored_row(raw) for raw in await self._fetch(queries.STORED_BYTES, (share.run, share.upto))]
            segments.append(Segment(share.run_id, share.thread_id, stored, share.upto if place else None))
        if not segments:
            raise RunNotFoundError(f"there is no run {run_id} in {self._path}")
        fault = chain_fault(segments)
        rows = [row for segment in segments for row in segment.rows]
        sound = rows if fault is None else rows[: fault.seq - 1]
        wanted = json.dumps(sorted(self._codec.references(sound)))
        contents = {key: queries.stored_text(content) for key, content in await self._fetch(queries.STORED_PARTS, (wanted,))}
        return part_fault(run_id, sound, contents) or fault

    async def link(self, run_id: str, seq: int) -> str | None:
        """See `EventLog.link`."""
        for share in await self._lineage(run_id):
            if seq <= share.upto and (found := await self._fetch(queries.LINK, (share.run, seq))):
                return str(found[0][0].hex())
        return None

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        """See `EventLog.post`."""
        writer = self._writing()
        validate_letter(draft)
        kept = Draft(draft.type, plain(draft.data), draft.message)
        row = (microseconds(at), kept.type, kept.message, canonical_json(kept.data).decode(), run_id)
        position = await writer.post(row)
        if position is None:
            raise RunNotFoundError(f"there is no run {run_id} in {self._path}")
        return Letter(position, run_id, at, kept)

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        """See `EventLog.letters`."""
        if not await self._has_letters():
            return []
        if run_ids is None:
            rows = await self._fetch(queries.ALL_LETTERS, (after,))
        else:
            rows = await self._fetch(queries.LETTERS_OF_RUNS, (after, json.dumps(list(run_ids))))
        return [letter_of(row) for row in rows]

    async def posted(self) -> int:
        """See `EventLog.posted`."""
        if not await self._has_letters():
            return 0
        ((position,),) = await self._fetch(queries.POSTED, ())
        return int(position)

    async def _has_letters(self) -> bool:
        """Whether the file has the table: one of version 1 that nobody has written to since has not."""
        return not self._read_only or bool((await self._fetch(queries.HAS_LETTERS, ()))[0][0])

    async def heads(self, *, after: str | None = None, limit: int = 200) -> list[RunHead]:
        """See `StoredLog.heads`."""
        if after is not None and await self._thread_of(after) is None:
            raise RunNotFoundError(f"there is no run {after} in {self._path} to go on from")
        return [queries.run_head(row) for row in await self._fetch(queries.ALL_HEADS, (after, limit))]

    async def rows(self, run_id: str, *, after: int = 0, limit: int = 100) -> list[Row]:
        """See `StoredLog.rows`."""
        return await self._fetch(queries.ROWS, (run_id, after, limit))

    async def parts(self, digests: Collection[str]) -> dict[str, str]:
        """See `StoredLog.parts`."""
        return dict(await self._fetch(queries.PARTS, (json.dumps(sorted(digests)),))) if digests else {}

    async def stored_letters(self, run_id: str) -> list[StoredLetter]:
        """See `StoredLog.stored_letters`."""
        return await self._fetch(queries.LETTERS_OF_RUNS, (0, json.dumps([run_id]))) if await self._has_letters() else []

    async def append_rows(self, head: RunHead, rows: Sequence[Row], parts: Mapping[str, str]) -> None:
        """Append what another log has stored of a run, to the byte. Killed in between, it leaves a run that can be gone on with.

        Args:
            head: of the run, there.
            rows: gap-free, behind what is here of the run.
            parts: JSON texts by digest, of what the rows refer to.

        Raises:
            HeadConflictError: they do not follow what is here.
            InvalidEventError: a fork from where this log has nothing.
            LogError: the file could not be written.
        """
        writer = self._writing()
        for batch in stored_batches(head, rows, parts):
            await writer.append(batch)

    async def keep_letters(self, letters: Sequence[StoredLetter]) -> None:
        """Take over letters of another log with their positions, save those whose position is taken here.

        Raises:
            LogError: the file could not be written.
        """
        await self._writing().keep_letters(json.dumps(letters))

    def hold(self, run_id: str) -> None:
        """See `EventLog.hold`."""
        self._held[run_id] += 1

    def release(self, run_id: str) -> None:
        """See `EventLog.release`."""
        self._held[run_id] -= 1
        if self._held[run_id] <= 0:
            del self._held[run_id]
        if self._writer is not None:
            self._writer.forget(run_id)

    async def alive(self, owner: str, run_id: str) -> bool:
        """See `EventLog.alive`."""
        return run_id in self._held if owner == self._owner else self._owners.alive(owner)

    async def _fetch(self, sql: str, parameters: Any) -> list[Any]:
        """Read in one hop: no cursor stays open, which would keep the write-ahead log from being merged."""
        self._check_open()
        try:
            return await fetch(self._reader or await self._open_reader(), sql, parameters)
        except UnicodeEncodeError:
            return []  # A lone surrogate, as in an argument that was not UTF-8: no such text was ever stored.
        except (sqlite3.Error, ValueError) as error:
            self._check_open()  # aiosqlite's ValueError: it was closed while this waited.
            if isinstance(error, sqlite3.Error):
                raise in_our_words(error, self._path) from error
            raise

    async def _open_reader(self) -> aiosqlite.Connection:
        async with self._door:
            self._check_open()
            if self._reader is None:
                self._reader = await open_reader(self._path, busy_timeout_s=self._busy_timeout_s)
            return self._reader

    def _check_open(self) -> None:
        if not self._opened:
            raise LogClosedError(f"the log {self._path} is not open: call `await log.open()` first")
