"""Files that somebody may hand us as a log, a golden or a transcript: each a way to break, hang, fill or deceive whoever opens it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

Maker = Callable[[Path, Path], None]
"""Makes a file from a sound log."""

LARGE = 5_000_000
"""Characters of what is large: more than anybody reads, less than a test may hold several times."""


def _copied(source: Path, target: Path) -> sqlite3.Connection:
    """A copy without the triggers that guard it."""
    shutil.copy(source, target)
    connection = sqlite3.connect(target, isolation_level=None)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    return connection


def _edited(*statements: str) -> Maker:
    def make(source: Path, target: Path) -> None:
        connection = _copied(source, target)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    return make


def _untyped(table: str, *statements: str) -> Maker:
    """The table takes anything, and says that it is ours: what a file may hold that no SQLite of ours has written."""

    def make(source: Path, target: Path) -> None:
        connection = _copied(source, target)
        (ours,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
        columns = ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("PRAGMA legacy_alter_table=ON")
        connection.execute(f"ALTER TABLE {table} RENAME TO theirs")
        key = columns.split(", ")[0]
        rest = ", ".join(columns.split(", ")[1:])
        unique = ", UNIQUE (run, seq)" if table == "events" else ", UNIQUE (run_id)" if table == "runs" else ""
        connection.execute(f"CREATE TABLE {table} ({key} INTEGER PRIMARY KEY, {rest}{unique})")
        connection.execute(f"INSERT INTO {table} SELECT * FROM theirs")
        connection.execute("DROP TABLE theirs")
        for statement in statements:
            connection.execute(statement)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?", (ours, table))
        connection.close()

    return make


def _first(sets: str) -> str:
    return f"UPDATE events SET {sets} WHERE position = (SELECT max(position) FROM events WHERE type = 'run_started')"


def _data(value: str, kind: str = "run_started") -> str:
    return f"UPDATE events SET data = {value} WHERE type = '{kind}'"


def _view(source: Path, target: Path) -> None:
    """A query without end in the place of the events."""
    connection = _copied(source, target)
    connection.execute("ALTER TABLE events RENAME TO kept")
    connection.execute(
        "CREATE VIEW events AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
        "SELECT kept.*, n.i AS more FROM n, kept WHERE kept.seq = n.i % 100"
    )
    connection.close()


def _generated(source: Path, target: Path) -> None:
    """A column of gigabytes that takes no place in the file."""
    connection = _copied(source, target)
    (sql,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'events'").fetchone()
    bomb = "data           TEXT NOT NULL GENERATED ALWAYS AS (printf('%.*c', 1000000000, 'x'))"
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'events'", (sql.replace("data           TEXT NOT NULL", bomb),))
    connection.close()


def triggered(source: Path, target: Path) -> None:
    """A log that answers its own questions, and whose every append brings more."""
    shutil.copy(source, target)
    connection = sqlite3.connect(target)
    connection.executescript(
        "CREATE TRIGGER friend AFTER INSERT ON events BEGIN "
        "INSERT INTO letters (run, at, type, message, data) SELECT run, 0, 'approval_resolved', 'yes', '{}' FROM runs; END;"
        "CREATE TRIGGER other AFTER INSERT ON letters BEGIN DELETE FROM parts; END;"
    )
    connection.close()


def _cyclic_forks(source: Path, target: Path) -> None:
    _untyped(
        "forks",
        "INSERT INTO forks SELECT run, 1 + (run % (SELECT count(*) FROM runs)), 3 FROM runs WHERE run NOT IN (SELECT run FROM forks)",
    )(source, target)


def _truncated(source: Path, target: Path) -> None:
    content = source.read_bytes()
    target.write_bytes(content[: len(content) // 2])


def _page_of_noise(source: Path, target: Path) -> None:
    content = bytearray(source.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = bytes(index * 7 % 251 for index in range(4096))
    target.write_bytes(bytes(content))


LOGS: dict[str, Maker] = {
    "a view in the place of the events": _view,
    "a generated column": _generated,
    "triggers of theirs": triggered,
    "text where a time belongs": _untyped("events", _first("at = 'soon'")),
    "blobs where text belongs": _untyped("events", _first("type = x'ff00', state = 7, message = 1.5")),
    "a blob where JSON belongs": _untyped("events", _first("data = x'ff'")),
    "numbers where ids belong": _untyped("runs", "UPDATE runs SET run_id = 17, thread_id = x'00ff' WHERE run = 1"),
    "a time after the end of time": _edited(_first("at = 9223372036854775807")),
    "a time before its beginning": _edited(_first("at = -9223372036854775808")),
    "a step beyond counting": _edited(_first("step = 9223372036854775807, schema_version = 9223372036854775807")),
    "a seq beyond counting": _edited(_first("seq = 9223372036854775807, epoch = 9223372036854775807")),
    "lists within lists": _edited(_data(f"'{{\"a\":' || '{'[' * 100_000}{']' * 100_000}' || '}}'")),
    "a text of five million characters": _edited(
        f"UPDATE events SET data = json_set(data, '$.output', printf('%.*c', {LARGE}, 'x')) "
        "WHERE position = (SELECT max(position) FROM events WHERE type = 'tool_completed')"
    ),
    "a number of ten thousand digits": _edited(_data(f'\'{{"context": {{"n": {"9" * 10_000}}}}}\'')),
    "a number beyond floats": _edited(_data("json_set(data, '$.cost_usd', 1e308, '$.latency_ms', 1e308)", "llm_completed")),
    "no number": _edited(_data("'{\"cost_usd\": NaN}'", "llm_completed")),
    "keys that stand twice": _edited(_data("'{\"tool_calls\": [], ' || substr(data, 2)", "llm_completed")),
    "half of a surrogate": _edited(_data('\'{"agent_name": "\\ud800"}\'')),
    "texts where records belong": _edited(
        _data("json_set(data, '$.agent', 'me', '$.parent', 'you', '$.history', 'then', '$.forked_from', 1)")
    ),
    "a run that is its own parent": _edited(
        _data("json_set(data, '$.parent', json_object('run_id', (SELECT run_id FROM runs WHERE run = events.run), 'tool_call_id', 'c'))")
    ),
    "a run that follows itself": _edited(
        _data("json_set(data, '$.history', json_array(json_object('run_id', (SELECT run_id FROM runs WHERE run = events.run), 'seq', 5)))")
    ),
    "a run that is a fork of itself": _edited(
        _data("json_set(data, '$.forked_from', json_object('run_id', (SELECT run_id FROM runs WHERE run = events.run), 'seq', 5))")
    ),
    "a subagent that is its own parent": _edited(
        _data("json_set(data, '$.run_id', (SELECT run_id FROM runs WHERE run = events.run))", "subagent_started")
    ),
    "forks in a circle": _cyclic_forks,
    "a part that is missing": _edited("DELETE FROM parts"),
    "a part that is another": _edited("UPDATE parts SET content = '[]'"),
    "a run without events": _edited("INSERT INTO runs (run_id, thread_id) VALUES ('run_none', 't')"),
    "events of no run": _edited("DELETE FROM runs"),
    "a letter of nonsense": _edited(
        "INSERT INTO letters (run, at, type, message, data) SELECT run, -9223372036854775808, 'x', 'y', '[' FROM runs"
    ),
    "half a file": _truncated,
    "a page of noise": _page_of_noise,
}
"""Logs, each wrong in one way."""


def special_files(directory: Path) -> dict[str, Path]:
    """What a path may lead to that is no file."""
    fifo, loop, folder, nothing = directory / "fifo.db", directory / "loop.db", directory / "folder.db", directory / "nothing.db"
    os.mkfifo(fifo)
    loop.symlink_to(loop)
    folder.mkdir()
    nothing.write_bytes(b"")
    far = directory / "far.db"
    far.symlink_to("/dev/zero")
    return {"a pipe": fifo, "a link to itself": loop, "a directory": folder, "an empty file": nothing, "a link to zeros without end": far}


def transcripts(directory: Path) -> dict[str, Path]:
    """What may be offered to `import`."""
    made = {
        "zip": b"PK\x03\x04" + b"\0" * 100,
        "gzip": b"\x1f\x8b" + b"\0" * 100,
        "nested": b'[{"role": "user", "content": ' + b"[" * 50_000 + b"]" * 50_000 + b"}]",
        "unclosed": b"[" * 300_000,
        "digits": b'[{"role": "user", "content": ' + b"9" * 200_000 + b"}]",
        "exponent": b'[{"role": "user", "content": "x", "cost": 1e999999999}]',
        "twice": b'[{"role": "user", "role": "system", "content": "x", "content": []}]',
        "nan": b'[{"role": "user", "content": NaN}]',
        "surrogate": b'[{"role": "user", "content": "\\ud800"}]',
        "nul": b"\0" * 1_000,
        "long": b'[{"role": "user", "content": "' + b"x" * LARGE + b'"}]',
        "many calls": json.dumps(
            [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "[" * 5_000}}] * 500}]
        ).encode(),
        "an export": b'{"schema": "afk_es.export/1", "runs": [{"run_id": "../../x", "events": 1e400}]}\n{"schema": "afk_es.event/1", "seq": -1}',
        "an atif": b'{"schema_version": "ATIF-v1.7", "agent": {"name": "a"}, "steps": [{"step_id": 1, "source": "../", "message": {}}]}',
        "a golden": b'{"schema": "afk_es.golden/1", "name": "../../x", "runs": ["' + b"r" * 100_000 + b'"]}\n{"kind": "run"}',
    }
    found = {}
    for name, content in made.items():
        found[name] = directory / f"{name.replace(' ', '_')}.{'golden.jsonl' if name == 'a golden' else 'json'}"
        found[name].write_bytes(content)
    return found


def official_schema() -> str:
    """Our own schema, for whoever compares."""
    return files("afk_es.log").joinpath("schema.sql").read_text("utf-8")
