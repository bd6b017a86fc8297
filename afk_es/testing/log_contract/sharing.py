"""A log that several stores have open at once, in one process and in two: each sees what is true now, and one of two rivals wins."""

from __future__ import annotations

import asyncio

from afk_es.errors import HeadConflictError
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, same
from afk_es.testing.log_contract.material import START, begin, control, started, turn
from afk_es.testing.log_contract.processes import child

SHARING = Dimension("sharing", "Several stores, in one process or in several, may have the log open at once.", optional=True)


@SHARING.promise
async def one_sees_at_once_what_the_other_appended(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    await begin(log, "run_a")
    for seq in (6, 10):
        same(await other.read("run_a"), await log.read("run_a"), "the run, as two stores read it")
        same(await other.head("run_a"), await log.head("run_a"), "its head, as two stores tell it")
        await log.append(turn("run_a", seq), epoch=1)
    same(await other.runs(), await log.runs(), "the list of runs, as two stores tell it")
    same(await other.verify("run_a"), None, "its hash chain")


@SHARING.promise
async def one_sees_the_letters_that_the_other_posted(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    await begin(log, "run_a")
    letters = [await store.post("run_a", control("pause"), at=START) for store in (log, other, log, other)]
    same(await log.letters(), letters, "the letters that two stores posted in turn, as the first reads them")
    same(await other.letters(), letters, "the same letters, as the second reads them")
    positions = [letter.position for letter in letters]
    same(positions, sorted(set(positions)), "their positions")


@SHARING.promise
async def of_two_first_events_one_lands(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    results = await asyncio.gather(begin(log, "run_a"), begin(other, "run_a"), return_exceptions=True)
    same(sorted(type(result).__name__ for result in results), ["HeadConflictError", "NoneType"], "what became of two beginnings of one run")
    same(len(await log.read("run_a")), 5, "the events of the run")


@SHARING.promise
async def two_that_append_in_turn_never_both_land(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    await begin(log, "run_a")
    for round_ in range(10):
        batch = turn("run_a", 6 + 4 * round_)
        results = await asyncio.gather(log.append(batch, epoch=1), other.append(batch, epoch=1), return_exceptions=True)
        names = sorted(type(result).__name__ for result in results)
        same(names, ["HeadConflictError", "NoneType"], f"what became of two appends at seq {6 + 4 * round_}")
    same([item.seq for item in await log.read("run_a")], list(range(1, 46)), "the run after ten such pairs")
    same(await other.verify("run_a"), None, "its hash chain")


@SHARING.promise
async def a_takeover_stops_the_owner_that_knows_nothing_of_it(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    await begin(log, "run_a")
    await begin(log, "run_b")
    await other.append([started("run_a", 6, epoch=2, owner=other.owner)], epoch=2)
    results = await asyncio.gather(
        log.append(turn("run_a", 6), epoch=1), log.append(turn("run_b", 6), epoch=1), begin(log, "run_c"), return_exceptions=True
    )
    same([type(result).__name__ for result in results], ["HeadConflictError", "NoneType", "NoneType"], "the stale owner's appends")
    holds("seq 6, epoch 2" in str(results[0]), f"the refusal should say where the run stands, and says {results[0]}")
    await other.append(turn("run_a", 7), epoch=2)
    await log.append([started("run_a", 11, epoch=3, owner=log.owner)], epoch=3)
    same(await other.verify("run_a"), None, "the hash chain of a run that changed hands twice")


@SHARING.promise
async def a_store_is_alive_to_another_until_it_closes(bench: Bench) -> None:
    log, other = await bench.store(), await bench.store()
    await begin(other, "run_a")
    holds(await log.alive(other.owner, "run_a"), "a store that is open and has written should be alive to another")
    await other.close()
    holds(not await log.alive(other.owner, "run_a"), "a store that was closed should be dead to another")


@SHARING.promise
async def another_process_is_seen_and_stopped_like_another_store(bench: Bench) -> None:
    async with child(bench, "claim") as rival:
        owner = (await rival.hear("owner"))[0]
        log = await bench.store()
        same(len(await log.read("run_a")), 5, "the run that another process has begun")
        holds(await log.alive(owner, "run_a"), "the other process should be alive")
        await log.append([started("run_a", 6, epoch=2, owner=log.owner)], epoch=2)
        rival.tell("append")
        same(await rival.hear("appended", "refused"), [HeadConflictError.__name__], "what the other process was told after a takeover")
        rival.tell("close")
        await rival.hear("closed")
        holds(not await log.alive(owner, "run_a"), "the other process has closed its store and should be dead")
    same(len(await log.read("run_a")), 6, "the run")
