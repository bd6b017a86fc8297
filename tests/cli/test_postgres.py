"""A log on PostgreSQL is named by its URL wherever a log is named, and its password is shown nowhere."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from afk_es.cli.debug import _page
from afk_es.cli.reading import Name
from afk_es.log import EventLog, open_log
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from tests.cli.conftest import Afk

PASSWORD = "s3cret-pw"

Ran = Callable[..., str]


@pytest.fixture
def log(postgres_log: str) -> str:
    """The log of the test is a schema; the server lets everybody in, so the password is there only to be hidden."""
    return postgres_log.replace("postgres@", f"postgres:{PASSWORD}@")


@pytest.mark.parametrize("named_by", ["environment", "option"])
def test_every_verb_takes_its_url(afk: Afk, ran: Ran, log: str, tmp_path: Path, named_by: str) -> None:
    run_id = ran()
    where, environment = (["--db", log], {"AFK_ES_LOG": "nowhere.db"}) if named_by == "option" else ([], {})
    environment |= {"PYTEST_XDIST_WORKER": "", "CI": ""}  # Goldens are written neither by one of several workers nor where nobody looks.
    told = []
    verbs: tuple[tuple[str, ...], ...] = (
        ("runs",),
        ("runs", "--format", "json"),
        ("log", run_id),
        ("show", run_id),
        ("verify",),
        ("state", run_id),
        ("diff", run_id, run_id),
        ("triage", run_id),
        ("stats",),
        ("find", run_id, "It is"),
        ("context", run_id),
        ("why", run_id),
        ("debug", "--batch", run_id, "-e", "end", "-e", "where"),
        ("export", run_id, "--to", "md"),
        ("export", run_id, "--to", "db", "-o", str(tmp_path / "archived.db")),
        ("golden", "record", run_id, "-o", str(tmp_path / "adder.golden.jsonl")),
        ("approvals",),
    )
    # Where a log is that nobody names is found in one place for all verbs; the option is each verb's own.
    for words in verbs if named_by == "option" else [verb for verb in verbs if verb[0] in ("runs", "show", "debug", "export")]:
        result = afk(*words, *where, env=environment)
        assert result.exit_code == 0, (words, result.output, result.exception)
        told.append(result.output)
    assert run_id[4:16] in told[0]
    for text in [*told, *(file.read_bytes().decode(errors="replace") for file in tmp_path.iterdir() if file.is_file())]:
        assert PASSWORD not in text
    assert afk("verify", f"{tmp_path / 'archived.db'}").exit_code == 0


def test_a_url_alone_names_a_log_and_its_last_run(afk: Afk, ran: Ran, log: str) -> None:
    run_id = ran()
    assert run_id in afk("show", log, env={"AFK_ES_LOG": "nowhere.db"}).stdout


def test_a_run_is_resumed_and_answered_by_url(afk: Afk, agents: str, log: str) -> None:
    result = afk("run", f"{agents}:agent", "1 and 2", "--db", log)
    assert (result.exit_code, result.stdout) == (0, "It is 3.\n")
    assert PASSWORD not in result.output
    run_id = next(word for word in result.stderr.split() if word.startswith("run_"))
    told = afk("cancel", run_id, "--by", "ann", "--db", log)
    assert PASSWORD not in told.output


@pytest.mark.parametrize("words", [("runs",), ("log", "run_x"), ("doctor",), ("verify",), ("import", "x.json")])
def test_a_server_that_is_not_there_is_one_line_without_the_password(afk: Afk, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "x.json").write_text('[{"role": "user", "content": "hi"}]')
    words = tuple(str(tmp_path / word) if word == "x.json" else word for word in words)
    result = afk(*words, "--db", f"postgresql://me:{PASSWORD}@/agents?host={tmp_path}")
    assert result.exit_code in (1, 3)
    assert "the server cannot be reached" in result.output
    assert "postgresql://me@/agents" in result.output
    assert PASSWORD not in result.output


def test_a_run_is_copied_between_stores_to_the_byte(afk: Afk, agents: str, log: str, tmp_path: Path) -> None:
    """SQLite to PostgreSQL and back: the same events, with the same links of the same hash chain."""
    first, back, file = str(tmp_path / "first.db"), str(tmp_path / "back.db"), str(tmp_path / "run.jsonl")
    result = afk("run", f"{agents}:agent", "1 and 2", "--db", first)
    run_id = next(word for word in result.stderr.split() if word.startswith("run_"))
    for source, target in ((first, log), (log, back)):
        assert afk("export", run_id, "--to", "jsonl", "--no-redact", "-o", file, "--force", "--db", source).exit_code == 0
        given = afk("import", file, "--db", target)
        assert given.exit_code == 0, given.output
        assert afk("verify", "--db", target).exit_code == 0

    async def stored(store: EventLog) -> tuple[list[AgentRunEvent], list[str | None]]:
        await store.open()
        try:
            events = await store.read(run_id)
            return events, [await store.link(run_id, event.seq) for event in events]
        finally:
            await store.close()

    original, there, again = (asyncio.run(stored(store)) for store in (SqliteEventLog(first), open_log(log), SqliteEventLog(back)))
    assert original == there
    assert original == again


def test_doctor_knows_the_server(afk: Afk, ran: Ran, log: str) -> None:
    run_id = ran()
    told = json.loads(afk("doctor", "--format", "json").stdout)
    found = {finding["name"]: finding for finding in told["findings"]}
    facts = found["log"]["facts"]
    assert (found["log"]["standing"], facts["last_run"], facts["schema_version"]) == ("ok", run_id, 1)
    assert facts["size_bytes"] > 0
    assert found["grants"]["standing"] == "note", "a superuser may change anything"
    assert found["durability"]["said"].startswith("fsync is off") if facts["fsync"] == "off" else "durability" not in found
    assert found["connections"]["said"].split()[1:3] == ["of", "200"]
    assert PASSWORD not in json.dumps(told)


def test_a_page_in_a_browser_gets_the_url_from_its_environment(log: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments of a process can be read by everybody on the machine."""
    monkeypatch.setenv("AFK_ES_LOG", "elsewhere.db")
    words = _page(Name(log, "@last", True), None, None, "dark", False, (), None)
    assert PASSWORD not in " ".join(words)
    assert os.environ["AFK_ES_LOG"] == log
