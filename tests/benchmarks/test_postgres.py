"""The log on PostgreSQL beside raw asyncpg, the floor, and beside SQLite, all in one run. The server is this machine's own, with fsync on."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest

from afk_es.core import Runner
from afk_es.log import EventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import begin, started, turn, warning
from tests.benchmarks.conftest import Table
from tests.benchmarks.workload import agent, recorded, rows_of, timed_run
from tests.support.postgres import Server

Durability = Literal["full", "normal"]
NewLog = Callable[[], EventLog]

STEPS = 200
_NUMBERS = itertools.count()
_RAW = """
INSERT INTO raw SELECT * FROM unnest($1::bigint[], $2::integer[], $3::integer[], $4::bigint[], $5::text[], $6::text[], $7::integer[],
  $8::text[], $9::integer[], $10::text[], $11::bytea[])"""
FLOOR = "raw asyncpg: the same rows by unnest into a table with its key and nothing else, no checks, no hash"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-bench-", dir="/tmp")))
    try:
        server.make()
        server.start(shared_buffers="512MB", max_wal_size="4GB")
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


def new_log(place: str, url: str, directory: Path, durability: Durability) -> NewLog:
    def make() -> EventLog:
        number = next(_NUMBERS)
        if place == "PostgreSQL":
            return PostgresEventLog(url, schema=f"bench_{number}", durability=durability)
        return SqliteEventLog(directory / f"{number}.db", durability=durability)

    return make


def timed(make: NewLog, work: Callable[[EventLog], Awaitable[float]]) -> float:
    async def on_a_new_log() -> float:
        log = make()
        await log.open()
        try:
            return await work(log)
        finally:
            await log.close()

    return asyncio.run(on_a_new_log())


def raw(url: str, durability: Durability, groups: list[list[tuple[Any, ...]]]) -> float:
    """Seconds for so many inserts, one after the other."""

    async def insert() -> float:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(
                "DROP TABLE IF EXISTS raw; CREATE TABLE raw (run bigint, seq integer, epoch integer, at bigint, type text, state text,"
                " step integer, message text, schema_version integer, data text, hash bytea, PRIMARY KEY (run, seq))"
            )
            await connection.execute(f"SET synchronous_commit = {'on' if durability == 'full' else 'off'}")
            began = time.perf_counter()
            for group in groups:
                await connection.execute(_RAW, *map(list, zip(*group, strict=True)))
            return time.perf_counter() - began
        finally:
            await connection.close()

    return asyncio.run(insert())


def raw_rows(count: int, size: int) -> list[list[tuple[Any, ...]]]:
    row = (1, 1, 1_767_225_600_000_000, "warning", None, 1, None, 1, '{"kind":"k"}', b"x" * 16)
    return [[(row[0], place * size + number, *row[1:]) for number in range(size)] for place in range(count)]


@pytest.mark.parametrize("size", [1, 10, 100])
@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("place", ["PostgreSQL", "SQLite"])
def test_append(table: Table, url: str, tmp_path: Path, place: str, durability: Durability, size: int) -> None:
    """One run that appends so many events at once, again and again."""
    count = 300

    async def append(log: EventLog) -> float:
        await log.append([started("run_a")], epoch=1)
        batches = [[warning("run_a", 2 + index * size + number) for number in range(size)] for index in range(count)]
        began = time.perf_counter()
        for batch in batches:
            await log.append(batch, epoch=1)
        return (time.perf_counter() - began) / count

    table.compare(
        f"append of {size} ({durability.upper()}), {place}",
        lambda: timed(new_log(place, url, tmp_path, durability), append),
        lambda: raw(url, durability, raw_rows(count, size)) / count,
        floor_is=FLOOR if place == "PostgreSQL" else "",
    )


@pytest.mark.parametrize("runs", [10, 100, 1_000])
@pytest.mark.parametrize("place", ["PostgreSQL", "SQLite"])
def test_runs_that_append_at_once(table: Table, url: str, tmp_path: Path, place: str, runs: int) -> None:
    """So many runs that each append four events, wait until they are there, and append again: events a second."""
    times = max(5, 2_000 // runs)

    async def drive(log: EventLog, run_id: str) -> None:
        for number in range(times):
            await log.append(turn(run_id, 6 + 4 * number), epoch=1)

    async def at_once(log: EventLog) -> float:
        names = [f"run_{number}" for number in range(runs)]
        await asyncio.gather(*(begin(log, name) for name in names))
        began = time.perf_counter()
        await asyncio.gather(*(drive(log, name) for name in names))
        return (time.perf_counter() - began) / (runs * times * 4)

    table.compare(
        f"events, {runs:,} runs at once (FULL), {place}",
        lambda: timed(new_log(place, url, tmp_path, "full"), at_once),
        lambda: raw(url, "full", raw_rows(times, 4 * runs)) / (runs * times * 4),
        rate=True,
        floor_is=FLOOR + "; all runs' events of a round in one statement" if place == "PostgreSQL" else "",
    )


@pytest.mark.parametrize("durability", ["full", "normal"])
@pytest.mark.parametrize("place", ["PostgreSQL", "SQLite"])
def test_step(table: Table, url: str, tmp_path: Path, place: str, durability: Durability) -> None:
    """One run, alone: a model call and a tool call, two transactions a step."""
    rows = [(row[0], *row[1:], b"x" * 16) for row in rows_of(recorded(STEPS))]
    groups = [rows[start : start + 4] for start in range(0, len(rows), 4)]
    table.compare(
        f"one live step ({durability.upper()}), {place}",
        lambda: timed(new_log(place, url, tmp_path, durability), lambda log: timed_run(log, STEPS)),
        lambda: raw(url, durability, groups) / STEPS,
        floor_is=FLOOR if place == "PostgreSQL" else "",
    )


@pytest.mark.parametrize("place", ["PostgreSQL", "SQLite"])
def test_concurrent_runs(table: Table, url: str, tmp_path: Path, place: str) -> None:
    """1,000 concurrent runs of 5 steps in one process."""

    async def at_once(log: EventLog) -> float:
        async with Runner(log=log) as runner:
            described = agent(5)
            await runner.run(described, user_message="warm up")
            began = time.perf_counter()
            await asyncio.gather(*[runner.run(described, user_message="Where is my order?") for _ in range(1000)])
            return (time.perf_counter() - began) / 1000

    table.compare(
        f"1,000 concurrent runs of 5 steps (FULL), {place}", lambda: timed(new_log(place, url, tmp_path, "full"), at_once), rate=True
    )


@pytest.mark.parametrize("place", ["PostgreSQL", "SQLite"])
def test_read_back(table: Table, url: str, tmp_path: Path, place: str) -> None:
    """The whole history of a run of 200 steps."""

    async def read(log: EventLog) -> float:
        async with Runner(log=log) as runner:
            result = await runner.run(agent(STEPS), user_message="Where is my order?")
        await log.read(result.run_id)
        began = time.perf_counter()
        await log.read(result.run_id)
        return time.perf_counter() - began

    table.compare(f"read 200 steps, {place}", lambda: timed(new_log(place, url, tmp_path, "full"), read), unit="ms")


def test_disk(table: Table, url: str, tmp_path: Path) -> None:
    """Bytes a step, of one run of 3,000 steps and of 300 runs of 10."""

    async def size(log: EventLog, runs: int, steps: int) -> float:
        assert isinstance(log, PostgresEventLog)
        async with Runner(log=log) as runner:
            empty = (await log.server_facts()).size_bytes
            for _ in range(runs):
                await runner.run(agent(steps), user_message="Where is my order?")
        return ((await log.server_facts()).size_bytes - empty) / (runs * steps)

    for runs, steps in ((1, 3_000), (300, 10)):
        taken = timed(new_log("PostgreSQL", url, tmp_path, "normal"), lambda log, runs=runs, steps=steps: size(log, runs, steps))  # type: ignore[misc]
        table.note(f"bytes a step, {runs} runs of {steps:,} steps, PostgreSQL", taken, None, unit="B", aim="2,000, constant")
