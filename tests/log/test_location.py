"""Goal: a caller's words for a place become the store that is meant, or an error that says what is legal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.log import default_location, open_log
from afk_es.log.location import file_beside
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("runs.db", "runs.db"),
        (Path("a") / "runs.db", "a/runs.db"),
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite:////var/a%20b/runs.db", "/var/a b/runs.db"),
        ("~/runs.db", str(Path.home() / "runs.db")),
    ],
)
def test_a_path_or_url_is_a_file(location: str | Path, path: str) -> None:
    log = open_log(location)
    assert isinstance(log, SqliteEventLog)
    assert log.location == path


def test_what_belongs_to_a_log_is_kept_beside_its_file_or_in_the_users_state_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "state"))
    assert file_beside(open_log("runs.db"), "-x.db") == tmp_path / "runs.db-x.db"
    assert file_beside(open_log(tmp_path / "a" / "runs.db"), "-x.db") == tmp_path / "a" / "runs.db-x.db"
    assert file_beside(open_log(":memory:"), "-x.db") is None
    urls = (
        "postgresql://me:s3cret@db/agents",
        "postgresql://me@db/agents",
        "postgresql://me@elsewhere/agents",
        "postgresql://me@db/agents?schema=b",
    )
    places = [file_beside(open_log(url), "-x.db") for url in urls]
    assert places[0] == places[1], "the password is no part of a log's name"
    assert len(set(places)) == 3
    for place in places:
        assert place is not None
        assert place.is_relative_to(tmp_path / "state")
        assert place.name.startswith("agents.")
        assert "s3cret" not in place.name


def test_memory_and_stores() -> None:
    log = open_log(":memory:")
    assert isinstance(log, MemoryEventLog)
    assert open_log(log) is log


@pytest.mark.parametrize(
    "location", ["", "mysql://host/db", "sqlite://runs.db", "sqlite:///", "sqlite:///a.db?mode=ro", "sqlite:///a#b", 3, None, b"x"]
)
def test_anything_else_is_told_what_is_legal(location: Any) -> None:
    with pytest.raises(ConfigurationError, match=r'a path, "sqlite:///relative/path"'):
        open_log(location)


@pytest.mark.parametrize("location", [".", "/", Path(), "sqlite:////"])
def test_a_directory_without_a_name_is_no_file(location: Any) -> None:
    with pytest.raises(ConfigurationError, match="name a file in it, such as"):
        open_log(location)


def test_options_that_cannot_work_are_refused_before_a_file_is_touched(tmp_path: Path) -> None:
    for options in ({"durability": "none"}, {"busy_timeout_s": -1}, {"max_size_bytes": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            SqliteEventLog(tmp_path / "runs.db", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("environment", "platform", "expected"),
    [
        ({"AFK_ES_LOG": ":memory:", "XDG_STATE_HOME": "/state"}, "linux", ":memory:"),
        ({"XDG_STATE_HOME": "/state"}, "linux", "/state/afk_es/runs.db"),
        ({"XDG_STATE_HOME": "relative"}, "linux", "~/.local/state/afk_es/runs.db"),
        ({}, "linux", "~/.local/state/afk_es/runs.db"),
        ({}, "darwin", "~/Library/Application Support/afk_es/runs.db"),
        ({"LOCALAPPDATA": "/local"}, "win32", "/local/afk_es/runs.db"),
    ],
)
def test_the_default_is_the_users_state_directory(environment: dict[str, str], platform: str, expected: str) -> None:
    assert default_location(environment, platform) == expected.replace("~", str(Path.home()), 1)
