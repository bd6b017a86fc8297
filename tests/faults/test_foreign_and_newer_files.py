"""Goal: a file that is no log of ours, or one of a newer version, is refused with the way out and left as it is, by whoever is given it.

Method: the same files given to a Runner, to a store that reads only, and to the command line.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from afk_es.core import Runner
from afk_es.errors import CorruptLogError, ForeignLogError, LogFormatError, NewerLogError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.log.sqlite_file import FILE_VERSION
from afk_es.testing.log_contract import begin, event
from tests.core.scenario import agent, model_of, says

ROOT = Path(__file__).parents[2]


def a_text(path: Path) -> None:
    path.write_text("minutes of a meeting\n" * 400)


def their_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE events (theirs TEXT)")
        connection.commit()


def a_log_of_tomorrow(path: Path) -> None:
    _recorded(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {FILE_VERSION + 1}")


def half_a_log(path: Path) -> None:
    _recorded(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _recorded(path: Path) -> None:
    async def record() -> None:
        log = SqliteEventLog(path)
        await log.open()
        await begin(log, "run_a")
        await log.close()

    asyncio.run(record())


FILES: dict[Callable[[Path], None], tuple[type[LogFormatError], str, int]] = {
    a_text: (ForeignLogError, "is not a SQLite database; name another path", 3),
    their_database: (ForeignLogError, "is a database of another application, not an afk_es log; name another path", 3),
    a_log_of_tomorrow: (NewerLogError, "upgrade afk_es to use it", 3),
    half_a_log: (CorruptLogError, "it is damaged; keep a copy", 4),
}
"""Per file the error, the way out in its message, and the exit code of the command line."""


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_a_runner_refuses_it_before_the_model_is_asked(tmp_path: Path, make: Callable[[Path], None]) -> None:
    kind, way_out, _ = FILES[make]
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes()
    described = agent([says("hello")])
    with pytest.raises(kind) as caught:
        Runner(log=path).run_sync(described, user_message="go")
    assert str(path) in str(caught.value)
    assert way_out in str(caught.value)
    assert model_of(described).requests == []
    assert path.read_bytes() == before


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_the_command_line_says_so_in_one_line(tmp_path: Path, make: Callable[[Path], None]) -> None:
    _, way_out, code = FILES[make]
    path = tmp_path / "runs.db"
    make(path)
    before = path.read_bytes()
    command = [sys.executable, "-m", "afk_es.cli", "runs", "--db", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert way_out in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert path.read_bytes() == before


async def test_an_event_of_a_newer_version_is_refused_by_name_and_the_others_are_read(tmp_path: Path) -> None:
    """The file is ours; one event in it was written by a newer afk_es, which a run cannot be gone on with behind its back."""
    path = tmp_path / "runs.db"
    log = SqliteEventLog(path)
    await log.open()
    await begin(log, "run_a")
    await log.append([event("run_a", 6, "warning", {"kind": "k"})], epoch=1)
    await log.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("DROP TRIGGER events_stay; UPDATE events SET schema_version = 99 WHERE seq = 6")
    await log.open()
    with pytest.raises(NewerLogError, match=r"run_a, seq 6: warning has schema version 99.*upgrade afk_es"):
        await log.read("run_a")
    assert len(await log.read("run_a", limit=5)) == 5
    await log.close()
    async with Runner(log=path) as runner:
        with pytest.raises(NewerLogError, match="seq 6"):
            await runner.resume(agent([says("hello")]), run_id="run_a")
