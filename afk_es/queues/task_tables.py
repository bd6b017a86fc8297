"""The tables of tasks beside a log: made once, recognised at every opening, refused where they are not ours. Knows no task.

They are in the log's own file or schema, so that a task and the first event of its run are written in one transaction. One text describes
them for SQLite and for PostgreSQL. Whoever opens only the log does not look at them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from afk_es.errors import ForeignLogError, NewerLogError
from afk_es.log.port import DatabaseLog, Statement
from afk_es.log.sqlite_schema import foreign, made_by, objects_of

VERSION = 1
"""Of these tables, in `afk_es_tasks`."""

TABLES = ("afk_es_tasks", "tasks", "awaited", "workers")

# Times are microseconds since 1970, UTC, by the clock of whoever writes: the database's own is nobody's. `sent`, `cancel_requested`,
# `result_in_log` and `draining` are 0 or 1. `offered_at` is when somebody undertook to send the task. `ended_at` is when it was completed or
# cancelled: a dead one waits for an operator. A row of `awaited` is a run whose letters behind that position awaken the task.
#
# Indexes are dear, since each change of a task's state writes to them, so there is one for each question and none to spare: how many tasks
# are in which state, and which of a queue (tasks_by_queue); which are in a state (tasks_by_state); of a contract (tasks_by_contract); since
# when the oldest is due (tasks_due); what was never sent (tasks_unsent); what ended long ago (tasks_ended). Columns that change while a task
# runs are in none, so that PostgreSQL writes progress in place.
_SCRIPT = """
CREATE TABLE IF NOT EXISTS afk_es_tasks (
  version {integer} NOT NULL PRIMARY KEY
){strict};

CREATE TABLE IF NOT EXISTS tasks (
  position {key},
  id {text} NOT NULL UNIQUE,
  queue {text} NOT NULL,
  contract {text} NOT NULL,
  payload {text} NOT NULL,
  state {text} NOT NULL,
  priority {integer} NOT NULL,
  dedup_key {text},
  lane {text},
  max_attempts {integer} NOT NULL,
  created_at {integer} NOT NULL,
  updated_at {integer} NOT NULL,
  due_at {integer} NOT NULL,
  ended_at {integer},
  attempts {integer} NOT NULL,
  failures {integer} NOT NULL,
  crashes {integer} NOT NULL,
  given_back {integer} NOT NULL,
  previous {text},
  worker {text},
  error {text},
  error_type {text},
  result {text},
  result_in_log {integer} NOT NULL,
  progress {text},
  cancel_requested {integer} NOT NULL,
  sent {integer} NOT NULL,
  offered_at {integer} NOT NULL
){strict};

CREATE INDEX IF NOT EXISTS tasks_by_queue ON tasks (queue, state, position);
CREATE INDEX IF NOT EXISTS tasks_by_state ON tasks (state, position);
CREATE INDEX IF NOT EXISTS tasks_by_contract ON tasks (contract, position);
CREATE INDEX IF NOT EXISTS tasks_due ON tasks (queue, due_at) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS tasks_unsent ON tasks (position) WHERE sent = 0;
CREATE INDEX IF NOT EXISTS tasks_ended ON tasks (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE IF NOT EXISTS awaited (
  task_id {text} NOT NULL,
  run_id {text} NOT NULL,
  letter {integer} NOT NULL,
  PRIMARY KEY (task_id, run_id)
){strict};

CREATE TABLE IF NOT EXISTS workers (
  worker {text} NOT NULL PRIMARY KEY,
  host {text} NOT NULL,
  pid {integer} NOT NULL,
  queues {text} NOT NULL,
  slots {integer} NOT NULL,
  busy {integer} NOT NULL,
  draining {integer} NOT NULL,
  started_at {integer} NOT NULL,
  seen_at {integer} NOT NULL,
  alive_until {integer} NOT NULL
){strict};
"""

_WORDS = {
    "sqlite": {"integer": "INTEGER", "text": "TEXT", "key": "INTEGER PRIMARY KEY", "strict": " STRICT"},
    "postgresql": {
        "integer": "bigint",
        "text": 'text COLLATE "C"',
        "key": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "strict": "",
    },
}

_ONE_AT_A_TIME = Statement("SELECT pg_advisory_xact_lock(1634102124, hashtext(current_schema() || '.afk_es_tasks'))")
"""PostgreSQL's CREATE ... IF NOT EXISTS fails where another session is making the same thing."""

_MARK = Statement("INSERT INTO afk_es_tasks (version) VALUES ($1) ON CONFLICT DO NOTHING", (VERSION,))
_FOUND_VERSION = Statement("SELECT max(version) FROM afk_es_tasks")

# What is in the place of each table, and whether it is one whose rows are what was written: without rules, triggers or rows that are hidden.
_OBJECTS = Statement(f"""
SELECT c.relname::text,
  c.relkind = 'r' AND NOT c.relhasrules AND NOT c.relrowsecurity
    AND NOT EXISTS (SELECT FROM pg_trigger AS t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal),
  (SELECT coalesce(string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), nullif(a.attgenerated, '')), ', '
    ORDER BY a.attnum), '') FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace(current_schema()) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND c.relname IN ({", ".join(f"'{table}'" for table in TABLES)})""")

_COLUMN = re.compile(r"^  ([a-z_]+) \{(integer|text|key)\}", re.MULTILINE)


async def has_tables(log: DatabaseLog, shown: str) -> bool:
    """Whether the tables of this version are there.

    Args:
        shown: the log, for messages.

    Raises:
        NewerLogError: they were made by a newer afk_es.
        ForeignLogError: something is in their place that we did not make.
        LogError: they could not be looked at.
    """
    # The version before the columns: those of a newer one are others.
    found = await _found(log)
    if not found:
        return False
    _refuse(shown, found.get("afk_es_tasks", "no table afk_es_tasks, which says what its tables of tasks are"))
    ((version,),) = await log.query(_FOUND_VERSION)
    if version is not None and version > VERSION:
        raise NewerLogError(
            f"the log {shown} has tables of tasks of version {version}, this afk_es understands up to {VERSION}; upgrade afk_es to use them"
        )
    for table in TABLES:
        _refuse(shown, found.get(table, f"no table {table}, but others of tasks"))
    return version is not None


async def make_tables(log: DatabaseLog) -> None:
    """Make the tables. Any number of processes may do it at once."""
    making = [*([_ONE_AT_A_TIME] if log.dialect == "postgresql" else []), *map(Statement, _statements(log.dialect)), _MARK]
    await log.transact(making)


def _refuse(shown: str, fault: str | None) -> None:
    if fault is not None:
        raise ForeignLogError(f"the log {shown} has {fault}; its tasks are not touched. Ask whoever made it, or keep tasks in another log")


async def _found(log: DatabaseLog) -> dict[str, str | None]:
    """What is in the place of our tables: for each the reason why it is not ours, or None. What there is not is not in it."""
    if log.dialect == "sqlite":
        rows = await log.query(Statement(objects_of(TABLES)))
        return {table: foreign(_of_table(rows, table), writing=True, ours=_ours()) for table in {row[2].lower() for row in rows}}
    rows = await log.query(_OBJECTS)
    columns = _columns()
    return {
        name: None
        if plain and described == columns[name]
        else f"something in the place of the table {name} that is not the one that we make"
        for name, plain, described in rows
    }


def _of_table(rows: Sequence[tuple[str, str, str, str | None]], table: str) -> list[tuple[str, str, str, str | None]]:
    return [row for row in rows if row[2].lower() == table]


@cache
def _ours() -> dict[tuple[str, str], str]:
    return made_by(";".join(_statements("sqlite")), objects_of(TABLES))


@cache
def _columns() -> dict[str, str]:
    """Our tables' columns, as PostgreSQL describes them."""
    types = {"integer": "bigint", "key": "bigint", "text": "text"}
    found = {}
    for piece in _SCRIPT.split("CREATE TABLE IF NOT EXISTS ")[1:]:
        found[piece.partition(" ")[0]] = ", ".join(f"{name} {types[kind]}" for name, kind in _COLUMN.findall(piece))
    return found


def _statements(dialect: str) -> list[str]:
    return [statement.strip() for statement in _SCRIPT.format(**_WORDS[dialect]).split(";") if statement.strip()]
