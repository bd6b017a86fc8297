"""Tasks a second on each store, beside the bare store in the same run: `python -m pytest tests/benchmarks/test_queues.py --benchmark-enable -p no:xdist`.

Both stores are durable: SQLite with `synchronous = FULL`, PostgreSQL with fsync on. The floor is the store alone: the same commits with the same
rows, from as many processes, with nothing decided in between.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from afk_es.log.location import open_log
from afk_es.queues import Delivery, Dispatcher, Parcel, TaskQueue
from tests.benchmarks.conftest import Table
from tests.benchmarks.queue_processes import BARE, CLAIM_POSTGRES, CLAIM_SQLITE, PAYLOAD, bare_connection
from tests.benchmarks.workload import agent, recorded, rows_of
from tests.support.postgres import Server
from tests.support.zygote import Life, Zygote, zygote

STORES = ("SQLite", "PostgreSQL")
WORKERS = (1, 2, 4, 8)
RUNS = 400
AT_ONCE = 10
STEPS = 2
"""Tool calls of each run; a run has a step more, with the answer."""

_NUMBERS = itertools.count()
FLOOR_OF_RUNS = "claim, begin, the run's events in the same commits, complete and delete, from as many processes"


class Place(NamedTuple):
    """Where a benchmark's log is, and where a bare table may be."""

    log: str
    bare: str
    directory: Path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-bench-", dir="/tmp")))
    try:
        server.make()
        server.start(shared_buffers="512MB", max_wal_size="4GB", autovacuum="on")
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


@pytest.fixture(scope="module")
def born() -> Iterator[Zygote]:
    with zygote("tests.benchmarks.queue_processes", "tests.queues.kills.preloaded") as one:
        yield one


@pytest.fixture
def new_place(url: str, tmp_path: Path) -> Callable[[str], Place]:
    def make(store: str) -> Place:
        number = next(_NUMBERS)
        directory = tmp_path / str(number)
        directory.mkdir()
        if store == "SQLite":
            return Place(str(directory / "runs.db"), str(directory / "bare.db"), directory)
        return Place(f"{url}&schema=queue_{number}", url, directory)

    return make


def with_queue(place: Place, work: Callable[[TaskQueue], Awaitable[float]]) -> float:
    async def opened() -> float:
        log = open_log(place.log)
        async with TaskQueue(log, agents=[agent(STEPS)]) as queue:
            found = await work(queue)
        await log.close()
        return found

    return asyncio.run(opened())


# ----------------------------------------------------------------------------------------------------------------------------- the floor


def bare_seconds(store: str, place: Place, before: str, repeated: str, times: int, rows: Callable[[int], list[tuple[Any, ...]]]) -> float:
    """Seconds for a statement that is run and committed so often, with these rows each time."""
    if store == "SQLite":
        with contextlib.closing(bare_connection(place.bare)) as connection:
            connection.executescript(_dropping() + BARE + before)
            began = time.perf_counter()
            for number in range(times):
                connection.execute("BEGIN IMMEDIATE")
                for row in rows(number):
                    connection.execute(repeated, row).fetchall()
                connection.execute("COMMIT")
            return time.perf_counter() - began
    return asyncio.run(_bare_postgres_seconds(place.bare, before, repeated, times, rows))


async def _bare_postgres_seconds(url: str, before: str, repeated: str, times: int, rows: Callable[[int], list[tuple[Any, ...]]]) -> float:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_dropping() + BARE + before)
        statement = await connection.prepare(repeated)
        began = time.perf_counter()
        for number in range(times):
            async with connection.transaction():
                await statement.executemany(rows(number)) if rows(number)[0] else await statement.fetch()
        return time.perf_counter() - began
    finally:
        await connection.close()


def _dropping() -> str:
    return "".join(f"DROP TABLE IF EXISTS bare_{name};" for name in ("tasks", "deliveries", "events"))


# ---------------------------------------------------------------------------------------------------------------------------- enqueueing


@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("store", STORES)
def test_enqueue(table: Table, new_place: Callable[[str], Place], store: str, size: int) -> None:
    """Jobs that are pushed, so many at once; each is there when `push` returns."""
    rounds = 200 if size == 1 else 20

    async def push(queue: TaskQueue) -> float:
        await queue.push_job("note", {"text": "warm up"})
        began = time.perf_counter()
        for number in range(rounds):
            await asyncio.gather(*(queue.push_job("note", {"text": f"{number}.{each}"}) for each in range(size)))
        return (time.perf_counter() - began) / (rounds * size)

    insert = "INSERT INTO bare_tasks (id, state, payload) VALUES ({})".format("?, 'queued', ?" if store == "SQLite" else "$1, 'queued', $2")
    table.compare(
        f"enqueue, {size} at once, {store}",
        lambda: with_queue(new_place(store), push),
        lambda: (
            bare_seconds(
                store, new_place(store), "", insert, rounds, lambda number: [(number * size + each, PAYLOAD) for each in range(size)]
            )
            / (rounds * size)
        ),
        rate=True,
        floor_is="one INSERT a task, as many in a commit",
    )


@pytest.mark.parametrize("store", STORES)
def test_enqueue_runs_in_a_batch(table: Table, new_place: Callable[[str], Place], store: str) -> None:
    """Chats of an agent at hand: task, delivery and the beginning of the run in one transaction, one after the other."""
    times = 150

    async def push(queue: TaskQueue) -> float:
        await queue.push_chat("desk", "warm up")
        began = time.perf_counter()
        for _ in range(times):
            await queue.push_chat("desk", "Where is my order?")
        return (time.perf_counter() - began) / times

    table.compare(f"enqueue a chat with its run, one at a time, {store}", lambda: with_queue(new_place(store), push), rate=True)


# ------------------------------------------------------------------------------------------------------------------------------ claiming


@pytest.mark.parametrize("size", [1, 10])
@pytest.mark.parametrize("store", STORES)
def test_claim(table: Table, new_place: Callable[[str], Place], store: str, size: int) -> None:
    """What the engine hands out, so many at a time, by one consumer; none of it is done."""
    rounds = 200 if size == 1 else 50

    async def claim(queue: TaskQueue) -> float:
        dispatcher: Dispatcher = queue.dispatcher
        await dispatcher.send([Parcel(f"task_{number}", "default") for number in range(rounds * size)])
        consumer = await dispatcher.join("bench", 60.0)
        began = time.perf_counter()
        taken: list[Delivery] = []
        while len(taken) < rounds * size:
            taken += await consumer.take(["default"], size)
        seconds = time.perf_counter() - began
        await consumer.leave()
        return seconds / len(taken)

    rows = ",".join(f"({number}, NULL)" for number in range(rounds * size))
    table.compare(
        f"claim, {size} at a time, {store}",
        lambda: with_queue(new_place(store), claim),
        lambda: (
            bare_seconds(
                store,
                new_place(store),
                f"INSERT INTO bare_deliveries VALUES {rows};",
                (CLAIM_SQLITE if store == "SQLite" else CLAIM_POSTGRES).replace("LIMIT 1", f"LIMIT {size}").replace("seq = (", "seq IN ("),
                rounds,
                lambda _: [()],
            )
            / (rounds * size)
        ),
        rate=True,
        floor_is="UPDATE ... RETURNING" if store == "SQLite" else "UPDATE ... (SELECT ... FOR UPDATE SKIP LOCKED) RETURNING",
    )


# ------------------------------------------------------------------------------------------------------------------------------- working


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("store", STORES)
def test_runs(table: Table, born: Zygote, new_place: Callable[[str], Place], store: str, workers: int) -> None:
    """Chats with two tool calls each, from the beginning of the first run to the end of the last."""
    place = new_place(store)
    found = measured(born, place, workers)
    floor = bare_runs(born, new_place(store), store, workers)
    table.note(f"runs of {STEPS} tool calls, {workers} workers, {store}", found.runs_s, floor, unit="/s", aim="", floor_is=FLOOR_OF_RUNS)
    table.note(f"  events, {workers} workers, {store}", found.events_s, None, unit="/s", aim="")
    if workers == WORKERS[-1]:
        table.note(f"  bytes on disk a step, {store}", found.bytes_a_step, None, unit="B", aim="")
        table.note(f"  bytes on disk a run with its task, {store}", found.bytes_a_step * (STEPS + 1), None, unit="B", aim="")
        table.note(f"  connections a worker, {store}", found.connections / workers, None, unit="", aim="")


@pytest.mark.parametrize("store", STORES)
def test_how_soon(table: Table, born: Zygote, new_place: Callable[[str], Place], store: str) -> None:
    """A job for a worker in another process that has nothing to do: from `push` to the end of its run."""
    place = new_place(store)
    with _working(born, place, 1) as lives:
        _release(place, lives)

        async def spaced(queue: TaskQueue) -> float:
            taken = []
            for number in range(25):
                await asyncio.sleep(0.05 + 0.017 * number % 0.3)
                item = await queue.push_job("note", {"text": "soon"})
                await queue.result(item.id, timeout_s=30)
                ended = (await queue.log.read(item.id))[-1].at
                taken.append((ended - item.created_at).total_seconds())
            return statistics.median(taken[5:])

        seconds = with_queue(place, spaced)
    table.note(f"from push to the end, an idle worker, {store}", seconds * 1e3, None, unit="ms", aim="")


class Measured(NamedTuple):
    """What came of so many runs."""

    runs_s: float
    events_s: float
    bytes_a_step: float
    connections: int


def measured(born: Zygote, place: Place, workers: int) -> Measured:
    connections = 0

    async def push(queue: TaskQueue) -> float:
        before = await _size(place)
        for start in range(0, RUNS, 50):
            await asyncio.gather(*(queue.push_chat("desk", f"Where is my order {start + each}?") for each in range(50)))
        return before

    async def until_ended(queue: TaskQueue) -> float:
        nonlocal connections
        async with asyncio.timeout(120):
            while await still_open(queue):
                connections = max(connections, await _connections(place, lives))
                await asyncio.sleep(0.05)
        return 0.0

    async def figures(queue: TaskQueue) -> float:
        items = await queue.list(limit=RUNS)
        assert {item.state for item in items} == {"completed"}
        for item in items:
            runs.append(await queue.log.read(item.id))
        return await _size(place)

    runs: list[Any] = []
    empty = with_queue(place, push)
    with _working(born, place, workers) as lives:
        _release(place, lives)
        with_queue(place, until_ended)
    full = with_queue(place, figures)
    began = min(next(event.at for event in run if event.type == "step_started") for run in runs)
    ended = max(run[-1].at for run in runs)
    seconds = (ended - began).total_seconds()
    steps = sum(event.type == "step_started" for run in runs for event in run)
    return Measured(RUNS / seconds, sum(map(len, runs)) / seconds, (full - empty) / steps, connections)


async def still_open(queue: TaskQueue) -> int:
    """Tasks that have not ended."""
    return sum(each.queued + each.running + each.waiting for each in await queue.stats())


@contextlib.contextmanager
def _working(born: Zygote, place: Place, workers: int, function: str = "work", **job: Any) -> Iterator[list[Life]]:
    known = {"log": place.log, "go": str(place.directory / "go"), "at_once": AT_ONCE, **job}
    lives = [
        born.start(f"tests.benchmarks.queue_processes:{function}", place.directory / f"{function}-{number}.said", **known)
        for number in range(workers)
    ]
    try:
        yield lives
        for life in lives:
            if life.running():
                life.signal(signal.SIGTERM)
        until = time.monotonic() + 20
        while any(life.running() for life in lives) and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        born.end_all()


def _release(place: Place, lives: list[Life]) -> None:
    for life in lives:
        life.hear("ready")
    (place.directory / "go").touch()


def bare_runs(born: Zygote, place: Place, store: str, workers: int) -> float:
    """Runs a second of the bare loop."""
    rows = ",".join(f"({number}, 'queued', NULL, '{PAYLOAD}', NULL)" for number in range(RUNS))
    free = ",".join(f"({number}, NULL)" for number in range(RUNS))
    bare_seconds(
        store, place, f"INSERT INTO bare_tasks VALUES {rows}; INSERT INTO bare_deliveries VALUES {free};", "SELECT 1", 1, lambda _: [()]
    )
    events = [list(row) for row in rows_of(recorded(STEPS))]
    starts = [0, *(index for index, row in enumerate(events) if row[4] in ("llm_completed", "tool_completed")), len(events)]
    groups = [events[start:end] for start, end in itertools.pairwise(starts)]
    with _working(born, place._replace(log=place.bare), workers, "bare", groups=groups) as lives:
        _release(place, lives)
        began = time.perf_counter()
        for life in lives:
            life.hear("done")
        return RUNS / (time.perf_counter() - began)


async def _size(place: Place) -> float:
    if not place.log.startswith("postgresql"):
        return float(sum(file.stat().st_size for file in place.directory.glob("runs.db*") if file.is_file()))
    connection = await asyncpg.connect(place.bare)
    try:
        size = await connection.fetchval(
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.relkind IN ('r', 'p') AND n.nspname = $1",
            place.log.rpartition("schema=")[2],
        )
        return float(size)
    finally:
        await connection.close()


async def _connections(place: Place, lives: list[Life]) -> int:
    """Of all workers: of PostgreSQL's sessions those that are not the parent's; of SQLite's the files that are open."""
    if not place.log.startswith("postgresql"):
        return sum(_open_files(life, place.log) for life in lives)
    connection = await asyncpg.connect(place.bare)
    try:
        sessions = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return int(sessions) - _PARENTS
    finally:
        await connection.close()


_PARENTS = 2
"""Sessions of the queue that waits here."""


def _open_files(life: Life, path: str) -> int:
    links = Path(f"/proc/{life.pid}/fd")
    with contextlib.suppress(OSError):
        return sum(str(link.readlink()) == path for link in links.iterdir())
    return 0
