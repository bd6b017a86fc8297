"""Many runs in one process: what is appended at the same moment lands once, whole, and does no harm to its neighbours."""

from __future__ import annotations

import asyncio

from afk_es.errors import HeadConflictError
from afk_es.log.port import EventLog
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import same
from afk_es.testing.log_contract.material import START, begin, control, forked, turn

CONCURRENCY = Dimension(
    "concurrency", "Appends, letters and forks at the same moment each land once or are refused, whatever the others do."
)


@CONCURRENCY.promise
async def two_hundred_runs_at_once(bench: Bench) -> None:
    log = await bench.store()
    names = [f"run_{number:03}" for number in range(200)]
    await asyncio.gather(*(_drive(log, name) for name in names))
    for name in names:
        same([item.seq for item in await log.read(name)], list(range(1, 18)), f"the seqs of {name}, one of 200")
        same(await log.verify(name), None, f"the hash chain of {name}")


@CONCURRENCY.promise
async def of_many_appends_to_one_head_one_lands(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    results = await asyncio.gather(*(log.append(turn("run_a", 6, step), epoch=1) for step in range(2, 12)), return_exceptions=True)
    names = sorted(type(result).__name__ for result in results)
    same(names, ["HeadConflictError"] * 9 + ["NoneType"], "what became of ten appends to one head")
    same([item.seq for item in await log.read("run_a")], list(range(1, 10)), "the run after them")
    same(await log.verify("run_a"), None, "its hash chain")


@CONCURRENCY.promise
async def one_conflict_among_many_hurts_nobody_else(bench: Bench) -> None:
    log = await bench.store()
    names = [f"run_{number}" for number in range(10)]
    for name in names:
        await begin(log, name)
    batches = [turn(name, 7 if name == "run_3" else 6) for name in names]
    results = await asyncio.gather(*(log.append(batch, epoch=1) for batch in batches), return_exceptions=True)
    same([type(result) for result in results], [HeadConflictError if name == "run_3" else type(None) for name in names], "the answers")
    same([len(await log.read(name)) for name in names], [5 if name == "run_3" else 9 for name in names], "the lengths of the runs")


@CONCURRENCY.promise
async def a_cancelled_append_still_lands(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    appending = asyncio.create_task(log.append(turn("run_a", 6), epoch=1))
    await asyncio.sleep(0)
    appending.cancel()
    await asyncio.gather(appending, return_exceptions=True)
    await log.append(turn("run_a", 10), epoch=1)
    same([item.seq for item in await log.read("run_a")], list(range(1, 14)), "the run after a cancelled append and one behind it")


@CONCURRENCY.promise
async def letters_and_events_at_once(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")

    async def drive() -> None:
        for number in range(20):
            await log.append(turn("run_a", 6 + number * 4, number + 2), epoch=1)

    posts = (log.post("run_a", control("pause", str(number)), at=START) for number in range(20))
    await asyncio.gather(drive(), *(begin(log, f"new_{number}") for number in range(20)), *posts)
    letters = await log.letters()
    same(sorted(int(letter.draft.data["reason"]) for letter in letters), list(range(20)), "twenty letters posted at once")
    positions = [letter.position for letter in letters]
    same(positions, sorted(set(positions)), "their positions")
    same(await log.verify("run_a"), None, "the hash chain of the run")


@CONCURRENCY.promise
async def forks_of_one_position_at_once(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    names = [f"run_f{number:02}" for number in range(30)]
    await asyncio.gather(*(log.append([forked(name, "run_a", 4), *turn(name, 6)], epoch=2) for name in names))
    for name in names:
        same(len(await log.read(name)), 9, f"the length of {name}, one of thirty forks")
        same(await log.verify(name), None, f"the hash chain of {name}")


@CONCURRENCY.promise
async def a_reader_sees_whole_appends_only(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    seen = [5]
    writing = asyncio.create_task(_grow(log, "run_a", 20))
    while not writing.done():
        seen.append(seen[-1] + len(await log.read("run_a", after=seen[-1])))
        await asyncio.sleep(0)
    await writing
    same([length for length in seen if (length - 5) % 40], [], "lengths that a reader saw in the middle of an append of forty events")


async def _drive(log: EventLog, run_id: str) -> None:
    await begin(log, run_id)
    for place in range(3):
        await log.append(turn(run_id, 6 + 4 * place), epoch=1)


async def _grow(log: EventLog, run_id: str, times: int) -> None:
    for number in range(times):
        batch = [item for place in range(10) for item in turn(run_id, 6 + 40 * number + 4 * place)]
        await log.append(batch, epoch=1)
