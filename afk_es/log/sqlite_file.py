"""The log's file: opening and recognising it, and saying in our words what SQLite has against it. Knows no events.

Only `open_writer` writes or checkpoints, on one connection for each store: SQLite before 3.51.3 has a rare WAL corruption when several
connections of a process do.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import aiosqlite

from afk_es.errors import (
    ClashError,
    ConfigurationError,
    CorruptLogError,
    ForeignLogError,
    LogError,
    LogFullError,
    LogLockedError,
    LogReadOnlyError,
    LogUnavailableError,
    NewerLogError,
)
from afk_es.log.port import Statement
from afk_es.log.sqlite_schema import OBJECTS, foreign

Durability = Literal["full", "normal"]

APPLICATION_ID = 0x61666B31
"""`afk1` in ASCII; `file(1)` and SQLite's own tools show it."""
FILE_VERSION = 3
"""Of the tables; version 2 added `letters`, version 3 `forks`. Event shapes have a version of their own, in each row."""

_BUSY_RETRY_S = 0.01
_SIGNS = """
SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), count(*) FROM sqlite_schema"""
_WAYS_OUT: dict[int, tuple[type[LogError], str]] = {
    sqlite3.SQLITE_BUSY: (LogLockedError, "another process holds its write lock; try again, or raise busy_timeout_s"),
    sqlite3.SQLITE_LOCKED: (LogLockedError, "another connection holds its write lock; try again, or raise busy_timeout_s"),
    sqlite3.SQLITE_FULL: (
        LogFullError,
        "the disk or the log's max_size_bytes is full; make room and append again, nothing is half-written",
    ),
    sqlite3.SQLITE_READONLY: (LogReadOnlyError, "it is not writable; give write permission on the file and its directory"),
    sqlite3.SQLITE_CANTOPEN: (LogReadOnlyError, "it cannot be opened; check that the path is right and the directory writable"),
    sqlite3.SQLITE_PERM: (LogReadOnlyError, "access is not permitted; check the permissions of the file and its directory"),
    sqlite3.SQLITE_CORRUPT: (CorruptLogError, "it is damaged; keep a copy, then save what is readable with `sqlite3 FILE .recover`"),
    sqlite3.SQLITE_NOTADB: (CorruptLogError, "it is no longer a database; restore it from a backup"),
    sqlite3.SQLITE_IOERR: (LogUnavailableError, "the device failed, or is full; check the disk, then open the log again"),
}


# A parameter, and the texts in which one would be none.
_PARAMETER = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\d+)""")


def primary_code(error: sqlite3.Error) -> int:
    """SQLite's primary result code, or 0 where the error is Python's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def in_our_words(error: sqlite3.Error, path: Path) -> LogError:
    """The `LogError` for what SQLite reported: names the file and the way out."""
    if "decode to UTF-8" in str(error):  # Python's own message, without a code: a text column with broken bytes.
        return CorruptLogError(f"the log {path}: {_WAYS_OUT[sqlite3.SQLITE_CORRUPT][1]} ({error})")
    kind, way_out = _WAYS_OUT.get(
        primary_code(error), (LogUnavailableError, "open it again, and check the file with `PRAGMA integrity_check`")
    )
    return kind(f"the log {path}: {way_out} (SQLite says: {error})")


def of_a_statement(error: Exception, path: Path) -> LogError:
    """The `LogError` for what SQLite, or Python in front of it, has against a statement that is not ours."""
    if isinstance(error, sqlite3.IntegrityError):
        return ClashError(f"the log {path}: a table refused what was to be written to it ({error})")
    if isinstance(error, sqlite3.Error) and primary_code(error) in _WAYS_OUT:
        return in_our_words(error, path)
    return LogError(f"the log {path}: a statement cannot be run ({error})")


async def run(connection: aiosqlite.Connection, statement: Statement) -> list[tuple[Any, ...]]:
    """Run one statement that names its parameters $1, $2, ... and fetch all its rows."""
    return await fetch(connection, _in_sqlite(statement.sql), statement.parameters)


async def run_all(connection: aiosqlite.Connection, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
    """Run statements in one transaction."""
    if len(statements) == 1:
        return [await run(connection, statements[0])]
    try:
        await fetch(connection, "BEGIN IMMEDIATE")
        found = [await run(connection, statement) for statement in statements]
        await fetch(connection, "COMMIT")
    except BaseException:
        await roll_back(connection)
        raise
    return found


async def roll_back(connection: aiosqlite.Connection) -> None:
    """Undo what a transaction has done that failed or was cancelled."""
    # A cancelled statement is executed all the same, so only the connection's own thread knows whether there is something to roll back.
    # Where there is not this fails, and the error that led here says more.
    with suppress(sqlite3.Error):
        await fetch(connection, "ROLLBACK")


@lru_cache(512)
def _in_sqlite(sql: str) -> str:
    # SQLite takes $1 for a name, and numbers names in the order in which they come.
    return _PARAMETER.sub(lambda found: f"?{found[1]}" if found[1] else found[0], sql)


async def fetch(connection: aiosqlite.Connection, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
    """Run one statement and fetch all its rows, in one thread hop."""
    return list(await connection.execute_fetchall(sql, parameters))


async def open_writer(path: Path, *, durability: Durability, busy_timeout_s: float, max_size_bytes: int | None) -> aiosqlite.Connection:
    """The one connection that writes. Makes the file and its directory if there is none.

    Raises:
        LogError: the file is foreign, newer, damaged or cannot be written.
    """
    _make_room(path)
    connection = await _connect(path, "mode=rwc", busy_timeout_s)
    try:
        await fetch(connection, "PRAGMA trusted_schema=OFF")
        if await _version(connection, path) < FILE_VERSION:
            await _check_schema(connection, path, writing=False)
            await _create(connection)
        await _check_schema(connection, path, writing=True)
        await _until_free(connection, "PRAGMA journal_mode=WAL", busy_timeout_s)
        await fetch(connection, f"PRAGMA synchronous={durability}")
        await fetch(connection, "PRAGMA fullfsync=ON")  # macOS: only this reaches the platter. Elsewhere it says nothing.
        await fetch(connection, "PRAGMA foreign_keys=ON")
        if max_size_bytes is not None:
            (page_size,) = (await fetch(connection, "PRAGMA page_size"))[0]
            await fetch(connection, f"PRAGMA max_page_count={max(max_size_bytes // page_size, 1)}")
    except BaseException as error:
        await connection.close()
        if isinstance(error, sqlite3.Error):
            raise in_our_words(error, path) from error
        raise
    return connection


async def open_reader(path: Path, *, busy_timeout_s: float) -> aiosqlite.Connection:
    """A connection that cannot write. Leaves nothing behind where the directory is read-only.

    Raises:
        LogError: there is no such file, or it is foreign, newer or damaged.
    """
    _require(path)
    try:
        return await _open_reader(path, "mode=ro", busy_timeout_s)
    except LogReadOnlyError:
        if not _is_whole(path):
            raise
        return await _open_reader(path, "mode=ro&immutable=1", busy_timeout_s)


async def _open_reader(path: Path, mode: str, busy_timeout_s: float) -> aiosqlite.Connection:
    connection = await _connect(path, mode, busy_timeout_s)
    try:
        await fetch(connection, "PRAGMA trusted_schema=OFF")
        if await _version(connection, path) == 0:
            raise ForeignLogError(f"{path} is empty: no run was ever recorded in it")
        await _check_schema(connection, path, writing=False)
        await fetch(connection, "SELECT run FROM runs LIMIT 1")
    except BaseException as error:
        await connection.close()
        if isinstance(error, sqlite3.Error):
            raise in_our_words(error, path) from error
        raise
    return connection


async def _connect(path: Path, mode: str, busy_timeout_s: float) -> aiosqlite.Connection:
    connecting = asyncio.ensure_future(aiosqlite.connect(_uri(path, mode), uri=True, isolation_level=None, timeout=busy_timeout_s))
    try:
        return await asyncio.shield(connecting)
    except sqlite3.Error as error:
        raise in_our_words(error, path) from error
    except asyncio.CancelledError:
        # The thread connects all the same, and nobody else would close what it made.
        await asyncio.wait([connecting])
        if connecting.exception() is None:
            await connecting.result().close()
        raise


def _uri(path: Path, mode: str) -> str:
    # `as_uri` percent-encodes what a URI would take for its query or fragment.
    return f"{path.absolute().as_uri()}?{mode}"


def _make_room(path: Path) -> None:
    _refuse_what_is_no_file(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # Logs hold conversations: nobody else's to read.
    except OSError as error:
        raise LogReadOnlyError(f"the log's directory {path.parent} cannot be made ({error}); make it, or name another path") from error


def _refuse_what_is_no_file(path: Path) -> None:
    """A directory; and a pipe or a device, which would be waited for, or read without end."""
    if path.is_dir():
        raise ForeignLogError(f"{path} is a directory; name a file in it, such as {path / 'runs.db'}")
    if path.exists() and not path.is_file():
        raise ForeignLogError(f"{path} is no regular file, and a log can be in nothing else; name another path for the log")


def _require(path: Path) -> None:
    _refuse_what_is_no_file(path)
    if not path.exists():
        raise LogError(f"there is no log at {path}; check the path, or AFK_ES_LOG")


def _is_whole(path: Path) -> bool:
    """Whether the file itself is everything: no writer left a write-ahead log, which a read-only directory would not let us read."""
    wal = path.with_name(path.name + "-wal")
    return not (wal.exists() and wal.stat().st_size)


async def _version(connection: aiosqlite.Connection, path: Path) -> int:
    """The version of the file's tables; 0 if nothing was ever put into it. Raises if what is in it is not a log that this version can use."""
    try:
        # One statement, so one moment: another process may be making the file meanwhile.
        ((application, version, objects),) = await fetch(connection, _SIGNS)
    except sqlite3.DatabaseError as error:
        if primary_code(error) == sqlite3.SQLITE_NOTADB:
            raise ForeignLogError(f"{path} is not a SQLite database; name another path for the log") from error
        raise
    if not (application or version or objects):
        return 0
    if application != APPLICATION_ID:
        raise ForeignLogError(f"{path} is a database of another application, not an afk_es log; name another path for the log")
    if version > FILE_VERSION:
        raise NewerLogError(f"{path} has log version {version}, this afk_es understands up to {FILE_VERSION}; upgrade afk_es to use it")
    return int(version)


async def _check_schema(connection: aiosqlite.Connection, path: Path, *, writing: bool) -> None:
    """Before a row is read or written: the schema of a file is code, and it may be somebody else's."""
    if (found := foreign(await fetch(connection, OBJECTS), writing=writing)) is not None:
        raise ForeignLogError(f"{path} has {found}; it is not opened, since what others put there would run. Ask whoever made the file")


async def _create(connection: aiosqlite.Connection) -> None:
    # In one transaction, and without effect the second time: two processes may both find the file blank. It only adds what is not there, so
    # it brings an older file up to date as well.
    schema = files("afk_es.log").joinpath("schema.sql").read_text("utf-8")
    pragmas = f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={FILE_VERSION};"
    try:
        await connection.executescript(f"BEGIN IMMEDIATE; {schema} {pragmas} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                await connection.rollback()
        raise


async def _until_free(connection: aiosqlite.Connection, sql: str, busy_timeout_s: float) -> None:
    """Run a statement for which SQLite does not wait by itself, as the change to WAL."""
    for _ in range(round(busy_timeout_s / _BUSY_RETRY_S)):
        try:
            await fetch(connection, sql)
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY:
                raise
        await asyncio.sleep(_BUSY_RETRY_S)
    await fetch(connection, sql)


def check_options(durability: str, busy_timeout_s: float, max_size_bytes: int | None) -> None:
    """Refuse options that cannot work, before a file is touched."""
    if durability not in ("full", "normal"):
        raise ConfigurationError(f"durability is 'full' or 'normal', not {durability!r}")
    if busy_timeout_s < 0:
        raise ConfigurationError(f"busy_timeout_s is a number of seconds of at least 0, not {busy_timeout_s!r}")
    if max_size_bytes is not None and max_size_bytes <= 0:
        raise ConfigurationError(f"max_size_bytes is a positive number of bytes or None, not {max_size_bytes!r}")
