"""How long each question to the list of tasks takes, in a list of a million: `python -m tests.queues.measure [--tasks N] [--url URL]`.

Of a hundred tasks 90 are completed, 4 queued (one of them for later), 3 dead, 1 cancelled, 1 running, 1 waiting for a letter. Times are
milliseconds, the median of eleven, on one connection that has the tables in its cache.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from afk_es.clock import SystemClock
from afk_es.log.port import Statement
from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.records import TaskRecords
from tests.queues.conftest import TasksLog, tasks_log

_STATES = """
UPDATE tasks SET
  state = CASE WHEN position % 100 < 90 THEN 'completed' WHEN position % 100 < 94 THEN 'queued' WHEN position % 100 < 97 THEN 'dead'
    WHEN position % 100 < 98 THEN 'cancelled' WHEN position % 100 < 99 THEN 'running' ELSE 'waiting' END,
  ended_at = CASE WHEN position % 100 < 90 OR position % 100 IN (94, 95, 96, 97) THEN created_at END,
  due_at = CASE WHEN position % 100 = 99 THEN 9223372036854775807 WHEN position % 100 = 93 THEN created_at + 86400000000 ELSE due_at END,
  attempts = CASE WHEN position % 100 BETWEEN 90 AND 93 THEN 0 ELSE 1 END"""


def item(number: int, now: dt.datetime) -> TaskItem:
    """A task as it is pushed."""
    contract = "job.dispatch.v1" if number % 10 else "runner.chat.v1"
    payload = {"agent": "helper", "user_message": f"question {number}: " + "please look into it " * 10}
    name = f"run_{number:032x}"
    return TaskItem(id=name, queue=f"q{number % 4}", contract=contract, payload=payload, state="queued", created_at=now, updated_at=now)


async def fill(log: TasksLog, records: TaskRecords, number: int) -> None:
    """Add so many tasks, and put them into their states."""
    now = SystemClock().now() - dt.timedelta(hours=1)
    began = time.perf_counter()
    for first in range(0, number, 5_000):
        await records.add([item(each, now) for each in range(first, min(first + 5_000, number))], sent=True)
    print(f"  add, 5,000 in a transaction: {number / (time.perf_counter() - began):,.0f} a second")
    await log.transact([Statement(_STATES)])
    await log.transact(
        [
            Statement("INSERT INTO runs (run_id, thread_id) SELECT id, id FROM tasks WHERE state = 'waiting'"),
            Statement("INSERT INTO awaited (task_id, run_id, letter) SELECT id, id, 0 FROM tasks WHERE state = 'waiting'"),
        ]
    )
    for sql in (
        ["ANALYZE"] if log.dialect == "sqlite" else ["VACUUM ANALYZE tasks", "VACUUM ANALYZE awaited", "ANALYZE runs", "ANALYZE letters"]
    ):
        await log.transact([Statement(sql)])


async def measure(log: TasksLog, records: TaskRecords) -> None:
    """Print the times."""
    now = SystemClock().now()

    async def taken(work: str, call: Callable[[int], Awaitable[Any]]) -> None:
        times = []
        for turn in range(11):
            began = time.perf_counter()
            await call(turn)
            times.append((time.perf_counter() - began) * 1e3)
        print(f"  {work:<42}{statistics.median(times):>9.2f} ms   (worst {max(times):.2f})")

    queued = [task.id for task in await records.list(state="queued", limit=1_000)]
    fresh = iter(queued)
    number = itertools.count(10_000_000)
    await taken("get", lambda turn: records.get(queued[turn]))
    await taken("add one", lambda turn: records.add([item(next(number), now)]))
    await taken("begin", lambda turn: records.begin(next(fresh), "w", now))
    await taken("progress", lambda turn: records.progress(queued[0], 1, Progress(step=turn)))
    await taken("complete", lambda turn: records.complete(queued[turn], 1, {"text": "x" * 200}))
    oldest = [task.id for task in await records.list(limit=1, queue="q1", state="queued")]
    await taken("list", lambda turn: records.list())
    await taken("list, after the first page", lambda turn: records.list(before=oldest[0]))
    for state in ("queued", "waiting", "dead", "completed"):
        await taken(f"list of state {state}", lambda turn, state=state: records.list(state=state))  # type: ignore[misc]
    await taken("list of queue", lambda turn: records.list(queue="q2"))
    await taken("list of queue and state", lambda turn: records.list(queue="q2", state="dead"))
    await taken("list of contract", lambda turn: records.list(contract="runner.chat.v1"))
    await taken("list of queue, state and contract", lambda turn: records.list(queue="q2", state="dead", contract="runner.chat.v1"))
    await taken("list of a contract that no task has", lambda turn: records.list(contract="custom.v1"))
    await taken("list of a queue that no task is in", lambda turn: records.list(queue="nowhere"))
    await taken("list of queue and contract", lambda turn: records.list(queue="q1", contract="runner.chat.v1"))
    await taken("stats", lambda turn: records.stats())
    await taken("awaken, none of those that wait", lambda turn: records.awaken())
    await log.transact(
        [
            Statement(
                "INSERT INTO letters (run, at, type, message, data) "
                "SELECT run, 0, 'warning', '', '{}' FROM runs WHERE run_id IN (SELECT id FROM tasks WHERE state = 'waiting' LIMIT 11)"
            )
        ]
    )
    await taken("awaken one", lambda turn: records.awaken(limit=1))
    await taken("unsent", lambda turn: records.unsent(now + dt.timedelta(hours=1)))
    await taken("mark_sent, 11", lambda turn: records.mark_sent(queued[:11]))
    await taken("purge, nothing old enough", lambda turn: records.purge(now - dt.timedelta(days=1)))
    await taken("purge, 1,000 of 900,000", lambda turn: records.purge(now))


async def main(url: str, number: int) -> None:
    """Fill and measure one store."""
    log = tasks_log(url)
    await log.open()
    try:
        records = TaskRecords(log)
        await records.open()
        print(f"{log.dialect}, {number:,} tasks")
        await fill(log, records, number)
        await measure(log, records)
    finally:
        await log.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--url", help="of a log to fill; default one of each store, made for this")
    arguments = parser.parse_args()
    if arguments.url:
        asyncio.run(main(arguments.url, arguments.tasks))
        sys.exit()
    from tests.support.postgres import Server, server_directory

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(main(str(Path(directory) / "tasks.db"), arguments.tasks))
        server = Server(server_directory(f"afk-pg-{Path(directory).name}"))
        try:
            server.make()
            server.start(shared_buffers="512MB")
            asyncio.run(main(server.url, arguments.tasks))
        finally:
            server.stop()
            shutil.rmtree(server.directory, ignore_errors=True)
