"""From opening to closing and opening again: what a store holds outlives its being closed, and where it can the store itself."""

from __future__ import annotations

import asyncio
from typing import Any

from afk_es.log.port import EventLog
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, same
from afk_es.testing.log_contract.material import START, begin, control, forked, started, turn

CLOSING = Dimension("closing", "A store may be opened and closed as often as one likes; closing it finishes what is queued.")
REOPENING = Dimension("reopening", "What one store has written another finds after it, unchanged.", optional=True)


@CLOSING.promise
async def opening_and_closing_again_do_nothing(bench: Bench) -> None:
    log = bench.made()
    await log.close()
    await log.open()
    await log.open()
    await begin(log, "run_a")
    await log.close()
    await log.close()
    await log.open()
    same(len(await log.read("run_a")), 5, "the events of a run after its store was closed twice and opened")


@CLOSING.promise
async def a_store_that_is_opened_again_has_what_it_had(bench: Bench) -> None:
    log = await bench.store()
    await _fill(log)
    before = await _everything(log)
    await log.close()
    await log.open()
    same(await _everything(log), before, "what a store says before it is closed and after it is opened again")


@CLOSING.promise
async def a_run_goes_on_after_its_store_was_opened_again(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.close()
    await log.open()
    await log.append(turn("run_a", 6), epoch=1)
    await log.append([started("run_a", 10, epoch=2, owner=log.owner)], epoch=2)
    same([item.seq for item in await log.read("run_a")], list(range(1, 11)), "the run")
    same(await log.verify("run_a"), None, "its hash chain")


@CLOSING.promise
async def what_is_queued_when_it_closes_lands(bench: Bench) -> None:
    log = await bench.store()
    appending = asyncio.create_task(begin(log, "run_a"))
    await asyncio.sleep(0)
    await log.close()
    await appending
    await log.open()
    same(len(await log.read("run_a")), 5, "the events of an append that was under way when its store was closed")


@CLOSING.promise
async def a_store_says_where_and_who_it_is(bench: Bench) -> None:
    log = await bench.store()
    holds(isinstance(log, EventLog), "a store should have every method of `EventLog`")
    holds(log.location, f"a store should say where its log is, and says {log.location!r}")
    holds(log.owner, f"a store should have a name as an owner, and has {log.owner!r}")


@REOPENING.promise
async def another_store_finds_everything(bench: Bench) -> None:
    log = await bench.store()
    await _fill(log)
    before = await _everything(log)
    await log.close()
    again = await bench.store()
    same(await _everything(again), before, "what a second store says after the first was closed")
    holds(again.owner != log.owner, "two stores should not have one name as owners")


@REOPENING.promise
async def a_run_goes_on_in_another_store(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.close()
    again = await bench.store()
    holds(not await again.alive(log.owner, "run_a"), "the owner whose store was closed should be dead")
    await again.append([started("run_a", 6, epoch=2, owner=again.owner), *turn("run_a", 7)], epoch=2)
    same([item.seq for item in await again.read("run_a")], list(range(1, 11)), "the run")
    same(await again.verify("run_a"), None, "its hash chain")


@REOPENING.promise
async def letters_wait_for_the_next_store(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    first = await log.post("run_a", control("pause"), at=START)
    await log.close()
    again = await bench.store()
    second = await again.post("run_a", control("resume"), at=START)
    same(await again.letters(), [first, second], "the letters of two stores")
    holds(second.position > first.position, "positions of letters should go on where they were")


async def _fill(log: EventLog) -> None:
    for number in range(3):
        await begin(log, f"run_{number}")
    await log.append(turn("run_0", 6), epoch=1)
    await log.append([forked("run_f", "run_0", 4), *turn("run_f", 6)], epoch=2)
    await log.post("run_1", control("pause"), at=START)


async def _everything(log: EventLog) -> dict[str, Any]:
    rows = await log.runs()
    return {
        "runs": rows,
        "thread": await log.thread("thread_1"),
        "events": [await log.read(row.run_id) for row in rows],
        "links": [await log.link(row.run_id, row.seq) for row in rows],
        "faults": [await log.verify(row.run_id) for row in rows],
        "forks": await log.forks("run_0"),
        "letters": await log.letters(),
        "posted": await log.posted(),
    }
