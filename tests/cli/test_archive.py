"""Goal: `afk-es archive` says what it did and what it left, and with which exit code a log may go."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

import pytest

from afk_es.log.sqlite import SqliteEventLog
from afk_es.queues import TaskItem
from afk_es.queues.records import TaskRecords
from tests.cli.conftest import Afk
from tests.support.stories import Stories


@pytest.fixture
def target(tmp_path: Path) -> str:
    return str(tmp_path / "archive.db")


def test_an_archive_is_opened_like_any_log(afk: Afk, stories: Stories, target: str) -> None:
    done = afk("archive", "--db", str(stories.log), "--to", target)
    assert done.exit_code == 0, done.output
    assert "12 copied, 1 open" in done.stdout
    assert "run_crashed  open: it has not ended, and may go on: resume it, or end it with `afk-es cancel`" in done.stdout
    opening: tuple[tuple[str, ...], ...] = (
        ("verify",),
        ("runs",),
        ("show", "run_team"),
        ("debug", "--batch", "run_complete", "-e", "where"),
    )
    for words in opening:
        found = afk(*words, "--db", target)
        assert found.exit_code == 0, found.output
    for words in (("log", "run_team", "--format", "json"), ("context", "run_complete", "--format", "json"), ("triage", "run_failing")):
        assert afk(*words, "--db", target).stdout == afk(*words, "--db", str(stories.log)).stdout, words


def test_whether_a_log_may_go_is_an_exit_code(afk: Afk, stories: Stories, tmp_path: Path, target: str) -> None:
    log = str(stories.copied(tmp_path).log)
    assert afk("archive", "--db", log, "--check", target).exit_code == 3, "there is no archive yet"
    assert afk("archive", "--db", log, "--to", target).exit_code == 0
    refused = afk("archive", "--db", log, "--check", target)
    assert refused.exit_code == 1
    assert "not all of it is there, and ended: keep the log" in refused.stdout
    assert afk("cancel", "run_crashed", "--db", log).exit_code == 0
    assert afk("archive", "--db", log, "--check", target).exit_code == 1
    again = afk("archive", "--db", log, "--to", target)
    assert "12 there already" in again.stdout
    assert "1 copied" in again.stdout
    good = afk("archive", "--db", log, "--check", target)
    assert good.exit_code == 0
    assert "all of the log is in the archive; if nobody writes to it any more, it may go" in good.stdout


def test_a_log_whose_queue_still_has_tasks_stays(afk: Afk, stories: Stories, tmp_path: Path, target: str) -> None:
    """A task that no worker has begun has no run yet, and would be gone with the log."""
    log = str(stories.copied(tmp_path).log)
    assert afk("cancel", "run_crashed", "--db", log).exit_code == 0
    assert afk("archive", "--db", log, "--to", target).exit_code == 0
    assert afk("archive", "--db", log, "--check", target).exit_code == 0

    async def change(end: bool) -> None:
        store = SqliteEventLog(log)
        await store.open()
        records = TaskRecords(store)
        await records.open()
        at = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)
        if end:
            await records.cancel("task_1")
        else:
            await records.add([TaskItem(id="task_1", queue="q", contract="c", payload={}, state="queued", created_at=at, updated_at=at)])
        await store.close()

    asyncio.run(change(end=False))
    refused = afk("archive", "--db", log, "--check", target)
    assert refused.exit_code == 1
    assert "its queues have tasks: 1 queued; let workers end them" in refused.stdout
    told = json.loads(afk("archive", "--db", log, "--check", target, "--format", "json").stdout)
    assert (told["complete"], told["tasks"], told["may_go"]) == (True, {"queued": 1}, False)
    asyncio.run(change(end=True))
    assert afk("archive", "--db", log, "--check", target).exit_code == 0


def test_its_figures_are_json(afk: Afk, stories: Stories, target: str) -> None:
    told = json.loads(afk("archive", "--db", str(stories.log), "--to", target, "--format", "json").stdout)
    assert told["schema"] == "afk_es.archive/1"
    assert (told["runs"], told["fates"], told["complete"], told["sound"]) == (13, {"copied": 12, "open": 1}, False, True)
    assert told["left"][0]["run_id"] == "run_crashed"
    lines = [
        json.loads(line) for line in afk("archive", "--db", str(stories.log), "--check", target, "--format", "jsonl").stdout.splitlines()
    ]
    assert {line["schema"] for line in lines} == {"afk_es.archived_run/1"}
    assert len(lines) == 13


def test_what_differs_is_a_matter_of_integrity(afk: Afk, stories: Stories, tmp_path: Path, target: str) -> None:
    other = str(stories.copied(tmp_path).log)
    assert afk("cancel", "run_crashed", "--db", other).exit_code == 0
    assert afk("archive", "--db", other, "--to", target).exit_code == 0
    (tmp_path / "third").mkdir()
    third = stories.copied(tmp_path / "third").log
    assert afk("interrupt", "run_crashed", "--db", str(third)).exit_code == 0
    assert afk("cancel", "run_crashed", "--db", str(third)).exit_code == 0
    refused = afk("archive", "--db", str(third), "--to", target)
    assert refused.exit_code == 4
    assert "another run of this id" in refused.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "--to FILE copies to it, --check FILE compares with it"),
        (("--to", "a.db", "--check", "a.db"), "--to FILE copies to it"),
        (("--check", "a.db", "--thread", "t"), "leave out --ended-before and --thread"),
        (("--to", "postgresql://host/db"), "an archive is a file"),
        (("--to", ":memory:"), "gone with its process"),
        (("--to", "{tmp}"), "is a directory"),
        (("--to", "a.db", "--ended-before", "soon"), "--ended-before 'soon' is no time"),
        (("--to", "a.db", "--ended-before", "999999w"), "is no time"),
        (("--to", "{log}"), "is the log itself"),
        (("--to", "{tmp}/same.db"), "is the log itself"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_written(
    afk: Afk, stories: Stories, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    log = stories.copied(tmp_path).log
    (tmp_path / "same.db").symlink_to(log)
    before = log.read_bytes()
    refused = afk("archive", "--db", str(log), *(word.format(tmp=tmp_path, log=log) for word in words))
    assert refused.exit_code == 2, refused.output
    assert said in refused.output
    assert not (tmp_path / "a.db").exists()
    assert log.read_bytes() == before


def test_a_log_that_is_not_there_makes_no_archive(afk: Afk, tmp_path: Path, target: str) -> None:
    assert afk("archive", "--db", str(tmp_path / "none.db"), "--to", target).exit_code == 3
    assert not Path(target).exists()
