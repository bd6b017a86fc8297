"""Many runs at once, and long ones read again."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es.core import Runner
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import fold, initial_state
from tests.benchmarks.conftest import Table
from tests.benchmarks.workload import agent, insert, plain_table, recorded, rows_of


@pytest.mark.parametrize("place", ["memory", "file"])
def test_concurrent_runs(table: Table, tmp_path: Path, place: str) -> None:
    """1,000 concurrent runs of 5 steps in one process, on one log."""
    number = itertools.count()
    events = recorded(5)

    async def at_once(log: Any) -> float:
        async with Runner(log=log) as runner:
            described = agent(5)
            await runner.run(described, user_message="warm up")
            began = time.perf_counter()
            results = await asyncio.gather(*[runner.run(described, user_message="Where is my order?") for _ in range(1000)])
            taken = time.perf_counter() - began
        assert all(result.state == "completed" for result in results)
        return taken / 1000

    def floor() -> float:
        connection = plain_table(tmp_path / f"floor-{next(number)}.db", "FULL")
        began = time.perf_counter()
        # Everybody's rows between two effects share a transaction: eleven of them, as in ours.
        parts = [events[start : start + 4] for start in range(0, len(events), 4)]
        for part in parts:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(insert(1), [(run, *row[1:]) for run in range(1000) for row in rows_of(part)])
            connection.execute("COMMIT")
        taken = time.perf_counter() - began
        connection.close()
        return taken / 1000

    where = ":memory:" if place == "memory" else None
    table.compare(
        f"1,000 concurrent runs of 5 steps, {place}",
        lambda: asyncio.run(at_once(where or tmp_path / f"ours-{next(number)}.db")),
        floor if place == "file" else None,
        rate=True,
        aim="1,000/s durable (FULL)" if place == "file" else "",
        floor_is="sqlite3 on the same thread: the same events encoded and inserted, one transaction between two effects of all runs"
        if place == "file"
        else "",
    )


def test_ten_thousand_runs(table: Table) -> None:
    """10,000 concurrent runs of 5 steps in one process: time, and memory a run."""
    code = (
        "import asyncio, resource, sys\n"
        "from afk_es.core import Runner\n"
        "from tests.benchmarks.workload import agent\n"
        "async def main(n):\n"
        "    async with Runner(log=':memory:') as runner:\n"
        "        described = agent(5)\n"
        "        await asyncio.gather(*[runner.run(described, user_message='Where is my order?') for _ in range(n)])\n"
        "asyncio.run(main(int(sys.argv[1])))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )

    def peak_kb(runs: int) -> tuple[float, float]:
        began = time.perf_counter()
        out = subprocess.run(
            [sys.executable, "-c", code, str(runs)], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."}
        )
        return time.perf_counter() - began, float(out.stdout)

    few = peak_kb(1000)
    many = peak_kb(10_000)
    table.note("10,000 concurrent runs of 5 steps, in memory", many[0], None, unit="s", aim="12 s")
    table_row = (many[1] - few[1]) / 9000
    table.note("memory a run, its log in memory included", table_row, None, unit="kB", aim="30 kB beside its content (floor 9)")


@pytest.mark.parametrize("steps", [50, 200, 3000])
def test_bytes_a_step(table: Table, tmp_path: Path, steps: int) -> None:
    """Bytes on disk a step, after a checkpoint."""
    path = tmp_path / "log.db"
    Runner(log=path).run_sync(agent(steps), user_message="Where is my order?")
    base = tmp_path / "base.db"
    Runner(log=base).run_sync(agent(0), user_message="Where is my order?")
    events = recorded(steps)
    content = sum(len(msgspec.json.encode(event.data)) + len(event.type) for event in events[1:])
    table.note(
        f"bytes a step on disk, {steps} steps",
        (path.stat().st_size - base.stat().st_size) / steps,
        content / steps,
        unit="B",
        aim="2,000, constant to 3,000 steps",
        floor_is="the JSON of the events alone",
    )


def test_resume_of_800_steps(table: Table, tmp_path: Path) -> None:
    """Open the file, read 6,400 events, fold them, and stand where the run stood."""
    path = tmp_path / "log.db"
    result = Runner(log=path).run_sync(agent(800), user_message="Where is my order?")

    async def again() -> float:
        began = time.perf_counter()
        async with Runner(log=path) as runner:
            await runner.resume(agent(800), run_id=result.run_id)
        return time.perf_counter() - began

    def floor() -> float:
        import sqlite3

        began = time.perf_counter()
        connection = sqlite3.connect(path)
        for (data,) in connection.execute("SELECT data FROM events ORDER BY seq").fetchall():
            msgspec.json.decode(data)
        connection.close()
        return time.perf_counter() - began

    table.compare(
        "resume of an 800-step run",
        lambda: asyncio.run(again()),
        floor,
        unit="ms",
        aim="60 ms, floor 11 there",
        floor_is="SELECT data and decode the JSON",
    )


def test_read_history(table: Table, tmp_path: Path) -> None:
    """Read the whole history of 200 steps through the log's port."""
    path = tmp_path / "log.db"
    result = Runner(log=path).run_sync(agent(200), user_message="Where is my order?")

    async def read() -> float:
        log = SqliteEventLog(path)
        await log.open()
        try:
            await log.head(result.run_id)
            began = time.perf_counter()
            await log.read(result.run_id)
            return time.perf_counter() - began
        finally:
            await log.close()

    table.compare("read the history of 200 steps", lambda: asyncio.run(read()), unit="ms", aim="10 ms, floor 1.8 there")


def test_fold(table: Table) -> None:
    """Fold of decoded events."""
    events = recorded(2000)

    class Counter(msgspec.Struct, frozen=True):
        seq: int = 0
        kinds: int = 0

    def floor() -> float:
        began = time.perf_counter()
        state = Counter()
        for event in events:
            state = msgspec.structs.replace(state, seq=event.seq, kinds=state.kinds + (event.type == "tool_completed"))
        return (time.perf_counter() - began) / len(events)

    def ours() -> float:
        began = time.perf_counter()
        fold(initial_state(events[0].run_id, events[0].thread_id), events)
        return (time.perf_counter() - began) / len(events)

    table.compare(
        "fold of decoded events", ours, floor, rate=True, aim="1,000,000/s, floor 2.2M there", floor_is="a frozen Struct that counts"
    )


def test_full_fold_from_disk(table: Table, tmp_path: Path) -> None:
    """Read and fold about 100,000 events from a file."""
    path = tmp_path / "log.db"
    result = Runner(log=path).run_sync(agent(12_500), user_message="go")

    async def again() -> float:
        log = SqliteEventLog(path, read_only=True)
        await log.open()
        try:
            began = time.perf_counter()
            events = await log.read(result.run_id)
            fold(initial_state(result.run_id, result.thread_id), events)
            return time.perf_counter() - began
        finally:
            await log.close()

    table.compare("read and fold 100,000 events from a file", lambda: asyncio.run(again()), unit="s", aim="0.5 s, floor 0.19-0.29 there")


@pytest.mark.parametrize("what", ["import afk_es", "from afk_es import Agent, Runner", "afk-es --help"])
def test_start(table: Table, what: str) -> None:
    """How long a process takes to import the library, or to print the help."""

    def timed(*arguments: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": "."})
        return time.perf_counter() - began

    arguments = ("-m", "afk_es.cli", "--help") if what == "afk-es --help" else ("-c", what)
    table.compare(
        what,
        lambda: timed(*arguments) - timed("-c", "pass"),
        lambda: timed("-c", "import pydantic, msgspec, asyncio") - timed("-c", "pass"),
        unit="ms",
        aim="250 ms" if what == "afk-es --help" else "150 ms",
        floor_is="import pydantic, msgspec, asyncio; the interpreter's own start is taken off both",
    )
