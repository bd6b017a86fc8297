"""Files of others: whatever is in them, a verb says what is wrong or shows what is there, soon, in little memory, and writes nothing."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from afk_es.cli import VERBS
from afk_es.errors import ForeignLogError
from afk_es.log import open_log
from tests.security.hostile_files import LOGS, official_schema, special_files, transcripts, triggered
from tests.security.test_terminal import LONG
from tests.support.stories import Stories

GIGABYTES = 1.0
"""Address space of the process that reads: some 0.4 are its own code."""

READING: dict[str, tuple[str, ...]] = {
    "runs": (),
    "log": (),
    "show": (),
    "triage": (),
    "why": (),
    "state": (),
    "context": (),
    "diff": ("@last", "@last"),
    "check": ("--no-errors",),
    "find": ("x",),
    "trace": ("--print", "seq"),
    "stats": (),
    "bisect": ("--expr", "seq > 3"),
    "approvals": (),
    "tickets": (),
    "telemetry": (),
    "export": ("--to", "html"),
    "verify": (),
    "debug": ("--batch", "-e", "where"),
    "doctor": (),
    "archive": ("--to", "{beside}/archived.db"),
    "queue": ("list",),
}
"""The verbs that look into a log, and what they need beside it."""

WRITING: dict[str, tuple[str, ...]] = {
    "approve": ("@last",),
    "deny": ("@last",),
    "answer": ("@last", "yes"),
    "pause": ("@last",),
    "unpause": ("@last",),
    "cancel": ("@last",),
    "interrupt": ("@last",),
    "resolve": ("@last", "t"),
    "fail": ("@last", "t", "--error", "x"),
    "compact": ("thread", "--max-turns", "1"),
}

OTHERS = frozenset(
    {
        "a2a",
        "demo",
        "run",
        "eval",
        "golden",
        "resume",
        "policy",
        "fork",
        "import",
        "export",
        "spec",
        "explore",
        "mcp",
        "mcp-config",
        "worker",
    }
)
"""Verbs that read no log, or need an agent of the user's as well."""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Calls verbs in a process with little memory, which ends itself where a call takes too long."""
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.security.reading_child", str(GIGABYTES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "AFK_ES_CACHE": os.devnull},
    )
    asked, answers = process.stdin, process.stdout
    assert asked is not None
    assert answers is not None

    def call(*words: str) -> dict[str, Any]:
        asked.write(json.dumps(words) + "\n")
        asked.flush()
        line = answers.readline()
        assert line, f"it took too long, or too much: {words}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    yield call
    process.kill()
    process.communicate()


def test_every_verb_is_one_of_these() -> None:
    """A new verb says whether it looks into logs."""
    assert set(VERBS) == set(READING) | set(WRITING) | OTHERS


@pytest.mark.parametrize("kind", LOGS)
def test_a_hostile_log_is_an_error_or_a_view_and_stays_as_it_is(kind: str, stories: Stories, tmp_path: Path, ask: Ask) -> None:
    log = tmp_path / "log.db"
    LOGS[kind](stories.log, log)
    before = log.read_bytes()
    wrong = []
    # In the gate every third verb, another third for the next kind.
    for verb, words in [*READING.items()][0 if LONG else [*LOGS].index(kind) % 3 :: 1 if LONG else 3]:
        answer = ask(verb, *(word.format(beside=tmp_path) for word in words), "--db", str(log))
        if answer["traceback"] or answer["code"] not in (0, 1, 3, 4):
            wrong.append((verb, answer["code"], answer["said"], answer["traceback"]))
    assert not wrong
    assert log.read_bytes() == before


@pytest.mark.parametrize("verb", WRITING)
def test_no_code_of_a_file_runs_with_our_writes(verb: str, stories: Stories, tmp_path: Path, ask: Ask) -> None:
    """Its triggers would answer its own questions, and delete what others need."""
    log = tmp_path / "log.db"
    triggered(stories.log, log)
    before = log.read_bytes()
    answer = ask(verb, *WRITING[verb], "--db", str(log))
    assert answer["traceback"] is None
    assert answer["code"] in (2, 3)
    if answer["code"] == 3:
        assert "a trigger on" in answer["said"]
    with closing(sqlite3.connect(log)) as connection:
        assert connection.execute("SELECT count(*) FROM letters WHERE message = 'yes'").fetchone() == (0,)
    assert log.read_bytes() == before


async def test_a_log_with_triggers_of_theirs_is_not_opened_for_writing(stories: Stories, tmp_path: Path) -> None:
    triggered(stories.log, tmp_path / "log.db")
    with pytest.raises(ForeignLogError, match="a trigger on events that is not ours"):
        await open_log(tmp_path / "log.db").open()


@pytest.mark.parametrize(
    "changed",
    [
        ("'run_started'", "'run_started--' || '\n'"),
        ("NEW.seq = 1", "NEW.seq = 1 /* ' */ + 0 -- '\n"),
        ("BEFORE UPDATE ON events BEGIN", "BEFORE UPDATE ON events WHEN 1--\n=2\nBEGIN"),
    ],
    ids=["a comment in a text", "a text in a comment", "a condition behind a comment"],
)
async def test_a_trigger_is_not_ours_by_looking_alike(changed: tuple[str, str], tmp_path: Path) -> None:
    """Comments may change between versions of ours, and nothing else: so they are told from texts as SQLite does it."""
    ours, theirs = changed
    schema = official_schema()
    assert ours in schema
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript(schema.replace(ours, theirs, 1))
        connection.executescript(f"PRAGMA application_id={0x61666B31}; PRAGMA user_version=3;")
    with pytest.raises(ForeignLogError):
        await open_log(tmp_path / "log.db").open()


async def test_comments_and_spaces_do_not_matter(tmp_path: Path) -> None:
    """The fixtures of older versions have others; see tests/log."""
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        connection.executescript(official_schema().replace(" -- NULL: none", " /* nothing's there */").replace("  AND", "\n AND"))
        connection.executescript(f"PRAGMA application_id={0x61666B31}; PRAGMA user_version=3;")
    log = open_log(tmp_path / "log.db")
    await log.open()
    await log.close()


def test_what_is_no_file_is_neither_waited_for_nor_read_without_end(tmp_path: Path, ask: Ask) -> None:
    wrong: list[object] = []
    for name, path in special_files(tmp_path).items():
        for words in (
            ("runs", "--db", str(path)),
            ("show", str(path)),
            ("doctor", "--db", str(path)),
            ("cancel", "@last", "--db", str(path)),
            ("import", str(path), "--db", str(tmp_path / "new.db")),
            ("golden", "list", str(path)),
            ("show", "--db", f"{path}.golden.jsonl"),
        ):
            answer = ask(*words)
            if answer["traceback"] or (
                answer["code"] == 0 and words[:1] != ("doctor",) and words[:2] != ("golden", "list") and name != "a directory"
            ):
                wrong.append((name, words, answer))
    assert not wrong


def test_transcripts_of_others_are_refused_or_read(tmp_path: Path, ask: Ask) -> None:
    """As what they look like, and as what somebody says that they are."""
    wrong: list[object] = []
    for name, path in transcripts(tmp_path).items():
        forms = ("chat", "atif", "jsonl", "golden") if name.startswith("a") or LONG else ("golden",)
        for number, words in enumerate(((), *(("--as", form) for form in forms))):
            answer = ask("import", str(path), *words, "--db", str(tmp_path / f"{path.stem}-{number}.db"))
            if answer["traceback"] or answer["code"] not in (0, 1, 2, 3, 4):
                wrong.append((name, words, answer))
    assert not wrong


@settings(
    derandomize=True, max_examples=int(os.environ.get("AFK_ES_EXAMPLES", "25")), deadline=None, suppress_health_check=list(HealthCheck)
)
@given(edits=st.lists(st.tuples(st.integers(0, 2**30), st.binary(min_size=1, max_size=8)), min_size=1, max_size=12), data=st.data())
def test_flipped_bytes_end_in_an_error_or_a_view(
    edits: list[tuple[int, bytes]], data: st.DataObject, stories: Stories, tmp_path_factory: pytest.TempPathFactory, ask: Ask
) -> None:
    """Bytes anywhere in the file are others. AFK_ES_EXAMPLES=2000 for a longer look."""
    log = tmp_path_factory.mktemp("flipped") / "log.db"
    content = bytearray(stories.log.read_bytes())
    for place, noise in edits:
        begin = place % (len(content) - len(noise))
        content[begin : begin + len(noise)] = noise
    log.write_bytes(bytes(content))
    verb = data.draw(st.sampled_from(sorted(READING)))
    answer = ask(verb, *(word.format(beside=log.parent) for word in READING[verb]), "--db", str(log))
    assert answer["traceback"] is None, answer
    assert answer["code"] in (0, 1, 3, 4), answer
    assert log.read_bytes() == bytes(content)
