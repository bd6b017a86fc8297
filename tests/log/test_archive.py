"""Goal: an archive has whole runs to the byte and nothing else, whatever happens on the way, and a log goes only when all of it is in one.

Each store is archived; what an archive is, is a SQLite file in any case.
"""

# ruff: noqa: ASYNC220, ASYNC240 - nothing else runs in these event loops, so nobody is kept waiting

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ForeignLogError, LogError, LogFullError, NewerLogError, RunNotFoundError, UsageError
from afk_es.log import EventLog
from afk_es.log.archive import ArchiveReport, archive_runs, check_archive
from afk_es.log.memory import MemoryEventLog
from afk_es.log.port import StoredLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.soundness import PAGE, RowLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from afk_es.testing.log_contract import begin, control, event, forked, started, turn, warning
from afk_es.testing.log_contract.material import START

STORES = ("sqlite", "postgres")


def end(run_id: str, seq: int, kind: str = "run_completed", **changed: Any) -> AgentRunEvent:
    data: dict[str, Any] = {"state": "completed"} if kind == "run_completed" else {"reason": "told to"}
    state = kind.removeprefix("run_")
    return event(run_id, seq, kind, data, state=state, **changed)


async def ended_run(log: EventLog, run_id: str, kind: str = "run_completed", **changed: Any) -> None:
    await log.append([started(run_id, **changed), *turn(run_id, 2, **changed), end(run_id, 6, kind, **changed)], epoch=1)


@asynccontextmanager
async def opened(log: EventLog) -> AsyncIterator[Any]:
    await log.open()
    try:
        yield log
    finally:
        await log.close()


@pytest.fixture(params=STORES)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> EventLog:
    """A log of each kind."""
    if request.param == "sqlite":
        return SqliteEventLog(tmp_path / "runs.db")
    return PostgresEventLog(request.getfixturevalue("postgres_log"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "archive.db"


async def archived(log: EventLog, target: Path, **options: Any) -> ArchiveReport:
    async with opened(SqliteEventLog(target)) as archive:
        return await archive_runs(log, archive, **options)


async def checked(log: EventLog, target: Path) -> ArchiveReport:
    async with opened(SqliteEventLog(target, read_only=True)) as archive:
        return await check_archive(log, archive)


async def rows_of(log: RowLog, run_id: str) -> list[Any]:
    return [tuple(row) for row in await log.rows(run_id, limit=10_000)]


async def fill(log: EventLog) -> None:
    """A conversation of two runs, one of them laid down and resumed; a parent and its subagent; forks; letters; texts with NUL."""
    await ended_run(log, "run_a", message="nul \0 and \x10")
    laid = end("run_b", 6, "run_interrupted")
    await log.append([started("run_b"), *turn("run_b", 2), laid], epoch=1)
    await log.append([started("run_b", 7, epoch=2), *turn("run_b", 8, 2), end("run_b", 12)], epoch=2)
    await log.append([forked("run_f", "run_a", 3), *turn("run_f", 5), end("run_f", 9)], epoch=2)
    await log.append([forked("run_g", "run_f", 6, epoch=3), end("run_g", 8)], epoch=3)
    for number in range(3):
        await log.post("run_b", control("pause", f"letter {number}"), at=START)
    await log.post("run_a", control("cancel"), at=START)
    await log.append(
        [
            started("run_u", thread_id="thread_u"),
            event("run_u", 2, "of_tomorrow", {"spec": {"$part": "0" * 32}}, thread_id="thread_u"),
            end("run_u", 3, thread_id="thread_u"),
        ],
        epoch=1,
    )


async def test_an_archive_has_the_same_rows_and_links_and_letters(source: EventLog, target: Path) -> None:
    async with opened(source) as log, opened(SqliteEventLog(target)) as archive:
        await fill(log)
        report = await archive_runs(log, archive)
        assert (report.complete, report.sound, report.fates, report.letters) == (True, True, {"copied": 5}, 4)
        assert report.events == 6 + 12 + 6 + 2 + 3
        for run_id in ("run_a", "run_b", "run_f", "run_g", "run_u"):
            assert await rows_of(archive, run_id) == await rows_of(log, run_id)
            assert await archive.read(run_id) == await log.read(run_id)
            assert await archive.verify(run_id) is None
        assert await archive.letters() == await log.letters(), "with the positions that events name"
        assert [head.run_id for head in await archive.thread("thread_1")] == [head.run_id for head in await log.thread("thread_1")]
        assert await archive.runs(thread_id="thread_1") == await log.runs(thread_id="thread_1")
        assert (await check_archive(log, archive)).complete


async def test_a_second_archiving_adds_what_has_come_since_and_nothing_else(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        await fill(log)
        await archived(log, target)
        before = target.read_bytes()
        again = await archived(log, target)
        assert (again.fates, again.events, again.letters) == ({"there": 5}, 0, 0)
        assert target.read_bytes() == before
        await log.append([started("run_a", 7, epoch=2), warning("run_a", 8), end("run_a", 9)], epoch=2)
        await log.post("run_g", control("cancel"), at=START)
        await ended_run(log, "run_new")
        grown = await archived(log, target)
        assert (grown.fates, grown.events, grown.letters) == ({"copied": 1, "grown": 2, "there": 3}, 9, 1)
        assert (await checked(log, target)).complete


@pytest.mark.parametrize("kind", ["run_interrupted", None])
async def test_a_run_that_may_go_on_is_left_out_and_so_is_its_fork(source: EventLog, target: Path, kind: str | None) -> None:
    async with opened(source) as log:
        await begin(log, "run_open")
        if kind is not None:
            await log.append([end("run_open", 6, kind)], epoch=1)
        await log.append([forked("run_f", "run_open", 3), end("run_f", 5)], epoch=2)
        await ended_run(log, "run_done")
        report = await archived(log, target)
        assert report.fates == {"open": 1, "waits": 1, "copied": 1}
        assert {each.run_id: each.fate for each in report.left} == {"run_open": "open", "run_f": "waits"}
        found = await checked(log, target)
        assert not found.complete
        assert found.sound
        assert {each.run_id: each.fate for each in found.left} == {"run_open": "open", "run_f": "missing"}
        claim = [started("run_open", 7, epoch=2), end("run_open", 8)] if kind is not None else [end("run_open", 6)]
        await log.append(claim, epoch=2 if kind is not None else 1)
        assert (await archived(log, target)).fates == {"copied": 2, "there": 1}
        assert (await checked(log, target)).complete


async def test_what_is_chosen_comes_with_what_it_builds_on(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        await ended_run(log, "run_1", thread_id="old")
        second = started("run_2", thread_id="new")
        second.data["history"] = [{"run_id": "run_1", "seq": 6}]
        child = event("run_2", 2, "subagent_started", {"subagent_name": "s", "correlation_id": "c", "run_id": "run_child"}, thread_id="new")
        await ended_run(log, "run_child", "run_cancelled", thread_id="child")
        await log.append([second, child, end("run_2", 3, thread_id="new")], epoch=1)
        await log.append([forked("run_f", "run_2", 2, thread_id="third"), end("run_f", 4, thread_id="third")], epoch=2)
        await ended_run(log, "run_else", thread_id="else")
        report = await archived(log, target, threads=["third"])
        assert report.fates == {"copied": 4}
        async with opened(SqliteEventLog(target)) as archive:
            assert sorted(await archive.find("")) == ["run_1", "run_2", "run_child", "run_f"]
        with pytest.raises(RunNotFoundError, match="has no thread 'nowhere'"):
            await archived(log, target, threads=["nowhere"])


async def test_only_what_ended_before(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        await ended_run(log, "run_a")
        last = (await log.read("run_a"))[-1].at
        assert (await archived(log, target, ended_before=last)).runs == 0
        assert (await archived(log, target, ended_before=last.replace(year=last.year + 1))).fates == {"copied": 1}


async def test_a_run_of_another_log_is_never_taken_for_this_one(source: EventLog, target: Path) -> None:
    async with opened(source) as log, opened(SqliteEventLog(target)) as archive:
        await ended_run(log, "run_a")
        await ended_run(log, "run_b")
        await archive.append([started("run_a", owner="somebody else"), end("run_a", 2)], epoch=1)
        before = await archive.read("run_a")
        report = await archive_runs(log, archive)
        assert report.fates == {"differs": 1, "copied": 1}
        assert not report.sound
        assert not (await check_archive(log, archive)).complete
        assert await archive.read("run_a") == before


async def test_letters_of_another_log_are_not_written_over(source: EventLog, target: Path) -> None:
    async with opened(source) as log, opened(SqliteEventLog(target)) as archive:
        await ended_run(log, "run_a")
        await ended_run(archive, "run_z")
        await log.post("run_a", control("pause"), at=START)
        theirs = await archive.post("run_z", control("cancel"), at=START)
        report = await archive_runs(log, archive)
        assert report.fates == {"differs": 1}
        assert await archive.letters() == [theirs]
        assert not (await check_archive(log, archive)).complete


@pytest.mark.parametrize(
    "change", ["UPDATE events SET message = 'other' WHERE seq = 3", "DELETE FROM events WHERE seq = 3", "DELETE FROM parts"]
)
async def test_what_is_not_what_was_appended_gets_no_further(tmp_path: Path, target: Path, change: str) -> None:
    """In the log: it is not archived. In the archive: the log does not go."""
    async with opened(SqliteEventLog(tmp_path / "runs.db")) as log:
        await ended_run(log, "run_a")
        await archived(log, target)
    for path in (target, tmp_path / "runs.db"):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(change)
        async with opened(SqliteEventLog(tmp_path / "runs.db")) as log:
            found = await (checked(log, target) if path == target else archived(log, tmp_path / "other.db"))
            assert found.fates == {"damaged": 1}
            assert not found.sound
            assert "run_a" in found.left[0].run_id
            assert found.left[0].reason


async def test_a_run_longer_than_a_page_is_copied_page_by_page(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        await log.append([started("run_a"), *[warning("run_a", seq) for seq in range(2, 3 * PAGE)], end("run_a", 3 * PAGE)], epoch=1)
        report = await archived(log, target)
        assert (report.events, report.fates) == (3 * PAGE, {"copied": 1})
        assert (await checked(log, target)).complete


async def test_a_full_disk_is_told_and_gone_on_from(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        for number in range(12):
            text = warning(f"run_{number}", 7, data={"kind": "k", "text": f"{number}" * 20_000})
            await log.append(
                [started(f"run_{number}"), *turn(f"run_{number}", 2), warning(f"run_{number}", 6), text, end(f"run_{number}", 8)], epoch=1
            )
        async with opened(SqliteEventLog(target, max_size_bytes=200_000)) as small:
            with pytest.raises(LogFullError):
                await archive_runs(log, small)
        async with opened(SqliteEventLog(target)) as archive:
            for run_id in await archive.find(""):
                assert await archive.verify(run_id) is None
        report = await archived(log, target)
        assert report.complete
        assert 0 < report.fates["copied"] <= 12
        assert (await checked(log, target)).complete


async def test_two_archivings_at_once_make_one_archive(source: EventLog, target: Path) -> None:
    async with opened(source) as log:
        for number in range(30):
            await ended_run(log, f"run_{number}", thread_id=f"thread_{number % 7}")
            await log.append([forked(f"fork_{number}", f"run_{number}", 3), end(f"fork_{number}", 5)], epoch=2)
        reports = await asyncio.gather(*(archived(log, target) for _ in range(3)))
        assert all(report.complete for report in reports)
        assert (await checked(log, target)).fates == {"there": 60}


async def test_a_run_that_grows_meanwhile_is_archived_up_to_an_end(source: EventLog, target: Path) -> None:
    """It is resumed while it is copied: what is in the archive is a run that had ended, and the next archiving adds the rest."""

    class Resuming(SqliteEventLog):
        async def append_rows(self, *given: Any) -> None:
            if not grown:
                grown.append(True)
                await log.append([started("run_a", 7, epoch=2), *turn("run_a", 8)], epoch=2)
            await super().append_rows(*given)

    grown: list[bool] = []
    async with opened(source) as log, opened(Resuming(target)) as archive:
        await ended_run(log, "run_a")
        assert (await archive_runs(log, archive)).fates == {"copied": 1}
        head = await archive.head("run_a")
        assert (head.seq, head.last_type) == (6, "run_completed")
        assert (await check_archive(log, archive)).fates == {"open": 1}
        await log.append([end("run_a", 12)], epoch=2)
        assert (await archive_runs(log, archive)).fates == {"grown": 1}
        assert (await check_archive(log, archive)).complete


async def test_an_archiving_that_is_killed_is_gone_on_with(tmp_path: Path, target: Path) -> None:
    """SIGKILL at different moments, found by what the child had told; then once more to the end."""
    path = tmp_path / "runs.db"
    async with opened(SqliteEventLog(path, durability="normal")) as log:
        for number in range(60):
            await log.append(
                [started(f"run_{number:02}"), *[warning(f"run_{number:02}", seq) for seq in range(2, 260)], end(f"run_{number:02}", 260)],
                epoch=1,
            )
        for deaths in (1, 9, 30):
            child = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(path), str(target), str(deaths)], env={**os.environ, "PYTHONPATH": "."}
            )
            assert await asyncio.to_thread(child.wait, 60) == -9
        async with opened(SqliteEventLog(target, read_only=True)) as archive:
            there = await archive.find("")
            assert there
            for run_id in there:
                assert await archive.verify(run_id) is None
        report = await archived(log, target)
        assert report.complete
        assert report.fates["there"] >= 10, "what the dead had written is not written again"
        assert (await checked(log, target)).fates == {"there": 60}


_CHILD = """
import asyncio, os, signal, sys
from afk_es.log.archive import archive_runs
from afk_es.log.sqlite import SqliteEventLog

class Mortal(SqliteEventLog):
    left = int(sys.argv[3])
    async def append_rows(self, *given):
        Mortal.left -= 1
        if Mortal.left < 0:
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGKILL)
        await super().append_rows(*given)

async def main():
    log, archive = SqliteEventLog(sys.argv[1], read_only=True), Mortal(sys.argv[2])
    await log.open()
    await archive.open()
    await archive_runs(log, archive)

asyncio.run(main())
"""


async def test_what_is_no_log_of_ours_is_not_written_to(tmp_path: Path, target: Path) -> None:
    async with opened(SqliteEventLog(tmp_path / "runs.db")) as log:
        await ended_run(log, "run_a")
        with closing(sqlite3.connect(target)) as connection:
            connection.execute("CREATE TABLE orders (id INTEGER)")
        before = target.read_bytes()
        with pytest.raises(ForeignLogError):
            await archived(log, target)
        assert target.read_bytes() == before
        text = tmp_path / "notes.txt"
        text.write_text("not a database, and longer than the header of one: " + "x" * 200)
        with pytest.raises(LogError):
            await archived(log, text)
        newer = tmp_path / "newer.db"
        await archived(log, newer)
        with closing(sqlite3.connect(newer)) as connection:
            connection.execute("PRAGMA user_version = 99")
        with pytest.raises(NewerLogError):
            await archived(log, newer)


async def test_only_what_keeps_rows_is_archived_and_never_into_itself(tmp_path: Path, target: Path) -> None:
    async with opened(MemoryEventLog()) as memory:
        assert not isinstance(memory, StoredLog)
        with pytest.raises(UsageError, match="keeps no rows"):
            await archived(memory, target)
    async with opened(SqliteEventLog(target)) as log:
        with pytest.raises(UsageError, match="the log itself"):
            await archived(log, target)
        with pytest.raises(UsageError, match="the log itself"):
            await checked(log, target)


@pytest.mark.parametrize("name", ["v1.db", "v2-file.db"])
async def test_logs_of_older_versions_are_archived_as_they_are(name: str, tmp_path: Path, target: Path) -> None:
    path = tmp_path / name
    path.write_bytes((Path("fixtures/logs") / name).read_bytes())
    async with opened(SqliteEventLog(path, read_only=True)) as log, opened(SqliteEventLog(target)) as archive:
        report = await archive_runs(log, archive)
        assert report.sound
        assert report.fates["copied"]
        for run_id in await archive.find(""):
            assert await rows_of(archive, run_id) == await rows_of(log, run_id)


async def test_runs_are_listed_from_the_first_to_the_last(source: EventLog) -> None:
    async with opened(source) as log:
        for number in range(7):
            await ended_run(log, f"run_{number}")
        first = await log.heads(limit=4)
        rest = await log.heads(after=first[-1].run_id, limit=4)
        assert [head.run_id for head in [*first, *rest]] == [f"run_{number}" for number in range(7)]
        assert first[0] == await log.head("run_0")
        with pytest.raises(RunNotFoundError):
            await log.heads(after="run_none")
