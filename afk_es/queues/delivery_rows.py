"""The statements over the tables `deliveries` and `consumers` of a SQLite log: what is sent, who holds what, until when. Runs none of them.

A row is ready when it may be taken now: it is due, nobody holds it, and in its lane nothing is before it and nothing is held. That is kept
with the row as things change, so that taking reads as many rows as it takes, however many wait for their time or behind others of a lane.
Every list of statements here is one transaction, and leaves that true. Times are microseconds, and the caller's.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from afk_es.log.codec import microseconds
from afk_es.log.port import Statement
from afk_es.machine.values import canonical_json
from afk_es.queues.dispatch import Parcel

VERSION = 1
"""Of the tables."""
DUE_AT_ONCE = 10_000
"""Parcels whose time has come that one taking sees to; the next goes on with the rest."""

_TABLES = (
    """
CREATE TABLE IF NOT EXISTS deliveries (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL, queue TEXT NOT NULL, priority INTEGER NOT NULL, lane TEXT,
  due INTEGER, consumer TEXT, ready INTEGER NOT NULL, CHECK (ready = 0 OR (due IS NULL AND consumer IS NULL))) STRICT""",
    "CREATE TABLE IF NOT EXISTS consumers (consumer TEXT PRIMARY KEY, worker TEXT NOT NULL, until INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS dispatching (version INTEGER PRIMARY KEY) STRICT",
    "CREATE INDEX IF NOT EXISTS deliveries_ready ON deliveries (queue, priority DESC, seq) WHERE ready = 1",
    "CREATE INDEX IF NOT EXISTS deliveries_due ON deliveries (due) WHERE due IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS deliveries_later ON deliveries (task_id) WHERE due IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS deliveries_held ON deliveries (consumer) WHERE consumer IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS deliveries_lanes ON deliveries (lane, priority DESC, seq) WHERE lane IS NOT NULL",
    # Whatever the statements do: of a lane one is ready at most, and one is held.
    "CREATE UNIQUE INDEX IF NOT EXISTS deliveries_next ON deliveries (lane) WHERE lane IS NOT NULL AND ready = 1",
    "CREATE UNIQUE INDEX IF NOT EXISTS deliveries_turn ON deliveries (lane) WHERE lane IS NOT NULL AND consumer IS NOT NULL",
)

_FIRST = "(SELECT o.seq FROM deliveries AS o WHERE o.lane = {lane} ORDER BY o.priority DESC, o.seq LIMIT 1)"
_HELD = "EXISTS (SELECT 1 FROM deliveries AS o WHERE o.lane = {lane} AND o.consumer IS NOT NULL)"
_LIVES = "EXISTS (SELECT 1 FROM consumers WHERE consumer = {consumer} AND until > {now})"

_SEND = """
INSERT INTO deliveries (task_id, queue, priority, lane, due, ready)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
  json_extract(value, '$[4]'), json_extract(value, '$[3]') IS NULL AND json_extract(value, '$[4]') IS NULL
FROM json_each($1) ORDER BY key"""
_UNREADY = "UPDATE deliveries SET ready = 0 WHERE ready = 1 AND lane IN (SELECT value FROM json_each($1))"
_NEXT = f"""
UPDATE deliveries SET ready = 1
WHERE due IS NULL AND seq IN (
  SELECT {_FIRST.format(lane="l.value")} FROM json_each($1) AS l WHERE NOT {_HELD.format(lane="l.value")})"""
_DUE_NOW = f"""
UPDATE deliveries
SET due = NULL, ready = lane IS NULL OR (seq = {_FIRST.format(lane="deliveries.lane")} AND NOT {_HELD.format(lane="deliveries.lane")})
WHERE seq IN """
_PROMOTE = f"{_DUE_NOW}(SELECT seq FROM deliveries WHERE due <= $1 ORDER BY due LIMIT $2)"
_HASTEN = f"{_DUE_NOW}(SELECT seq FROM deliveries WHERE due IS NOT NULL AND task_id IN (SELECT value FROM json_each($1)))"
_READY = "SELECT * FROM (SELECT seq, priority FROM deliveries WHERE ready = 1 AND queue = ${queue} ORDER BY priority DESC, seq LIMIT $3)"
_TAKE = f"""
UPDATE deliveries SET ready = 0, consumer = $1
WHERE {_LIVES.format(consumer="$1", now="$2")} AND seq IN (SELECT seq FROM ({{ready}}) ORDER BY priority DESC, seq LIMIT $3)
RETURNING seq, task_id, queue, lane, priority"""
_LOOK = f"""
SELECT EXISTS (SELECT 1 FROM deliveries WHERE ready = 1 AND queue IN (SELECT value FROM json_each($3))),
  (SELECT min(due) FROM deliveries WHERE due IS NOT NULL)
WHERE {_LIVES.format(consumer="$1", now="$2")}"""
_HOLDING = "SELECT seq, lane FROM deliveries WHERE consumer = $1"
_DONE = f"DELETE FROM deliveries WHERE seq = $1 AND consumer = $2 AND {_LIVES.format(consumer='$2', now='$3')}"
_AGAIN = f"""
UPDATE deliveries SET consumer = NULL, due = $4, ready = lane IS NULL AND $4 IS NULL
WHERE seq = $1 AND consumer = $2 AND {_LIVES.format(consumer="$2", now="$3")}"""

_GONE = "SELECT consumer FROM consumers WHERE until <= $1"
_THIS = "SELECT $1"
# First what comes next in the lanes that are about to be free, which are known by who holds them; then they are.
_FREE_LANES = f"""
UPDATE deliveries SET ready = 1
WHERE due IS NULL AND consumer IS NULL AND seq IN (
  SELECT {_FIRST.format(lane="h.lane")} FROM deliveries AS h WHERE h.lane IS NOT NULL AND h.consumer IN ({{consumers}}))"""
_FREE = f"""
UPDATE deliveries SET consumer = NULL, ready = lane IS NULL OR seq = {_FIRST.format(lane="deliveries.lane")}
WHERE consumer IN ({{consumers}}) RETURNING seq"""
_FORGET = "DELETE FROM consumers WHERE consumer IN ({consumers})"


def making() -> list[Statement]:
    """Make the tables where they are not; the rows of the last statement are their version."""
    known = "INSERT INTO dispatching SELECT $1 WHERE NOT EXISTS (SELECT 1 FROM dispatching)"
    return [*map(Statement, _TABLES), Statement(known, (VERSION,)), Statement("SELECT max(version) FROM dispatching")]


def sending(parcels: Sequence[Parcel]) -> list[Statement]:
    """Send them, in this order."""
    rows = [[each.task_id, each.queue, each.priority, each.lane, _stored(each.not_before)] for each in parcels]
    lanes = sorted({each.lane for each in parcels if each.lane is not None})
    statements = [Statement(_SEND, (canonical_json(rows),))]
    if lanes:
        # A parcel of a higher priority goes before those that wait in its lane.
        statements += [Statement(_UNREADY, (canonical_json(lanes),)), Statement(_NEXT, (canonical_json(lanes),))]
    return statements


def hastening(task_ids: Collection[str]) -> Statement:
    """Let what waits for its time of these tasks be due."""
    return Statement(_HASTEN, (canonical_json(list(task_ids)),))


def joining(consumer: str, worker: str, until: dt.datetime) -> list[Statement]:
    """Be a consumer until then."""
    return [Statement("INSERT INTO consumers (consumer, worker, until) VALUES ($1, $2, $3)", (consumer, worker, microseconds(until)))]


def beating(consumer: str, now: dt.datetime, until: dt.datetime) -> list[Statement]:
    """Be it until then as well; a row where it still was one."""
    sql = "UPDATE consumers SET until = $3 WHERE consumer = $1 AND until > $2 RETURNING 1"
    return [Statement(sql, (consumer, microseconds(now), microseconds(until)))]


def taking(consumer: str, queues: Collection[str], limit: int, now: dt.datetime) -> list[Statement]:
    """Take up to so many; the rows of the last statement are (seq, task id, queue, lane, priority), in any order."""
    names = sorted(set(queues))
    # One look-up of each queue's first, since an index has an order within one queue only.
    ready = " UNION ALL ".join(_READY.format(queue=at) for at, _ in enumerate(names, start=4))
    at = microseconds(now)
    return [Statement(_PROMOTE, (at, DUE_AT_ONCE)), Statement(_TAKE.format(ready=ready), (consumer, at, limit, *names))]


def looking(consumer: str, queues: Collection[str], now: dt.datetime) -> Statement:
    """Whether there is something to take, and when the next parcel that waits for its time is due; no row where the lease is over."""
    return Statement(_LOOK, (consumer, microseconds(now), canonical_json(sorted(set(queues)))))


def holding(consumer: str) -> Statement:
    """What the consumer holds, as rows of (seq, lane)."""
    return Statement(_HOLDING, (consumer,))


def bearing(seq: int, consumer: str, first: int) -> Statement:
    """A row where it bears the consumer's name: nobody else is given it as long as it does, whatever the time is."""
    return Statement(f"SELECT 1 FROM deliveries WHERE seq = ${first} AND consumer = ${first + 1}", (seq, consumer))


def finishing(seq: int, consumer: str, lane: str | None, now: dt.datetime) -> list[Statement]:
    """Deliver it no more, if the consumer holds it."""
    return [Statement(_DONE, (seq, consumer, microseconds(now))), *_next(lane)]


def returning(seq: int, consumer: str, lane: str | None, now: dt.datetime, due: dt.datetime | None) -> list[Statement]:
    """Deliver it again, if the consumer holds it."""
    return [Statement(_AGAIN, (seq, consumer, microseconds(now), _stored(due))), *_next(lane)]


def leaving(consumer: str) -> list[Statement]:
    """Give back all that it holds, and be no consumer any more."""
    return _freeing(_THIS, consumer)


def recovering(now: dt.datetime) -> list[Statement]:
    """The same for all whose lease is over; the rows of the second statement are what they held."""
    return _freeing(_GONE, microseconds(now))


def _freeing(consumers: str, which: str | int) -> list[Statement]:
    return [Statement(sql.format(consumers=consumers), (which,)) for sql in (_FREE_LANES, _FREE, _FORGET)]


def _next(lane: str | None) -> list[Statement]:
    return [] if lane is None else [Statement(_NEXT, (canonical_json([lane]),))]


def _stored(at: dt.datetime | None) -> int | None:
    return None if at is None else microseconds(at)
