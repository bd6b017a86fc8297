"""`doctor` finds what is wrong, says the way out of each, and changes nothing."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import re
import sqlite3
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es.cli import health
from afk_es.cli.health import LIBRARIES, Library, megabytes
from afk_es.cli.invocation import Invocation
from afk_es.cli.log_health import log_health
from afk_es.clock import SimulatedClock
from afk_es.log.owners import Owners
from tests.cli.conftest import ROOT, Afk

Ran = Callable[..., str]


def _findings(afk: Afk, *arguments: str, **env: str) -> dict[str, dict[str, Any]]:
    told = json.loads(afk("doctor", "--format", "json", *arguments, env=env).stdout)
    assert told["schema"] == "afk_es.doctor/1"
    return {finding["name"]: finding for finding in told["findings"]}


def test_a_sound_machine_is_told_so_line_by_line(afk: Afk, ran: Ran, log: Path) -> None:
    run_id = ran()
    result = afk("doctor")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "nothing is wrong"
    found = _findings(afk)
    assert found["log"]["facts"]["last_run"] == run_id
    assert found["log"]["facts"]["bytes"] == log.stat().st_size
    assert found["log"]["facts"]["named_by"] == "AFK_ES_LOG"
    assert set(found) >= {"python", "sqlite", "terminal", "log", "disk", "locks", "clock", "keys", *(each.name for each in LIBRARIES)}
    lines = [json.loads(line) for line in afk("doctor", "--format", "jsonl").stdout.splitlines()]
    assert [line["name"] for line in lines] == list(found)


def test_looking_changes_nothing(afk: Afk, ran: Ran, log: Path) -> None:
    ran()
    left = log.with_name(log.name + "-owners") / "owner_gone.lock"
    left.parent.mkdir(exist_ok=True)
    left.write_text("pid 1 on elsewhere\n")
    before = log.read_bytes(), log.stat().st_mtime_ns, left.read_bytes(), left.stat().st_mtime_ns
    assert afk("doctor").exit_code == 0
    assert before == (log.read_bytes(), log.stat().st_mtime_ns, left.read_bytes(), left.stat().st_mtime_ns)


def test_a_log_that_is_not_there_yet_is_nothing_wrong_and_is_not_made(afk: Afk, log: Path) -> None:
    result = afk("doctor")
    assert result.exit_code == 0
    assert "is not there yet; the first run makes it" in result.stdout
    assert not log.exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_place_that_cannot_be_written_is_wrong(afk: Afk, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert afk("doctor", "--db", str(closed / "sub" / "log.db")).exit_code == 1


@pytest.mark.parametrize(("content", "told"), [(b"not a database" * 100, "is not a SQLite database"), (b"", "is empty")])
def test_a_file_that_is_no_log_is_wrong_with_the_way_out(afk: Afk, log: Path, content: bytes, told: str) -> None:
    log.write_bytes(content)
    result = afk("doctor")
    assert result.exit_code == 1
    assert told in result.stdout
    assert result.stdout.splitlines()[-1] == "1 thing wrong"


@pytest.mark.parametrize("named", [":memory:", "/", "mysql://x/y"])
def test_what_names_no_file_is_wrong(afk: Afk, named: str) -> None:
    assert afk("doctor", "--db", named).exit_code == 1


def test_a_log_of_a_newer_version_is_wrong(afk: Afk, ran: Ran, log: Path) -> None:
    ran()
    with sqlite3.connect(log) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "upgrade afk_es" in _findings(afk)["log"]["said"]


def test_lock_files_of_the_living_and_of_the_dead_are_told_apart(afk: Afk, ran: Ran, log: Path) -> None:
    ran()
    living = Owners(log, "owner_living")
    living.hold()
    try:
        (log.with_name(log.name + "-owners") / "owner_dead.lock").write_text("pid 1 on elsewhere\n")
        found = _findings(afk)["locks"]
    finally:
        living.release()
    assert found["standing"] == "note"
    assert "owner_dead.lock" in found["said"]
    assert "owner_living" not in found["said"]
    assert found["way_out"]


@pytest.mark.parametrize(
    ("start", "standing", "told"),
    [
        (dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "wrong", "before there was an afk_es"),
        (dt.datetime(2025, 6, 1, tzinfo=dt.UTC), "wrong", "ahead of it"),
        (dt.datetime(2100, 1, 1, tzinfo=dt.UTC), "ok", "after the log's last event"),
    ],
)
def test_a_clock_behind_the_log_is_wrong(ran: Ran, log: Path, start: dt.datetime, standing: str, told: str) -> None:
    """It cannot be synchronous: the log was written by the machine's clock, and the one looked at is set."""
    import asyncio

    ran()
    found = {each.name: each for each in asyncio.run(log_health(Invocation(str(log)), SimulatedClock(start)))}
    assert found["clock"].standing == standing
    assert told in found["clock"].said


def test_little_room_is_wrong(afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    result = afk("doctor")
    assert result.exit_code == 1
    assert "make room" in result.stdout


@pytest.mark.parametrize(
    ("content", "standing"),
    [
        ('preset = "less"\n', "ok"),
        ('[keys]\n"debug.next" = "s"\n', "ok"),
        ('[keys]\n"debug.nothing" = "s"\n', "wrong"),
        ("no toml", "wrong"),
    ],
)
def test_the_users_keys_are_checked_without_the_app(afk: Afk, tmp_path: Path, content: str, standing: str) -> None:
    path = tmp_path / "afk_es" / "keys.toml"
    path.parent.mkdir()
    path.write_text(content)
    found = _findings(afk, XDG_CONFIG_HOME=str(tmp_path))["keys"]
    assert found["standing"] == standing
    assert str(path) in found["said"]


# ------------------------------------------------------------------------------------------------------------------------- libraries


def test_a_missing_library_is_wrong_and_a_missing_extra_a_note() -> None:
    needed = health.library(Library("no-such-library-of-ours", "1", None, "this test"))
    extra = health.library(Library("no-such-library-of-ours", "1", "otel", "this test"))
    assert (needed.standing, extra.standing) == ("wrong", "note")
    assert needed.way_out == f"{sys.executable} -m pip install 'no-such-library-of-ours>=1'"
    assert extra.way_out.endswith("'afk-es[otel]'")


def test_an_old_and_a_poisoned_library_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "version", lambda name: "1.82.7")
    (litellm,) = (each for each in LIBRARIES if each.name == "litellm")
    assert "poisoned" in health.library(litellm).said
    monkeypatch.setattr(health, "version", lambda name: "1.105.9rc1")
    assert "is older than 1.106" in health.library(litellm).said


def test_the_bug_of_an_old_sqlite_is_a_note() -> None:
    assert (health.sqlite((3, 51, 2)).standing, health.sqlite((3, 51, 3)).standing) == ("note", "ok")


def test_the_libraries_are_those_of_pyproject() -> None:
    """A library that is added there, or raised, is added here."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    bringing: dict[str, set[str | None]] = {line: {None} for line in project["dependencies"]}
    for extra in ("testing", "mcp", "a2a", "otel"):
        for line in project["optional-dependencies"][extra]:
            bringing.setdefault(line, set()).add(extra)
    listed = {f"{each.name}>={each.least}": each.extra for each in LIBRARIES}
    assert len(listed) == len(LIBRARIES)
    for line, extras in bringing.items():
        # One that several extras bring is listed with one of them.
        assert listed[re.sub(r"\[.*?\]", "", line.partition(",")[0])] in extras, line


def test_no_library_is_imported_to_be_asked_for_its_version(afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert importlib.metadata.version("litellm")
    loaded = "litellm" in sys.modules
    assert afk("doctor").exit_code == 0
    assert ("litellm" in sys.modules) == loaded


# --------------------------------------------------------------------------------------------------------------------------- terminal


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": ""}, "16 million"),
        ({"TERM": "xterm-256color", "COLORTERM": "", "NO_COLOR": ""}, "256"),
        ({"TERM": "xterm", "COLORTERM": "", "NO_COLOR": ""}, "16"),
        ({"TERM": "xterm", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "no"),
        ({"TERM": "dumb", "COLORTERM": "", "NO_COLOR": ""}, "no"),
    ],
)
def test_colours_are_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], told: str) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert health.colours(tty=True) == told
    assert health.colours(tty=False) == "no"


@pytest.mark.parametrize(("size", "told"), [(0, "0 B"), (2048, "2.0 KB"), (5 * 1024**2, "5.0 MB"), (3 * 1024**3, "3.0 GB")])
def test_a_size_is_for_people(size: int, told: str) -> None:
    assert megabytes(size) == told
