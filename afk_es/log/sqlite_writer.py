"""The one writer of a SQLite log: what a group commit needs of its tables, through one connection.

A small group of known runs is one multi-row INSERT in autocommit mode: one statement, one thread hop, one transaction. A group that brings
new runs or parts, or is large, is an explicit transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import aiosqlite

from afk_es.errors import ClashError
from afk_es.log import sqlite_queries as queries
from afk_es.log.batch import Base, Batch, Head
from afk_es.log.group_commit import GroupCommit, Placed, Tail
from afk_es.log.port import Statement
from afk_es.log.sqlite_file import fetch, in_our_words, of_a_statement, roll_back, run, run_all

EVENTS_IN_A_STATEMENT = 64
"""Up to here one multi-row statement beats BEGIN, executemany and COMMIT, which are three thread hops."""

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


class Writer(GroupCommit):
    """Appends batches, and letters between them, through one connection.

    Args:
        connection: opened for writing; the writer closes it.
        path: the file, for messages.
        before_first: called once, before the first append; raises if nothing may be written.
    """

    def __init__(self, connection: aiosqlite.Connection, path: Path, before_first: Callable[[], None]) -> None:
        super().__init__(_Tables(connection, path), str(path), before_first)
        self._connection = connection
        self._path = path

    async def post(self, row: tuple[Any, ...]) -> int | None:
        """Store a letter and return its position, durable; None if there is no such run. It lands even if the waiting is cancelled."""
        async with self.turn:
            self.check_open()
            try:
                found = await fetch(self._connection, queries.POST, row)
            except sqlite3.Error as error:
                raise in_our_words(error, self._path) from error
        return int(found[0][0]) if found else None

    async def keep_letters(self, letters: str) -> None:
        """Store letters of another log, as JSON, with their positions; durable when it returns."""
        async with self.turn:
            self.check_open()
            try:
                await fetch(self._connection, queries.KEEP_LETTERS, (letters,))
            except sqlite3.Error as error:
                raise in_our_words(error, self._path) from error


class _Tables:
    """The `Rows` of a file."""

    def __init__(self, connection: aiosqlite.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    async def tails(self, run_ids: list[str]) -> dict[str, Tail]:
        """See `Rows.tails`."""
        rows = await self._fetch(_HEADS, (json.dumps(run_ids),))
        return {run_id: Tail(key, Head(thread_id, seq, epoch, link)) for run_id, key, thread_id, seq, epoch, link in rows}

    async def base(self, base: Base) -> tuple[int, int, int, bytes] | None:
        """See `Rows.base`."""
        found = await self._fetch(_BASE, (base.seq, base.run_id, base.seq))
        return found[0] if found else None

    async def has(self, batch: Batch) -> bool:
        """See `Rows.has`."""
        first = batch.events[0].columns
        return await self._fetch(_EVENT, (batch.run_id, batch.first_seq)) == [(first[1], first[2], first[3], first[8])]

    async def write(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        """See `Rows.write`."""
        size = sum(len(item.hashes) for item in placed)
        if placed[0].waiting.statements:
            return await self._write_with(placed, new_runs, new_parts)
        try:
            if new_runs or new_parts or size > EVENTS_IN_A_STATEMENT:
                return await self._transact(placed, new_runs, new_parts)
            values = [value for item in placed for row in item.rows({}) for value in row]
            await fetch(self._connection, _insert_events(size), values)
        except sqlite3.IntegrityError as error:
            raise ClashError from error
        except sqlite3.Error as error:
            raise in_our_words(error, self._path) from error
        return {}

    async def _write_with(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        try:
            return await self._transact(placed, new_runs, new_parts)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise of_a_statement(error, self._path) from error

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """See `Rows.transact`."""
        try:
            return await run_all(self._connection, statements)
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            raise of_a_statement(error, self._path) from error

    async def _transact(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
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
            await connection.executemany(_insert_events(1), [row for item in placed for row in item.rows(keys)])
            for item in placed:
                for statement in item.waiting.statements:
                    await run(connection, statement)
            await fetch(connection, "COMMIT")
        except BaseException:
            await roll_back(connection)
            raise
        return keys

    async def restore(self) -> None:
        """See `Rows.restore`. A file is never uncertain."""

    async def close(self) -> None:
        """See `Rows.close`."""
        await self._connection.close()

    async def _fetch(self, sql: str, parameters: tuple[Any, ...]) -> list[Any]:
        try:
            return await fetch(self._connection, sql, parameters)
        except sqlite3.Error as error:
            raise in_our_words(error, self._path) from error
