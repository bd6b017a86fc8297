"""Goal: a URL names a log, and its password is for the server alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from afk_es.errors import ConfigurationError, LogUnavailableError
from afk_es.log import open_log
from afk_es.log.location import name_of
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.postgres_address import address_of, without_secrets


@pytest.mark.parametrize(
    ("url", "dsn", "schema", "shown"),
    [
        ("postgresql://h/d", "postgresql://h/d", "afk_es", "postgresql://h/d"),
        ("postgres://h/d", "postgresql://h/d", "afk_es", "postgresql://h/d"),
        ("postgresql://u:pw@h:5433/d", "postgresql://u:pw@h:5433/d", "afk_es", "postgresql://u@h:5433/d"),
        ("postgresql://u:p%40w@h/d?schema=team_1", "postgresql://u:p%40w@h/d", "team_1", "postgresql://u@h/d?schema=team_1"),
        ("postgresql://u@a:1,b:2/d", "postgresql://u@a:1,b:2/d", "afk_es", "postgresql://u@a:1,b:2/d"),
        ("postgresql://[::1]:5432/d", "postgresql://[::1]:5432/d", "afk_es", "postgresql://[::1]:5432/d"),
        (
            "postgresql:///d?host=/run/pg&password=pw&sslmode=require",
            "postgresql:///d?host=/run/pg&password=pw&sslmode=require",
            "afk_es",
            "postgresql:///d?host=/run/pg&sslmode=require",
        ),
    ],
)
def test_a_url_is_what_the_driver_gets_a_schema_and_what_people_see(url: str, dsn: str, schema: str, shown: str) -> None:
    assert address_of(url) == (dsn, schema, shown)
    log = open_log(url)
    assert isinstance(log, PostgresEventLog)
    assert log.location == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:se#cret@h/d",
        "postgresql://u:se/cret@h/d",
        "postgresql://u:1/cret@h/d",
        "postgresql://u:se?cret@h/d",
        "postgresql://h:secret/d",
        "postgresql://[secret/d",
        "postgresql://h/d?secret",
    ],
)
def test_a_url_that_is_wrong_is_refused_without_a_word_of_it(url: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-escape") as refused:
        open_log(url)
    assert "cret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("schema", ["", "Upper", "pg_mine", "a b", 'a"; DROP', "1a", "x" * 64])
def test_a_schema_has_a_name_that_needs_no_quotes(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be the schema of a log"):
        PostgresEventLog("postgresql://h/d", schema=schema)


def test_options_that_cannot_work_are_refused() -> None:
    for options in ({"durability": "none"}, {"reconnect_s": -1.0}, {"timeout_s": 0.0}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            PostgresEventLog("postgresql://h/d", **options)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("runs.db", "runs.db"),
        ("postgresql://u:pw@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@w@h/d", "postgresql://u@h/d"),
        ("postgresql+psycopg://u:pw@h/d", "postgresql+psycopg://u@h/d"),
        ("postgresql://h/d?password=pw&x=1", "postgresql://h/d?password=...&x=1"),
    ],
)
def test_what_people_see_of_a_text_has_no_password(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_another_scheme_is_told_what_is_legal_without_its_password() -> None:
    with pytest.raises(ConfigurationError, match=r"postgresql://user@host/database") as refused:
        open_log("postgresql+asyncpg://u:secret@h/d")
    assert "secret" not in str(refused.value)


def test_what_leaves_this_machine_says_no_host() -> None:
    assert name_of("postgresql://u:pw@db.internal/agents?schema=team_1") == "agents.team_1"
    assert name_of("/home/me/runs.db") == "runs.db"


async def test_a_place_whose_password_was_told_before_is_opened_by_how_it_is_shown() -> None:
    """The debugger's app opens the log of a run for writing by its `location`."""
    known = address_of("postgresql://u:pw@known.example/d")
    assert address_of(known.shown).dsn == known.dsn
    assert address_of("postgresql://u@other.example/d").dsn == "postgresql://u@other.example/d"


async def test_a_server_that_is_not_there_is_said_at_once_and_without_the_password(tmp_path: object) -> None:
    log = open_log(f"postgresql://u:secret@/d?host={tmp_path}")
    with pytest.raises(LogUnavailableError, match="the server cannot be reached") as refused:
        await log.open()
    assert "secret" not in str(refused.value)
    await log.close()


async def test_what_the_driver_has_against_a_url_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="sslmode") as refused:
        await open_log("postgresql://u:secret@h/d?sslmode=perhaps").open()
    assert "secret" not in str(refused.value)


def test_without_the_driver_it_is_said_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['asyncpg'] = None\nfrom afk_es.errors import ConfigurationError\nfrom afk_es.log import open_log\n"
        "try:\n    open_log('postgresql://u:secret@h/d')\nexcept ImportError as error:\n"
        "    assert isinstance(error, ConfigurationError)\n    print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=_importing())
    assert 'pip install "afk-es[postgres]"' in ended.stdout
    assert "secret" not in ended.stdout


def _importing() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
