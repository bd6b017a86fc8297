"""The one writer of a SQLite log: group commit over all runs of the process.

Every append queues its batch, and one task takes all that is queued at each turn: what arrives while the disk is busy shares the next
transaction. A small group of known runs is one multi-row INSERT in autocommit mode: one statement, one thread hop, one transaction. A
group that brings new runs or parts, or is large, is an explicit transaction.

The head of each run that is being driven is remembered, so no read precedes an append. A head that turns out to be old does no harm:
the row that would follow it exists already, and the table refuses a second.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import aiosqlite

from afk_es.errors import LogClosedError, LogError
from afk_es.log import sqlite_queries as queries
from afk_es.log.batch import Batch, Head, base_head, chained, conflict, refusal
from afk_es.log.sqlite_file import fetch, in_our_words

EVENTS_IN_A_GROUP = 4_000
"""Events of one transaction, save that a single larger batch is never split."""
EVENTS_IN_A_STATEMENT = 64
"""Up to here one multi-row statement beats BEGIN, executemany and COMMIT, which are three thread hops."""
HEADS_KEPT = 20_000
"""Heads that are remembered, about 300 bytes each. A run beyond them costs a read at its next append."""
PARTS_KNOWN = 4_096
"""Digests of parts that are known to be stored. One that was forgotten is offered again, and ignored."""

_COLUMNS = "run, seq, epoch, at, type, state, step, message, schema_version, data, hash"
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_RUNS = """
INSERT INTO runs (run_id, thread_id) SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
RETURNING run_id, run"""
_INSERT_PART = "INSERT OR IGNORE INTO parts (digest, content) VALUES (?, ?)"
_HEADS = """
SELECT r.run_id, r.run, r.thread_id, e.seq, e.epoch, e.hash
FROM runs AS r JOIN events AS e ON e.run = r.run AND e.seq = (SELECT max(seq) FROM events WHERE run = r.run)
WHERE r.run_id IN (SELECT value FROM json_each(?))"""

# The row of an event of a run, which may be shared: then it is a row of a run that this one was forked from.
_BASE = """
WITH RECURSIVE line (run, upto) AS (
  SELECT run, ? FROM runs WHERE run_id = ?
  UNION ALL
  SELECT f.base_run, min(f.base_seq, line.upto) FROM line JOIN forks AS f ON f.run = line.run AND f.base_run < f.run
)
SELECT e.run, e.seq, e.epoch, e.hash FROM line JOIN events AS e ON e.run = line.run AND e.seq = line.upto WHERE line.upto = ?"""
_INSERT_FORK = "INSERT INTO forks (run, base_run, base_seq) VALUES (?, ?, ?)"

_EVENT = "SELECT epoch, at, type, data FROM events WHERE run = (SELECT run FROM runs WHERE run_id = ?) AND seq = ?"


@cache
def _insert_events(rows: int) -> str:
    return f"INSERT INTO events ({_COLUMNS}) VALUES {', '.join([_ROW] * rows)}"


class _Waiting(NamedTuple):
    """A batch in the queue, and whoever waits for it."""

    batch: Batch
    done: asyncio.Future[None]


class _Tail(NamedTuple):
    """The end of a run in the file: its integer key, and its head."""

    key: int
    head: Head


class _Fork(NamedTuple):
    """What the first batch of a fork follows: the integer key of the run that has the last event which is shared, and that as a head."""

    key: int
    head: Head


class _Placed(NamedTuple):
    """A batch with its place. `key` is None while the run has no row yet; `fork` is there where it begins one."""

    waiting: _Waiting
    key: int | None
    hashes: list[bytes]
    head: Head
    fork: _Fork | None = None


class Writer:
    """Appends batches through one connection.

    Args:
        connection: opened for writing; the writer closes it.
        path: the file, for messages.
        before_first: called once, before the first append; raises if nothing may be written.
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path, before_first: Callable[[], None]) -> None:
        self._connection = connection
        self._path = path
        self._before_first: Callable[[], None] | None = before_first
        self._queue: deque[_Waiting] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._tails: OrderedDict[str, _Tail] = OrderedDict()
        self._parts: OrderedDict[str, None] = OrderedDict()
        self._closed = False
        # A letter must not fall into somebody's transaction, which may be rolled back.
        self._turn = asyncio.Lock()

    async def append(self, batch: Batch) -> None:
        """Append a batch and wait until it is durable. It lands even if the waiting is cancelled."""
        if self._closed:
            raise LogClosedError(f"the log {self._path} is closed")
        done = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(batch, done))
        if self._draining is None or self._draining.done():
            self._start()
        await done

    async def post(self, row: tuple[Any, ...]) -> int | None:
        """Store a letter and return its position, durable; None if there is no such run. It lands even if the waiting is cancelled."""
        async with self._turn:
            if self._closed:
                raise LogClosedError(f"the log {self._path} is closed")
            try:
                found = await fetch(self._connection, queries.POST, row)
            except sqlite3.Error as error:
                raise in_our_words(error, self._path) from error
        return int(found[0][0]) if found else None

    def forget(self, run_id: str) -> None:
        """Drop what is remembered of a run that is no longer driven."""
        self._tails.pop(run_id, None)

    async def close(self) -> None:
        """Write what is queued, then close the connection."""
        self._closed = True
        try:
            if self._draining is not None:
                await asyncio.wait([self._draining])
            # An event loop that ends cancels that task too, perhaps before its first step.
            await self._drain()
        finally:
            for waiting in self._queue:
                waiting.done.cancel()
            async with self._turn:
                await self._connection.close()

    def _start(self) -> None:
        self._draining = asyncio.create_task(self._drain(), name="afk_es log writer")
        self._draining.add_done_callback(self._go_on)

    def _go_on(self, ended: asyncio.Task[None]) -> None:
        """What was queued while a cancelled task came to its end does not wait for the next append, which may never come."""
        if self._queue and not self._closed and (self._draining is None or self._draining.done()):
            self._start()

    async def _drain(self) -> None:
        try:
            while self._queue:
                async with self._turn:
                    await self._settle(self._next_group())
        finally:
            self._draining = None

    def _next_group(self) -> list[_Waiting]:
        group = [self._queue.popleft()]
        size = len(group[0].batch.events)
        while self._queue and size + len(self._queue[0].batch.events) <= EVENTS_IN_A_GROUP:
            group.append(self._queue.popleft())
            size += len(group[-1].batch.events)
        return group

    async def _settle(self, group: list[_Waiting]) -> None:
        """Write a group; every waiting append gets its result or its error."""
        try:
            self._claim_owner()
            await self._write(group)
        except asyncio.CancelledError:
            # An event loop that ends cancels this task with all others. The runs that wait here are about to lay themselves down behind
            # what they have appended, so it lands all the same.
            await self._write(await self._not_landed(group))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it, and the writer go on
            _fail(group, error)
        finally:
            # Left over only where the event loop is being shut down: nobody may wait for ever.
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.cancel()

    async def _not_landed(self, group: list[_Waiting]) -> list[_Waiting]:
        """Those batches of a cancelled write that are not in the file. A cancelled statement is executed all the same, or rolled back."""
        self._forget_all(group)
        missing = []
        for waiting in group:
            batch = waiting.batch
            first = batch.events[0].columns
            if await fetch(self._connection, _EVENT, (batch.run_id, batch.first_seq)) != [(first[1], first[2], first[3], first[8])]:
                missing.append(waiting)
            elif not waiting.done.done():
                waiting.done.set_result(None)
        return missing

    def _claim_owner(self) -> None:
        if self._before_first is not None:
            self._before_first()
            self._before_first = None

    async def _write(self, group: list[_Waiting]) -> None:
        placed: list[_Placed] = []
        behind: list[_Waiting] = []
        try:
            placed, behind = await self._place(group)
            if placed:
                await self._commit(placed)
        except sqlite3.IntegrityError as error:
            self._forget_all(group)
            if len(placed) == 1:
                _fail([placed[0].waiting], await self._conflict(placed[0].waiting.batch, error))
            else:
                # Somebody else wrote to one of these runs. Alone, behind a fresh head, each gets what it deserves.
                for item in placed:
                    await self._write([item.waiting])
        except sqlite3.Error as error:
            self._forget_all(group)
            _fail(group, in_our_words(error, self._path))
            return
        if behind:
            await self._write(behind)

    def _forget_all(self, group: Iterable[_Waiting]) -> None:
        for waiting in group:
            self._tails.pop(waiting.batch.run_id, None)

    async def _conflict(self, batch: Batch, error: sqlite3.IntegrityError) -> LogError:
        tail = (await self._load([batch.run_id])).get(batch.run_id)
        head = tail.head if tail is not None else None
        fork = await self._fork_of(batch)
        found = refusal(batch, head, fork.head if fork is not None else None) or conflict(
            batch, head.seq if head else 0, head.epoch if head else 0
        )
        found.__cause__ = error
        return found

    async def _place(self, group: list[_Waiting]) -> tuple[list[_Placed], list[_Waiting]]:
        """Give each batch its place behind its run's head; those that have none are told so.

        Returns:
            Those that have a place; and those that another of this group is in the way of. They are told when that is in the file, and not
            before: whoever is refused looks who was faster, and must find them.
        """
        tails = await self._known_tails(group)
        placed: list[_Placed] = []
        behind: list[_Waiting] = []
        for waiting in group:
            batch = waiting.batch
            key, head = tails.get(batch.run_id, (None, None))
            fork = await self._fork_of(batch) if batch.base is not None else None
            base = fork.head if fork is not None else None
            error = refusal(batch, head, base)
            if error is not None and any(item.waiting.batch.run_id == batch.run_id for item in placed):
                behind.append(waiting)
                continue
            if error is not None and batch.run_id in self._tails:
                self._tails.pop(batch.run_id)
                key, head = (await self._load([batch.run_id])).get(batch.run_id, (None, None))
                error = refusal(batch, head, base)
            if error is not None:
                _fail([waiting], error)
                continue
            hashes, new_head = chained(batch, head if base is None else base)
            tails[batch.run_id] = (key, new_head)
            placed.append(_Placed(waiting, key, hashes, new_head, fork))
        return placed, behind

    async def _fork_of(self, batch: Batch) -> _Fork | None:
        """Where the fork that this batch begins leaves the other run; None where it begins none, or the file has no such event."""
        base = batch.base
        if base is None:
            return None
        found = await fetch(self._connection, _BASE, (base.seq, base.run_id, base.seq))
        if not found:
            return None
        ((key, seq, epoch, link),) = found
        return _Fork(key, base_head(batch, seq, epoch, link))

    async def _known_tails(self, group: list[_Waiting]) -> dict[str, tuple[int | None, Head | None]]:
        tails: dict[str, tuple[int | None, Head | None]] = {}
        unknown = []
        for waiting in group:
            run_id = waiting.batch.run_id
            tail = self._tails.get(run_id)
            if tail is not None:
                tails[run_id] = tail
            elif waiting.batch.first_seq > 1:
                unknown.append(run_id)
        if unknown:
            tails.update(await self._load(unknown))
        return tails

    async def _load(self, run_ids: list[str]) -> dict[str, _Tail]:
        rows = await fetch(self._connection, _HEADS, (json.dumps(run_ids),))
        return {run_id: _Tail(key, Head(thread_id, seq, epoch, link)) for run_id, key, thread_id, seq, epoch, link in rows}

    async def _commit(self, placed: list[_Placed]) -> None:
        new_runs = {item.waiting.batch.run_id: item.waiting.batch.thread_id for item in placed if item.key is None}
        new_parts = {key: text for item in placed for key, text in item.waiting.batch.parts.items() if key not in self._parts}
        size = sum(len(item.hashes) for item in placed)
        if new_runs or new_parts or size > EVENTS_IN_A_STATEMENT:
            keys = await self._transact(placed, new_runs, new_parts)
        else:
            keys = {}
            await fetch(self._connection, _insert_events(size), [value for row in _rows(placed, keys) for value in row])
        self._remember(placed, keys, new_parts)

    async def _transact(self, placed: list[_Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        connection = self._connection
        keys: dict[str, int] = {}
        try:
            await fetch(connection, "BEGIN IMMEDIATE")
            if new_runs:
                keys = dict(await fetch(connection, _INSERT_RUNS, (json.dumps(list(new_runs.items())),)))
            for item in placed:
                if item.fork is not None and item.waiting.batch.run_id in keys:
                    await fetch(connection, _INSERT_FORK, (keys[item.waiting.batch.run_id], item.fork.key, item.fork.head.seq))
            if new_parts:
                await connection.executemany(_INSERT_PART, new_parts.items())
            await connection.executemany(_insert_events(1), _rows(placed, keys))
            await fetch(connection, "COMMIT")
        except BaseException:
            # A cancelled statement is executed all the same, so only the connection's own thread knows whether there is something to roll
            # back. Where there is not this fails, and the error that led here says more.
            with suppress(sqlite3.Error):
                await fetch(connection, "ROLLBACK")
            raise
        return keys

    def _remember(self, placed: list[_Placed], keys: dict[str, int], new_parts: dict[str, str]) -> None:
        for waiting, key, _, head, _fork in placed:
            run_id = waiting.batch.run_id
            self._tails[run_id] = _Tail(keys[run_id] if key is None else key, head)
            self._tails.move_to_end(run_id)
            if not waiting.done.done():
                waiting.done.set_result(None)
        self._parts.update(dict.fromkeys(new_parts))
        _shrink(self._tails, HEADS_KEPT)
        _shrink(self._parts, PARTS_KNOWN)


def _rows(placed: list[_Placed], keys: dict[str, int]) -> list[tuple[Any, ...]]:
    rows = []
    for waiting, key, hashes, *_ in placed:
        run = keys[waiting.batch.run_id] if key is None else key
        rows += [(run, *event.columns, link) for event, link in zip(waiting.batch.events, hashes, strict=True)]
    return rows


def _shrink(remembered: OrderedDict[str, Any], bound: int) -> None:
    while len(remembered) > bound:
        remembered.popitem(last=False)


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
