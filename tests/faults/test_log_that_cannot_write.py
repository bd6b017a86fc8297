"""Goal: a log that cannot be written to stops a run with an error that has the way out, loses nothing, and the run goes on afterwards.

Method: each fault at each append of two runs with tools, after which the same store goes on or another, in turn. Real faults where the system lets
us make them: a full file system, a limit on the size of files, a lock of another connection; and what SQLite reports, before and after the
fact.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner, RunnerConfig
from afk_es.errors import CorruptLogError, LogError, LogFullError, LogLockedError, LogReadOnlyError, LogUnavailableError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import begin, control, turn
from afk_es.testing.log_contract.material import START
from tests.faults.faulted import Fault, FaultyLog, appends_of, survive

PLANS = ("sequential", "parallel")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any]]]:
    """Per plan, how often the run appends, and its result, where nothing goes wrong."""
    return {plan: appends_of(tmp_path_factory.mktemp(plan), plan) for plan in PLANS}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, if one may be mounted here."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextmanager
def no_room(log: FaultyLog) -> Iterator[None]:
    """The file system is full."""
    ballast = Path(log.location).parent / "ballast"
    fill(ballast)
    yield
    ballast.unlink()


@contextmanager
def no_growth(log: FaultyLog) -> Iterator[None]:
    """The system lets no file grow: what SQLite calls an I/O error. Shared memory is mapped and not written, so it is spared."""
    size = sum(file.stat().st_size for file in Path(log.location).parent.glob("runs.db-wal"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def locked(log: FaultyLog) -> Iterator[None]:
    """Another program holds the write lock."""
    with closing(sqlite3.connect(log.location, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def reported(code: int, *, after_the_fact: bool = False) -> Fault:
    """SQLite reports this of every write; after the fact: although it was done."""

    @contextmanager
    def fault(log: FaultyLog) -> Iterator[None]:
        assert log._writer is not None
        connection: Any = log._writer._connection
        real = {"execute_fetchall": connection.execute_fetchall, "executemany": connection.executemany}

        def broken(call: Callable[..., Any]) -> Callable[..., Any]:
            async def broken_call(sql: str, *arguments: Any) -> Any:
                writes = sql.strip().startswith(("COMMIT", "INSERT INTO events") if after_the_fact else ("BEGIN", "COMMIT", "INSERT"))
                if not writes:
                    return await call(sql, *arguments)
                if after_the_fact:
                    await call(sql, *arguments)
                error = sqlite3.OperationalError("as SQLite says")
                error.sqlite_errorcode = code
                raise error

            return broken_call

        connection.execute_fetchall = broken(real["execute_fetchall"])
        if not after_the_fact:
            connection.executemany = broken(real["executemany"])
        yield
        del connection.execute_fetchall
        if not after_the_fact:
            del connection.executemany

    return fault


FAULTS: dict[str, tuple[Fault, type[LogError], str]] = {
    "I/O error: no file may grow": (no_growth, LogUnavailableError, "the device failed, or is full; check the disk"),
    "locked by another program": (locked, LogLockedError, "try again, or raise busy_timeout_s"),
    "full, says SQLite": (reported(sqlite3.SQLITE_FULL), LogFullError, "make room and append again"),
    "no sync, says SQLite": (reported(sqlite3.SQLITE_IOERR_FSYNC), LogUnavailableError, "check the disk, then open the log again"),
    "no sync, after the fact": (reported(sqlite3.SQLITE_IOERR_FSYNC, after_the_fact=True), LogUnavailableError, "check the disk"),
    "read-only by now": (reported(sqlite3.SQLITE_READONLY), LogReadOnlyError, "give write permission"),
    "damaged, says SQLite": (reported(sqlite3.SQLITE_CORRUPT), CorruptLogError, "keep a copy"),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", FAULTS)
def test_every_append_may_fail(tmp_path: Path, sound: dict[str, Any], name: str, plan: str) -> None:
    fault, kind, way_out = FAULTS[name]
    _fail_at_every_append(tmp_path, sound[plan], fault, kind, way_out, plan)


@pytest.mark.parametrize("plan", PLANS)
def test_every_append_may_meet_a_full_disk(small_disk: Path, sound: dict[str, Any], plan: str) -> None:
    _fail_at_every_append(small_disk, sound[plan], no_room, LogFullError, "make room and append again", plan)


def _fail_at_every_append(
    place: Path, sound: tuple[int, dict[str, Any]], fault: Fault, kind: type[LogError], way_out: str, plan: str
) -> None:
    """After odd appends the same store goes on, after even ones another is opened."""
    appends, expected = sound
    kept = []
    for at in range(1, appends + 1):
        directory = place / f"append {at}"
        found = survive(directory, plan, at, fault, expected, same_store=bool(at % 2))
        assert type(found.error) is kind, f"append {at}: {type(found.error).__name__}: {found.error}"
        assert "runs.db" in str(found.error)
        assert way_out in str(found.error)
        kept.append(found.kept)
        subprocess.run(["rm", "-r", str(directory)], check=True)
    assert kept == sorted(kept), "the later the fault, the more is kept"


def fill(file: Path) -> None:
    """Leave no room."""
    with file.open("wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 4096)
        except OSError:
            return


async def test_a_letter_that_finds_no_room_is_refused_and_posted_later(small_disk: Path) -> None:
    log = SqliteEventLog(small_disk / "runs.db")
    await log.open()
    await begin(log, "run_a")
    fill(small_disk / "ballast")
    with pytest.raises(LogFullError, match="make room"):
        await log.post("run_a", control("pause"), at=START)
    (small_disk / "ballast").unlink()
    letter = await log.post("run_a", control("pause"), at=START)
    assert await log.letters() == [letter]
    await log.close()


async def test_a_full_disk_on_which_a_log_is_opened(small_disk: Path) -> None:
    """To open a log takes room for its shared memory; without it the error says so, and the log is as it was."""
    path = small_disk / "runs.db"
    log = SqliteEventLog(path)
    await log.open()
    await begin(log, "run_a")
    await log.close()
    fill(small_disk / "ballast")
    for read_only in (False, True):
        again = SqliteEventLog(path, read_only=read_only)
        try:
            await again.open()
            assert len(await again.read("run_a")) == 5
        except LogUnavailableError as error:
            assert "runs.db" in str(error)  # noqa: PT017 - that it may be opened is as good
        finally:
            await again.close()
    with pytest.raises(LogUnavailableError, match=r"other\.db.*full"):
        await SqliteEventLog(small_disk / "other.db").open()
    (small_disk / "ballast").unlink()
    again = SqliteEventLog(path)
    await again.open()
    await again.append(turn("run_a", 6), epoch=1)
    assert await again.verify("run_a") is None
    await again.close()


async def test_runs_beside_each_other_all_hear_of_it_and_all_go_on(tmp_path: Path) -> None:
    """Ten runs share a writer. When it fails each of them gets the error, none hangs, and each is resumed."""
    from tests.core.scenario import Counted, agent, asks, says

    log = FaultyLog(tmp_path / "runs.db", 25, reported(sqlite3.SQLITE_FULL))
    tools = [Counted(name=f"work_{n}", idempotent=True) for n in range(10)]

    def described(n: int) -> Any:
        def answer(request: Any) -> Any:
            return says("done") if len(request.messages) > 1 else asks((f"work_{n}", {"n": n}))

        return agent(answer, tools[n].tool)

    async with Runner(log=log, config=RunnerConfig()) as runner:
        handles = await asyncio.gather(*(runner.run_handle(described(n), user_message="go") for n in range(10)))
        ended = await asyncio.wait_for(asyncio.gather(*(handle.await_result() for handle in handles), return_exceptions=True), 20)
        assert {type(one) for one in ended} <= {LogFullError} | {type(one) for one in ended if not isinstance(one, BaseException)}
        assert any(isinstance(one, LogFullError) for one in ended)
        log.ends()
        results = [await runner.resume(described(n), run_id=handle.run_id) for n, handle in enumerate(handles)]
        assert [result.state for result in results] == ["completed"] * 10
        assert [await log.verify(handle.run_id) for handle in handles] == [None] * 10
    await log.close()
