"""The processes of the benchmark of queues: a worker, and the bare loop that its store is measured by. Neither knows who measures."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg

from afk_es.log.location import open_log
from afk_es.queues import TaskQueue, Worker
from afk_es.tools import tool
from tests.benchmarks.workload import agent
from tests.support.zygote import Said

Group = list[tuple[Any, ...]]
"""The rows of one commit."""


@tool(idempotent=True)
async def note(text: str) -> str:
    """Take note."""
    return text


async def work(say: Said, job: dict[str, Any]) -> None:
    """Be a worker until SIGTERM; begin when the parent says so."""
    log = open_log(job["log"])
    async with TaskQueue(log, agents=[agent(2)]) as queue:
        worker = Worker(queue, agents=[agent(2)], handlers=[note], max_concurrency=job["at_once"])
        ended = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
        say("ready")
        await _released(Path(job["go"]))
        async with worker:
            await ended.wait()
    await log.close()


async def bare(say: Said, job: dict[str, Any]) -> None:
    """Do what a store has to do at the least for so many runs: the same commits with the same events, and nothing in between."""
    groups = [[tuple(row) for row in group] for group in job["groups"]]
    say("ready")
    if job["log"].startswith("postgresql"):
        connection = await asyncpg.connect(job["log"].partition("&schema")[0])
        await _released(Path(job["go"]))
        await _bare_postgres(connection, groups)
        await connection.close()
    else:
        await _released(Path(job["go"]))
        bare_sqlite(job["log"], groups)
    say("done")


async def _released(go: Path) -> None:
    while not go.exists():  # noqa: ASYNC110, ASYNC240 - another process makes the file, and there is nothing else to do
        await asyncio.sleep(0.002)


BARE = """
CREATE TABLE bare_tasks (id integer PRIMARY KEY, state text NOT NULL, worker text, payload text NOT NULL, result text);
CREATE TABLE bare_deliveries (seq integer PRIMARY KEY, worker text);
CREATE TABLE bare_events (run bigint, seq integer, epoch integer, at bigint, type text, state text, step integer, message text,
  schema_version integer, data text, PRIMARY KEY (run, seq));
CREATE INDEX bare_free ON bare_deliveries (seq) WHERE worker IS NULL;
"""
PAYLOAD = '{"agent":"desk","user_message":"Where is my order?"}'

_CLAIM = "UPDATE bare_deliveries SET worker = 'w' WHERE seq = (SELECT seq FROM bare_deliveries WHERE worker IS NULL ORDER BY seq LIMIT 1{}) RETURNING seq"
CLAIM_SQLITE = _CLAIM.format("")
CLAIM_POSTGRES = _CLAIM.format(" FOR UPDATE SKIP LOCKED")


def bare_connection(path: str) -> sqlite3.Connection:
    """As the log opens its own."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def bare_sqlite(path: str, groups: list[Group]) -> None:
    """Until there is nothing left to claim."""
    connection = bare_connection(path)
    with contextlib.closing(connection):
        while True:
            connection.execute("BEGIN IMMEDIATE")
            claimed = connection.execute(CLAIM_SQLITE).fetchall()
            connection.execute("COMMIT")
            if not claimed:
                return
            ((task,),) = claimed
            _committed(connection, "UPDATE bare_tasks SET state = 'running', worker = 'w' WHERE id = ?", [(task,)])
            for group in groups:
                _committed(connection, "INSERT INTO bare_events VALUES (?,?,?,?,?,?,?,?,?,?)", [(task, *row[1:]) for row in group])
            _committed(connection, "UPDATE bare_tasks SET state = 'completed', result = 'done' WHERE id = ?", [(task,)])
            _committed(connection, "DELETE FROM bare_deliveries WHERE seq = ?", [(task,)])


def _committed(connection: sqlite3.Connection, sql: str, rows: list[tuple[Any, ...]]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(sql, rows)
    connection.execute("COMMIT")


async def _bare_postgres(connection: Any, groups: list[Group]) -> None:
    insert = "INSERT INTO bare_events SELECT * FROM unnest($1::bigint[], $2::int[], $3::int[], $4::bigint[], $5::text[], $6::text[], $7::int[], $8::text[], $9::int[], $10::text[])"
    while (task := await connection.fetchval(CLAIM_POSTGRES)) is not None:
        await connection.execute("UPDATE bare_tasks SET state = 'running', worker = 'w' WHERE id = $1", task)
        for group in groups:
            await connection.execute(insert, *map(list, zip(*((task, *row[1:]) for row in group), strict=True)))
        await connection.execute("UPDATE bare_tasks SET state = 'completed', result = 'done' WHERE id = $1", task)
        await connection.execute("DELETE FROM bare_deliveries WHERE seq = $1", task)
