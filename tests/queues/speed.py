"""How fast an engine hands out: `python -m tests.queues.speed sqlite|URL [--waiting N] [--consumers N] [--limit N] [--count N]`.

Each consumer is a process. It takes up to `limit` at a time and says `done` of each, as a worker does. Says a line of JSON: sent, taken and
ended a second, all consumers together, and the middle and the 99th percentile of one taking. And, with nothing else
going on, the time from the commit of what was sent until a waiting consumer has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

from afk_es.log import DatabaseLog, open_log
from afk_es.queues.dispatch import Consumer, Dispatcher, Parcel
from afk_es.queues.procrastinate import ProcrastinateDispatcher
from afk_es.queues.tables import TableDispatcher

_BATCH = 5_000


@asynccontextmanager
async def _opened(place: str) -> AsyncIterator[tuple[DatabaseLog, Dispatcher]]:
    log = open_log(place)
    await log.open()
    assert isinstance(log, DatabaseLog)
    dispatcher: Dispatcher = TableDispatcher(log) if log.dialect == "sqlite" else ProcrastinateDispatcher(place)
    try:
        await dispatcher.open()
        yield log, dispatcher
    finally:
        await dispatcher.close()
        await log.close()


def _parcels(count: int, *, queue: str = "work") -> list[Parcel]:
    return [Parcel(f"run_0192f3a1b2c3d4e5f60718293a{number:06d}", queue) for number in range(count)]


async def _consume(place: str, count: int, limit: int) -> None:
    """As a process: take and end so many, once it is told to."""
    async with _opened(place) as (_log, dispatcher):
        consumer = await dispatcher.join("speed", 600)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        taking, began, had = [], time.perf_counter(), 0
        while had < count:
            start = time.perf_counter()
            found = await consumer.take(("work",), min(limit, count - had))
            taking.append(time.perf_counter() - start)
            had += len(found)
            await asyncio.gather(*map(consumer.done, found))
        print(json.dumps({"s": time.perf_counter() - began, "taking": taking}), flush=True)


async def _all_consume(place: str, consumers: int, count: int, limit: int) -> tuple[float, list[float]]:
    each = count // consumers
    command = [sys.executable, "-m", "tests.queues.speed", place, "--consume", str(each), "--limit", str(limit)]
    pipe = asyncio.subprocess.PIPE
    processes = [await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=2**24) for _ in range(consumers)]
    for process in processes:
        assert process.stdout is not None
        await process.stdout.readline()
    answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    told = [json.loads(out) for out, _ in answers]
    return each * consumers / max(each_told["s"] for each_told in told), [at for each_told in told for at in each_told["taking"]]


async def _latency(place: str) -> list[float]:
    async with _opened(place) as (log, dispatcher), _opened(place) as (_, other):
        consumer = await other.join("speed", 600)
        await consumer.take(("quick",), 1)
        await consumer.wait(0.2)
        found = []
        for _ in range(30):
            waiting = asyncio.ensure_future(_one(consumer))
            await asyncio.sleep(0.3)
            statements = dispatcher.sending([Parcel("x", "quick")])
            assert statements is not None
            await log.transact(statements)
            sent = time.perf_counter()
            found.append(await waiting - sent)
        return found


async def _one(consumer: Consumer) -> float:
    while not (found := await consumer.take(("quick",), 1)):
        await consumer.wait(5.0)
    at = time.perf_counter()
    await consumer.done(found[0])
    return at


async def _measure(place: str, waiting: int, consumers: int, count: int, limit: int) -> dict[str, object]:
    async with _opened(place) as (log, dispatcher):
        for _ in range(0, waiting, _BATCH):
            await dispatcher.send(_parcels(_BATCH))
        began = time.perf_counter()
        for _ in range(500):
            statements = dispatcher.sending(_parcels(1))
            assert statements is not None
            await log.transact(statements)
        one_by_one = 500 / (time.perf_counter() - began)
        began = time.perf_counter()
        for _ in range(0, count, 100):
            await dispatcher.send(_parcels(100))
        in_hundreds = count / (time.perf_counter() - began)
    rate, taking = await _all_consume(place, consumers, count, limit)
    latency = await _latency(place)
    return {
        "waiting": waiting,
        "consumers": consumers,
        "limit": limit,
        "sent_one_by_one_per_s": round(one_by_one),
        "sent_in_hundreds_per_s": round(in_hundreds),
        "taken_and_done_per_s": round(rate),
        "taking_ms": [round(1e3 * median(taking), 2), round(1e3 * quantiles(taking, n=100)[-1], 2)],
        "latency_ms": [round(1e3 * median(latency), 2), round(1e3 * max(latency), 2)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place")
    parser.add_argument("--waiting", type=int, default=0)
    parser.add_argument("--consumers", type=int, default=1)
    parser.add_argument("--count", type=int, default=4_000)
    parser.add_argument("--limit", type=int, default=10)
    parser.add_argument("--consume", type=int)
    asked = parser.parse_args()
    if asked.consume is not None:
        asyncio.run(_consume(asked.place, asked.consume, asked.limit))
        return
    with tempfile.TemporaryDirectory() as directory:
        place = str(Path(directory) / "runs.db") if asked.place == "sqlite" else asked.place
        print(json.dumps(asyncio.run(_measure(place, asked.waiting, asked.consumers, asked.count, asked.limit))))


if __name__ == "__main__":
    main()
