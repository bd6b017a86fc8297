"""The SQL of tasks, one text for SQLite and PostgreSQL, and how a row becomes a `TaskItem`. It decides nothing.

Each change is one statement that names the states from which it may come (`TRANSITIONS`) and, where only the present attempt's worker may
make it, the attempt's number; it gives the row's id back where it was made. Casts tell PostgreSQL the type of a parameter that stands alone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from afk_es.errors import CorruptLogError
from afk_es.log.codec import microseconds, moment
from afk_es.log.port import Statement
from afk_es.queues.items import Progress, TaskItem, TaskState
from afk_es.queues.transitions import states

LONGEST_LIST = 1_000
"""Rows that one statement gives or takes by their ids."""

NEVER = 2**63 - 1
"""The time at which a task is due that waits for somebody."""

_COLUMNS = (
    "id, queue, contract, payload, state, priority, dedup_key, lane, max_attempts, created_at, updated_at, due_at, attempts, failures, "
    "crashes, given_back, previous, worker, error, error_type, result, result_in_log, progress, cancel_requested, position"
)
_ADDED = (
    "id, queue, contract, payload, state, priority, dedup_key, lane, max_attempts, created_at, updated_at, due_at, attempts, failures, "
    "crashes, given_back, result_in_log, cancel_requested, sent, offered_at"
)
_ADDED_ROW = "(${}, ${}, ${}, ${}, 'queued', ${}, ${}, ${}, ${}, ${}, ${}, ${}, 0, 0, 0, 0, 0, 0, ${}, ${})"
_PARAMETERS = 13
ADDED_AT_ONCE = 100
"""Rows that one statement adds: most of its cost is that of being sent."""


def adding(items: Sequence[TaskItem], *, sent: bool) -> Statement:
    """Adds tasks; a constraint refuses one that is there already."""
    rows: list[str] = []
    values: list[Any] = []
    for item in items:
        rows.append(_ADDED_ROW.format(*range(len(values) + 1, len(values) + 1 + _PARAMETERS)))
        created = microseconds(item.created_at)
        due = created if item.not_before is None else max(created, microseconds(item.not_before))
        values += [item.id, item.queue, item.contract, msgspec.json.encode(item.payload).decode(), item.priority, item.key, item.lane]
        values += [item.max_attempts, created, created, due, int(sent), created]
    return Statement(f"INSERT INTO tasks ({_ADDED}) VALUES {', '.join(rows)}", tuple(values))


def of_ids(ids: Sequence[str]) -> Statement:
    """The tasks with these ids, in no order."""
    return Statement(f"SELECT {_COLUMNS} FROM tasks WHERE id IN ({_places(len(ids), 1)})", tuple(ids))


def beginning(parameters: tuple[Any, ...], held: Statement | None) -> Statement:
    """Begin an attempt, where this query, if there is one, finds a row."""
    if held is None:
        return Statement(BEGIN, parameters)
    change, returning = BEGIN.split("\nRETURNING ")
    return Statement(f"{change}\n  AND EXISTS ({held.sql})\nRETURNING {returning}", (*parameters, *held.parameters))


def _places(number: int, first: int) -> str:
    return ", ".join(f"${place}" for place in range(first, first + number))


def listing(queue: str | None, state: str | None, contract: str | None, limit: int, before: str | None) -> Statement:
    """The newest first. A queue is in its index by state: of all states it is read as six lists of which each is in order."""
    parameters: list[Any] = [limit]

    def place(value: str) -> str:
        parameters.append(value)
        return f"${len(parameters)}"

    filters = [f"{column} = {place(value)}" for column, value in (("queue", queue), ("state", state), ("contract", contract)) if value]
    if before is not None:
        filters.append(f"position < (SELECT position FROM tasks WHERE id = {place(before)})")
    if queue is not None and state is None:
        branches = [_page([*filters, f"state = '{each}'"]) for each in ("queued", "running", "waiting", "completed", "dead", "cancelled")]
        sql = f"SELECT {_COLUMNS} FROM ({' UNION ALL '.join(f'SELECT * FROM ({each}) AS page' for each in branches)}) AS pages"
        return Statement(f"{sql} ORDER BY position DESC LIMIT $1", tuple(parameters))
    return Statement(_page(filters), tuple(parameters))


def _page(filters: Sequence[str]) -> str:
    where = f" WHERE {' AND '.join(filters)}" if filters else ""
    return f"SELECT {_COLUMNS} FROM tasks{where} ORDER BY position DESC LIMIT $1"


FIND = "SELECT id FROM tasks WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3"

KNOWN = "SELECT 1 FROM tasks WHERE id = $1"

BEGIN = f"""
UPDATE tasks SET
  previous = CASE WHEN state = 'running' THEN 'cut' ELSE previous END,
  crashes = crashes + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
  state = 'running', attempts = attempts + 1, worker = $2, updated_at = $3, sent = 1
WHERE id = $1 AND state IN ({states("begin")})
RETURNING {_COLUMNS}"""

FREE_IN_BEGIN = 4
"""The first number that `BEGIN` has for parameters of others."""

PROGRESS = f"""
UPDATE tasks SET progress = $3, updated_at = $4 WHERE id = $1 AND attempts = $2 AND state IN ({states("progress")}) RETURNING id"""

COMPLETE = f"""
UPDATE tasks SET state = 'completed', result = $3, result_in_log = $4, error = NULL, error_type = NULL, updated_at = $5, ended_at = $5
WHERE id = $1 AND attempts = $2 AND state IN ({states("complete")}) RETURNING id"""

FAILED = f"""
UPDATE tasks SET state = 'queued', previous = coalesce($7, 'failed'), failures = failures + 1, given_back = 0, error = $3, error_type = $4,
  due_at = $5, updated_at = $6
WHERE id = $1 AND attempts = $2 AND state IN ({states("again")}) RETURNING id"""

GIVEN_BACK = f"""
UPDATE tasks SET state = 'queued', previous = coalesce($7, 'given_back'), given_back = given_back + 1, error = coalesce($3, error),
  error_type = coalesce($4, error_type), due_at = $5, updated_at = $6
WHERE id = $1 AND attempts = $2 AND state IN ({states("again")}) RETURNING id"""

BURY = f"""
UPDATE tasks SET state = 'dead', previous = 'failed', failures = failures + 1, error = $3, error_type = $4, updated_at = $5
WHERE id = $1 AND attempts = $2 AND state IN ({states("bury")}) RETURNING id"""

WAIT = f"""
UPDATE tasks SET state = 'waiting', previous = 'waited', given_back = 0, error = $3, error_type = NULL, due_at = $4, updated_at = $5
WHERE id = $1 AND attempts = $2 AND state IN ({states("wait")}) RETURNING id"""

_HAS_IT = f"EXISTS (SELECT 1 FROM tasks WHERE id = $1 AND attempts = $2 AND state IN ({states('wait')}))"

# Both come before `WAIT`, and where that comes to nothing so do they.
FORGET = f"DELETE FROM awaited WHERE task_id = $1 AND {_HAS_IT}"
AWAIT = f"""
INSERT INTO awaited (task_id, run_id, letter) SELECT CAST($1 AS text), CAST($3 AS text), CAST($4 AS bigint) WHERE {_HAS_IT} ON CONFLICT (task_id, run_id) DO NOTHING"""

END_CANCELLED = f"""
UPDATE tasks SET state = 'cancelled', error = NULL, error_type = NULL, updated_at = $3, ended_at = $3
WHERE id = $1 AND attempts = $2 AND state IN ({states("end_cancelled")}) RETURNING id"""

# Asked by a connection that only reads: most often there is none, and nobody who writes is kept waiting by the look at all that wait. The
# tables of the log are only read. A task that was called off before its run was in the log has no letter that says so.
AWAKENED = """
SELECT t.id FROM tasks AS t
WHERE t.state = 'waiting' AND (t.due_at <= $1 OR t.cancel_requested = 1 OR EXISTS (
  SELECT 1 FROM awaited AS a JOIN runs AS r ON r.run_id = a.run_id JOIN letters AS l ON l.run = r.run
  WHERE a.task_id = t.id AND l.position > a.letter))
ORDER BY t.position LIMIT $2"""


def awakening(ids: Sequence[str], at: int) -> Statement:
    """Queues those of these tasks that wait."""
    return Statement(
        f"UPDATE tasks SET state = 'queued', error = NULL, due_at = $1, updated_at = $1, sent = 0, offered_at = $1 "
        f"WHERE id IN ({_places(len(ids), 2)}) AND state IN ({states('awaken')}) RETURNING {_COLUMNS}",
        (at, *ids),
    )


_CALLED_OFF = "state = 'queued' AND attempts = 0"

CANCEL = f"""
UPDATE tasks SET
  state = CASE WHEN {_CALLED_OFF} THEN 'cancelled' WHEN state = 'waiting' THEN 'queued' ELSE state END,
  ended_at = CASE WHEN {_CALLED_OFF} THEN CAST($2 AS bigint) END,
  sent = CASE WHEN {_CALLED_OFF} OR state = 'running' THEN 1 ELSE 0 END,
  due_at = CASE WHEN {_CALLED_OFF} OR state = 'running' THEN due_at ELSE $2 END,
  cancel_requested = 1, updated_at = $2, offered_at = $2
WHERE id = $1 AND state IN ({states("cancel")})
RETURNING {_COLUMNS}"""

REVIVE = f"""
UPDATE tasks SET state = 'queued', previous = 'revived', failures = 0, crashes = 0, given_back = 0, cancel_requested = 0, due_at = $2,
  updated_at = $3, sent = 0, offered_at = $3
WHERE id = $1 AND state IN ({states("revive")}) RETURNING {_COLUMNS}"""

DISCARD = f"DELETE FROM tasks WHERE id = $1 AND state IN ({states('discard')}) RETURNING id"

# By this column alone, which a dead task has not: of the state as well, SQLite would rather go through all that are completed.
ENDED = "SELECT id FROM tasks WHERE ended_at < $1 ORDER BY ended_at LIMIT $2"


def purging(ids: Sequence[str]) -> Statement:
    """Removes those of these tasks that have ended."""
    return Statement(f"DELETE FROM tasks WHERE id IN ({_places(len(ids), 1)}) AND state IN ({states('purge')}) RETURNING id", tuple(ids))


# What was not sent is queued: whatever takes a task out of that state sees to it.
UNSENT = "SELECT id FROM tasks WHERE sent = 0 AND offered_at < $1 ORDER BY position LIMIT $2"


def undertaking(ids: Sequence[str], before: int, at: int) -> Statement:
    """Notes that the caller sends these tasks: for a while nobody else is given them."""
    return Statement(
        f"UPDATE tasks SET offered_at = $1 WHERE id IN ({_places(len(ids), 3)}) AND sent = 0 AND offered_at < $2 RETURNING {_COLUMNS}",
        (at, before, *ids),
    )


def marking_sent(ids: Sequence[str]) -> Statement:
    """Notes that the engine has them."""
    return Statement(f"UPDATE tasks SET sent = 1 WHERE sent = 0 AND id IN ({_places(len(ids), 1)})", tuple(ids))


def tidying(ids: Sequence[str]) -> Statement:
    """Forgets what tasks waited for that do so no longer."""
    return Statement(
        f"DELETE FROM awaited WHERE task_id IN ({_places(len(ids), 1)}) AND NOT EXISTS "
        "(SELECT 1 FROM tasks WHERE id = task_id AND state IN ('running', 'waiting'))",
        tuple(ids),
    )


# Counted in an index alone. The oldest of each queue is the first in another.
COUNTS = "SELECT queue, state, count(*) FROM tasks GROUP BY queue, state"

OLDEST = "SELECT min(due_at) FROM tasks WHERE queue = $1 AND state = 'queued'"


def in_order(rows: Sequence[Sequence[Any]]) -> tuple[TaskItem, ...]:
    """The tasks of rows that a change gave back, in the order in which they were pushed."""
    return tuple(map(task_item, sorted(rows, key=lambda row: row[24])))


_STATES = frozenset(get_args(TaskState))
_PAYLOAD = msgspec.json.Decoder(dict[str, Any])
_PROGRESS = msgspec.json.Decoder(Progress)


def task_item(row: Sequence[Any]) -> TaskItem:
    """The task of a row of the columns that every statement here gives.

    Raises:
        CorruptLogError: it is none that was written here.
    """
    try:
        return _task_item(row)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise CorruptLogError(
            f"task {row[0]} in the list of tasks is damaged ({error}); its run, if it has begun, is in the log"
        ) from error


def _task_item(row: Sequence[Any]) -> TaskItem:
    due, created = row[11], row[9]
    if row[4] not in _STATES:
        raise ValueError(f"no state {row[4]!r}")
    return TaskItem(
        id=row[0],
        queue=row[1],
        contract=row[2],
        payload=_PAYLOAD.decode(row[3]),
        state=row[4],
        priority=row[5],
        key=row[6],
        lane=row[7],
        max_attempts=row[8],
        created_at=moment(created),
        updated_at=moment(row[10]),
        not_before=moment(due) if created < due < NEVER else None,
        attempts=row[12],
        failures=row[13],
        crashes=row[14],
        worker=row[17],
        error=row[18],
        error_type=row[19],
        result=None if row[20] is None else msgspec.json.decode(row[20]),
        result_in_log=bool(row[21]),
        progress=Progress() if row[22] is None else _PROGRESS.decode(row[22]),
        cancel_requested=bool(row[23]),
    )


def age_s(at: dt.datetime, due: int) -> float:
    """Seconds since a task was due."""
    return (microseconds(at) - due) / 1e6
