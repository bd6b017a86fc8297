"""Goal: only a log is opened as a log, its guards hold against any connection, and every trouble of the file has a name and a way out."""

# ruff: noqa: ASYNC221, ASYNC240 - nothing else runs in these event loops, so nobody is kept waiting

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import pytest_asyncio

from afk_es.errors import (
    CorruptLogError,
    ForeignLogError,
    LogError,
    LogFullError,
    LogLockedError,
    LogReadOnlyError,
    LogUnavailableError,
    NewerLogError,
)
from afk_es.log.sqlite import SqliteEventLog
from afk_es.log.sqlite_file import APPLICATION_ID, FILE_VERSION, fetch, in_our_words, open_writer
from afk_es.testing.log_contract import begin, forked, started, turn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest_asyncio.fixture
async def log(path: Path) -> AsyncIterator[SqliteEventLog]:
    log = SqliteEventLog(path, busy_timeout_s=0.05)
    await log.open()
    yield log
    await log.close()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """An unclosed connection keeps the process alive, so none may be left, whatever went wrong."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=5)
        assert not thread.is_alive(), thread


def raw(path: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(path, isolation_level=None))


async def test_the_connection_is_set_up_for_durability(path: Path) -> None:
    for durability, synchronous in (("full", 2), ("normal", 1)):
        connection = await open_writer(path, durability=durability, busy_timeout_s=1.5, max_size_bytes=1 << 20)  # type: ignore[arg-type]
        values = {
            name: (await fetch(connection, f"PRAGMA {name}"))[0][0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema", "busy_timeout", "application_id", "user_version")
        }
        await connection.close()
        assert values == {
            "journal_mode": "wal",
            "synchronous": synchronous,
            "foreign_keys": 1,
            "trusted_schema": 0,
            "busy_timeout": 1500,
            "application_id": APPLICATION_ID,
            "user_version": FILE_VERSION,
        }


@pytest.mark.parametrize("table", ["events", "runs", "parts"])
async def test_nothing_is_changed_or_deleted_by_anybody(log: SqliteEventLog, path: Path, table: str) -> None:
    await begin(log, "run_a")
    column = {"events": "data", "runs": "thread_id", "parts": "content"}[table]
    with raw(path) as connection:
        for statement in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="never"):
                connection.execute(statement)
    assert await log.verify("run_a") is None


@pytest.mark.parametrize(
    ("seq", "epoch", "kind"),
    [(7, 1, "warning"), (5, 1, "warning"), (6, 2, "warning"), (6, 0, "warning"), (6, 1, "run_started"), (6, 3, "run_started")],
)
async def test_the_table_itself_refuses_what_does_not_follow(log: SqliteEventLog, path: Path, seq: int, epoch: int, kind: str) -> None:
    await begin(log, "run_a")
    insert = "INSERT INTO events (run, seq, epoch, at, type, step, schema_version, data, hash) VALUES (1, ?, ?, 0, ?, 0, 1, '{}', x'00')"
    with raw(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute(insert, (seq, epoch, kind))


@pytest.mark.parametrize(
    ("seq", "epoch", "kind"),
    [(5, 2, "run_started"), (3, 2, "run_started"), (4, 1, "run_started"), (4, 2, "warning"), (1, 2, "run_started")],
)
async def test_the_table_itself_refuses_a_fork_that_does_not_follow_its_base(
    log: SqliteEventLog, path: Path, seq: int, epoch: int, kind: str
) -> None:
    await begin(log, "run_a")
    insert = "INSERT INTO events (run, seq, epoch, at, type, step, schema_version, data, hash) VALUES (2, ?, ?, 0, ?, 0, 1, '{}', x'00')"
    with raw(path) as connection:
        connection.execute("INSERT INTO runs (run_id, thread_id) VALUES ('run_f', 'thread_1')")
        connection.execute("INSERT INTO forks VALUES (2, 1, 3)")
        with pytest.raises(sqlite3.IntegrityError, match="does not follow"):
            connection.execute(insert, (seq, epoch, kind))
        connection.execute(insert, (4, 2, "run_started"))
        with pytest.raises(sqlite3.IntegrityError, match="never changed"):
            connection.execute("UPDATE forks SET base_seq = 2")
        connection.execute("INSERT INTO runs (run, run_id, thread_id) VALUES (0, 'run_0', 'thread_1')")
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            connection.execute("INSERT INTO forks VALUES (0, 1, 3)")


@pytest.mark.parametrize("row", ["(2, 1, 3)", "(3, 1, 6)", "(3, 9, 1)"])
@pytest.mark.parametrize("how", ["INSERT", "INSERT OR REPLACE"])
async def test_a_run_that_has_events_gets_no_others_before_them(log: SqliteEventLog, path: Path, how: str, row: str) -> None:
    await begin(log, "run_a")
    await begin(log, "run_b")
    with raw(path) as connection:
        connection.execute("INSERT INTO runs (run_id, thread_id) VALUES ('run_f', 'thread_1')")
        with pytest.raises(sqlite3.IntegrityError, match="begins behind an event of another run"):
            connection.execute(f"{how} INTO forks VALUES {row}")


async def test_a_circle_of_bases_in_a_damaged_file_is_no_endless_loop(log: SqliteEventLog, path: Path) -> None:
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 4), *turn("run_f", 6)], epoch=2)
    with raw(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("DROP TRIGGER forks_first")
        connection.execute("INSERT INTO forks VALUES (1, 2, 4)")
        connection.commit()
    async with asyncio.timeout(10):
        assert await log.verify("run_f") is None
        assert len(await log.read("run_f")) == 9


async def test_a_change_in_what_a_fork_shares_is_seen_in_the_fork_too(log: SqliteEventLog, path: Path) -> None:
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 4), *turn("run_f", 6)], epoch=2)
    with raw(path) as connection:
        connection.execute("DROP TRIGGER events_stay")
        connection.execute("UPDATE events SET step = 7 WHERE run = 1 AND seq = 3")
    for run_id in ("run_a", "run_f"):
        fault = await log.verify(run_id)
        assert fault is not None
        assert (fault.run_id, fault.seq) == (run_id, 3)


async def test_a_fork_that_was_moved_to_another_base_is_seen(log: SqliteEventLog, path: Path) -> None:
    await begin(log, "run_a")
    await begin(log, "run_b")
    await log.append([forked("run_f", "run_a", 4), *turn("run_f", 6)], epoch=2)
    with raw(path) as connection:
        connection.execute("DROP TRIGGER forks_stay")
        connection.execute("UPDATE forks SET base_run = 2")
    fault = await log.verify("run_f")
    assert fault is not None
    assert fault.seq == 5


async def test_an_empty_file_becomes_a_log(path: Path) -> None:
    path.touch()
    log = SqliteEventLog(path)
    await log.open()
    await begin(log, "run_a")
    await log.close()
    assert [file.name for file in path.parent.iterdir()] == ["runs.db"]


async def test_many_processes_may_make_the_file_at_once(path: Path) -> None:
    logs = [SqliteEventLog(path) for _ in range(6)]
    await asyncio.gather(*(log.open() for log in logs))
    await asyncio.gather(*(begin(log, f"run_{number}") for number, log in enumerate(logs)))
    assert len(await logs[0].runs()) == 6
    for log in logs:
        await log.close()


@pytest.mark.parametrize("read_only", [False, True])
async def test_other_files_are_refused_and_left_alone(path: Path, read_only: bool) -> None:
    path.write_text("a text file of some length, which is not a database\n" * 40)
    before = path.read_bytes()
    with pytest.raises(ForeignLogError, match=r"runs\.db is not a SQLite database; name another path"):
        await SqliteEventLog(path, read_only=read_only).open()
    assert path.read_bytes() == before
    path.unlink()
    with raw(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(ForeignLogError, match=r"runs\.db is a database of another application"):
        await SqliteEventLog(path, read_only=read_only).open()
    assert path.read_bytes() == before
    with pytest.raises(ForeignLogError, match="is a directory"):
        await SqliteEventLog(path.parent, read_only=read_only).open()


@pytest.mark.parametrize("read_only", [False, True])
async def test_a_newer_log_is_refused(path: Path, read_only: bool) -> None:
    log = SqliteEventLog(path)
    await log.open()
    await log.close()
    with raw(path) as connection:
        connection.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")
    with pytest.raises(NewerLogError, match=rf"runs\.db has log version {FILE_VERSION + 1}.*upgrade"):
        await SqliteEventLog(path, read_only=read_only).open()


async def _filled(path: Path) -> None:
    log = SqliteEventLog(path)
    await log.open()
    for number in range(60):
        await begin(log, f"run_{number}")
    await log.close()


async def _open_and_read(path: Path) -> None:
    log = SqliteEventLog(path)
    try:
        await log.open()
        await log.read("run_30")
    finally:
        await log.close()


async def _append_until_it_fails(log: SqliteEventLog, seq: int) -> tuple[int, LogError]:
    """The seq of the last event that was acknowledged, and what stopped it."""
    while True:
        try:
            await log.append(turn("run_a", seq + 1), epoch=1)
        except LogError as error:
            return seq, error
        seq += 4


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        while True:
            ballast.write(b"\0" * 4096)


async def test_a_truncated_log_is_damaged(path: Path) -> None:
    await _filled(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CorruptLogError, match=r"runs\.db.*damaged"):
        await SqliteEventLog(path).open()


async def test_garbage_in_the_middle_is_damage_when_it_is_met(path: Path) -> None:
    await _filled(path)
    content = bytearray(path.read_bytes())
    content[4096 * 2 :] = b"\xa5" * (len(content) - 4096 * 2)
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptLogError, match=r"runs\.db.*damaged"):
        await _open_and_read(path)


async def test_a_held_write_lock_is_waited_for_and_then_named(log: SqliteEventLog, path: Path) -> None:
    await begin(log, "run_a")
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(log.append(turn("run_a", 6), epoch=1), begin(log, "run_b"), return_exceptions=True)
        assert [type(result) for result in results] == [LogLockedError, LogLockedError]
        assert "busy_timeout_s" in str(results[0])
        connection.execute("ROLLBACK")
    await log.append(turn("run_a", 6), epoch=1)
    assert await log.verify("run_a") is None
    assert await log.head("run_b") is None


async def test_a_full_log_loses_nothing_and_goes_on_with_more_room(path: Path) -> None:
    log = SqliteEventLog(path, max_size_bytes=120_000)
    await log.open()
    await begin(log, "run_a")
    acknowledged, error = await _append_until_it_fails(log, 5)
    assert isinstance(error, LogFullError)
    assert "max_size_bytes" in str(error)
    # All that wait in one group are told, new runs as well, and reading goes on.
    results = await asyncio.gather(*(begin(log, f"run_{number}") for number in range(40)), return_exceptions=True)
    assert {type(result) for result in results} <= {LogFullError}
    assert len(await log.read("run_a")) == acknowledged
    assert await log.verify("run_a") is None
    await log.close()
    roomier = SqliteEventLog(path, max_size_bytes=1_000_000)
    await roomier.open()
    await roomier.append(turn("run_a", acknowledged + 1), epoch=1)
    assert len(await roomier.read("run_a")) == acknowledged + 4
    assert await roomier.verify("run_a") is None
    assert [row.run_id for row in await roomier.runs()] == ["run_a"]
    await roomier.close()


async def test_a_full_disk_is_got_over_by_the_same_open_store(tmp_path: Path) -> None:
    """On a real file system of 1 MB, if one may be mounted here."""
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    try:
        log = SqliteEventLog(tmp_path / "runs.db")
        await log.open()
        await begin(log, "run_a")
        ballast = tmp_path / "ballast"
        with pytest.raises(OSError, match="No space"):
            _fill(ballast)
        acknowledged, error = await _append_until_it_fails(log, 5)
        assert isinstance(error, LogUnavailableError)
        assert "runs.db" in str(error)
        ballast.unlink()
        await log.append(turn("run_a", acknowledged + 1), epoch=1)
        assert len(await log.read("run_a")) == acknowledged + 4
        assert await log.verify("run_a") is None
        await log.close()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


async def test_a_log_is_read_in_a_read_only_place(tmp_path: Path) -> None:
    """Root ignores permission bits, so the place is a read-only mount, if one may be made here."""
    place = tmp_path / "place"
    place.mkdir()
    await _filled(place / "runs.db")
    if subprocess.run(["mount", "--bind", str(place), str(place)], capture_output=True, check=False).returncode:
        pytest.skip("a read-only mount is not permitted here")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(place)], check=True)
        log = SqliteEventLog(place / "runs.db", read_only=True)
        await log.open()
        assert len(await log.read("run_7")) == 5
        assert len(await log.runs()) == 50
        with pytest.raises(LogReadOnlyError, match="read_only"):
            await log.append([started("run_x")], epoch=1)
        await log.close()
        with pytest.raises(LogReadOnlyError, match=r"runs\.db"):
            await SqliteEventLog(place / "runs.db").open()
        with pytest.raises(LogReadOnlyError, match="cannot be made"):
            await SqliteEventLog(place / "deeper" / "runs.db").open()
    finally:
        subprocess.run(["umount", str(place)], check=True)


async def test_no_directory_can_be_made_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogReadOnlyError, match="cannot be made"):
        await SqliteEventLog(tmp_path / "file" / "runs.db").open()


async def test_reading_only_makes_nothing(path: Path) -> None:
    with pytest.raises(LogError, match=r"no log at .*runs\.db"):
        await SqliteEventLog(path, read_only=True).open()
    path.touch()
    with pytest.raises(ForeignLogError, match="is empty"):
        await SqliteEventLog(path, read_only=True).open()
    assert path.stat().st_size == 0


async def test_a_store_that_appends_nothing_leaves_no_lock(log: SqliteEventLog, path: Path) -> None:
    assert await log.runs() == []
    assert not path.with_name("runs.db-owners").exists()
    await begin(log, "run_a")
    assert [file.stem for file in path.with_name("runs.db-owners").iterdir()] == [log.owner]
    await log.close()
    assert not path.with_name("runs.db-owners").exists()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LogLockedError),
        (sqlite3.SQLITE_FULL, LogFullError),
        (sqlite3.SQLITE_READONLY_DIRECTORY, LogReadOnlyError),
        (sqlite3.SQLITE_CANTOPEN, LogReadOnlyError),
        (sqlite3.SQLITE_CORRUPT_INDEX, CorruptLogError),
        (sqlite3.SQLITE_IOERR_FSYNC, LogUnavailableError),
        (sqlite3.SQLITE_NOMEM, LogUnavailableError),
    ],
)
def test_extended_codes_have_the_name_of_their_kind(code: int, kind: type[LogError]) -> None:
    error = sqlite3.OperationalError("as SQLite says")
    error.sqlite_errorcode = code
    found = in_our_words(error, Path("runs.db"))
    assert type(found) is kind
    assert "runs.db" in str(found)
    assert "as SQLite says" in str(found)


async def test_a_reader_that_nobody_waits_for_any_more_is_closed(log: SqliteEventLog, path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Whoever reads first may be cancelled while the connection is made, in a thread that makes it all the same."""
    await log.append([started("run_a", owner=log.owner)], epoch=1)
    for turns in range(12):
        other = SqliteEventLog(path)
        await other.open()
        reading = asyncio.ensure_future(other.head("run_a"))
        for _ in range(turns):
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
        await other.close()
    gc.collect()
    assert not [each for each in recwarn if issubclass(each.category, ResourceWarning)]
