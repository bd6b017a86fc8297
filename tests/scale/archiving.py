"""How fast runs are archived from each store, how fast an archive is compared, and what a run takes on disk: the figures behind the page of sizing.

`python -m tests.scale.archiving [--runs 20000] [--steps 6]` prints a table in Markdown. A run is one of the runtime's own, with a tool call
a step, under an id of its own; PostgreSQL is a server of this machine, with fsync on.
"""

# ruff: noqa: ASYNC240 - nothing else runs in this event loop

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from afk_es.core import Runner
from afk_es.log import EventLog
from afk_es.log.archive import archive_runs, check_archive
from afk_es.log.memory import MemoryEventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from tests.benchmarks.workload import agent
from tests.support.postgres import Server

_AT_ONCE = 64


async def one_run(steps: int) -> list[AgentRunEvent]:
    """The events of a run of so many steps."""
    log = MemoryEventLog()
    async with Runner(log=log) as runner:
        result = await runner.run(agent(steps - 1), user_message="Where is my order?")
        return await log.read(result.run_id)


async def fill(log: EventLog, events: list[AgentRunEvent], runs: int) -> None:
    """Write so many runs, each in a thread of its own."""

    async def write(number: int) -> None:
        run_id, thread_id = f"run_{number:08}", f"thread_{number:08}"
        await log.append([msgspec.structs.replace(event, run_id=run_id, thread_id=thread_id) for event in events], epoch=1)

    for start in range(0, runs, _AT_ONCE):
        await asyncio.gather(*map(write, range(start, min(start + _AT_ONCE, runs))))


@asynccontextmanager
async def opened(log: EventLog) -> AsyncIterator[Any]:
    """Open it, and close it afterwards."""
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def measured(source: EventLog, target: Path, runs: int) -> tuple[float, float, float, int]:
    """Seconds of an archiving, of another that finds all there, of a check; and bytes of the archive."""
    seconds = []
    async with opened(source) as log:
        for _ in range(2):
            began = time.perf_counter()
            async with opened(SqliteEventLog(target, durability="normal")) as archive:
                report = await archive_runs(log, archive)
            seconds.append(time.perf_counter() - began)
            assert report.complete, report
            assert report.runs == runs, report
        began = time.perf_counter()
        async with opened(SqliteEventLog(target, read_only=True)) as archive:
            assert (await check_archive(log, archive)).complete
        seconds.append(time.perf_counter() - began)
    return seconds[0], seconds[1], seconds[2], target.stat().st_size


async def main(runs: int, steps: int, directory: Path, url: str) -> None:
    """Measure, and print."""
    events = await one_run(steps)
    print(f"{runs} runs of {steps} steps and {len(events)} events\n")
    print("| from | size of the log | a run | archived | runs/s | MB/s of the file | again | compared | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|")
    stores: dict[str, EventLog] = {
        "SQLite": SqliteEventLog(directory / "runs.db", durability="normal"),
        "PostgreSQL": PostgresEventLog(url),
    }
    for name, store in stores.items():
        async with opened(store):
            await fill(store, events, runs)
        target = directory / f"{name}.db"
        first, again, checked, size = await measured(store, target, runs)
        taken = (directory / "runs.db").stat().st_size if name == "SQLite" else await _size_of(url)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"| {name} | {taken / 1e6:.0f} MB | {taken / runs / 1e3:.1f} KB | {first:.1f} s | {runs / first:.0f} | {size / first / 1e6:.1f} "
            f"| {runs / again:.0f}/s | {runs / checked:.0f}/s | {peak:.0f} MB |",
            flush=True,
        )


async def _size_of(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        sql = (
            "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class AS c WHERE c.relnamespace = 'afk_es'::regnamespace AND c.relkind = 'r'"
        )
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.scale.archiving", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="afk-archiving-", dir="/tmp"))
    server = Server(place / "pg")
    place.chmod(0o755)
    try:
        server.make()
        server.start(shared_buffers="512MB", max_wal_size="4GB")
        asyncio.run(main(options.runs, options.steps, place, server.url))
    finally:
        server.stop()
        shutil.rmtree(place, ignore_errors=True)
