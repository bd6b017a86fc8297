"""What every dispatcher promises, a sentence each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from afk_es.errors import LogError
from afk_es.log.port import Statement
from afk_es.queues.dispatch import Consumer, Delivery, Parcel
from afk_es.testing.dispatcher_contract.bench import LEASE_S, QUEUE, Bench, ids, taken
from afk_es.testing.dispatcher_contract.other_process import holding
from afk_es.testing.dispatcher_contract.subject import DispatcherSubject
from afk_es.testing.log_contract.expecting import BrokenPromiseError, holds, same

PATIENCE_S = 30.0
_A_MOMENT_S = 0.0004

Promise = Callable[[Bench], Awaitable[None]]
PROMISES: list[Promise] = []


def promise(check: Promise) -> Promise:
    """A promise of the contract."""
    PROMISES.append(check)
    return check


def perform(subject: DispatcherSubject, check: Promise, directory: Path) -> None:
    """Try one promise on an empty engine, in an event loop of its own.

    Raises:
        BrokenPromiseError: it is broken, or the engine hangs.
        Exception: whatever the dispatcher raises.
    """

    async def tried() -> None:
        bench = Bench(subject, directory)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await check(bench)
        except TimeoutError as error:
            raise BrokenPromiseError(f"the engine hangs: it did not come to an end within {PATIENCE_S:g} s") from error
        finally:
            async with asyncio.timeout(PATIENCE_S):
                await bench.clear()

    asyncio.run(tried())


@promise
async def what_is_sent_is_delivered(bench: Bench) -> None:
    consumer = await bench.consumer()
    await bench.send("a", "b")
    await bench.send("c", queue="two")
    await bench.send()
    found = await taken(consumer, 100, QUEUE, "two", "empty")
    same([(each.task_id, each.queue) for each in found], [("a", QUEUE), ("b", QUEUE), ("c", "two")], "what was taken of two queues")
    same(await ids(consumer), [], "what is left")


@promise
async def what_is_sent_by_one_is_delivered_to_another(bench: Bench) -> None:
    await bench.send("a")
    same(await ids(await bench.consumer(elsewhere=True)), ["a"], "what another dispatcher's consumer takes")


@promise
async def several_may_open_an_engine_at_once(bench: Bench) -> None:
    await asyncio.gather(*(bench.another() for _ in range(4)))
    await bench.send("a")
    same(await ids(await bench.consumer(elsewhere=True)), ["a"], "what is delivered where four had opened it")


@promise
async def what_is_sent_in_a_transaction_is_there_with_it(bench: Bench) -> None:
    dispatcher = await bench.dispatcher()
    consumer = await bench.consumer()
    parcels = [
        Parcel("a", QUEUE, lane="l"),
        Parcel("b", QUEUE, priority=2),
        Parcel("c", QUEUE, not_before=bench.after(10)),
        Parcel("d", QUEUE),
    ]
    statements = dispatcher.sending(parcels)
    if statements is None:
        await dispatcher.send(parcels)
    else:
        same(list(dispatcher.sending([]) or ()), [], "the statements that send nothing")
        await bench.subject.log(dispatcher).transact(statements)
    same(await ids(consumer), ["b", "a", "d"], "what was committed")
    await bench.pass_time(11)
    same(await ids(consumer), ["c"], "what was committed and has become due")


@promise
async def what_is_sent_in_a_transaction_that_is_rolled_back_is_never_delivered(bench: Bench) -> None:
    dispatcher = await bench.dispatcher()
    consumer = await bench.consumer()
    await bench.send("before", lane="l")
    statements = dispatcher.sending([Parcel("a", QUEUE), Parcel("b", QUEUE, priority=1, lane="l")])
    if statements is not None:
        try:
            await bench.subject.log(dispatcher).transact([*statements, Statement("SELECT * FROM there_is_no_such_table")])
        except LogError:
            pass
        else:
            raise BrokenPromiseError("a transaction that could not be committed should have raised a LogError")
    same(await ids(consumer), ["before"], "what is delivered after the transaction was rolled back")


@promise
async def no_more_is_taken_than_was_asked_for(bench: Bench) -> None:
    consumer = await bench.consumer()
    await bench.send("a", "b", "c")
    same(await ids(consumer, 2), ["a", "b"], "two of three")
    same(await ids(consumer, 0), [], "none of one")
    same(await consumer.take((), 5), [], "of no queue")
    same(await ids(consumer, 5, "two"), [], "of a queue that has none")
    same(await ids(consumer, 5), ["c"], "the last")


@promise
async def the_higher_priority_is_first_and_of_equals_what_was_sent_first(bench: Bench) -> None:
    consumer = await bench.consumer()
    await bench.send("low", "low too", priority=-5)
    await bench.send("normal")
    await bench.send("high", queue="two", priority=7)
    await bench.send("normal too", queue="two")
    same(await ids(consumer, 3, QUEUE, "two"), ["high", "normal", "normal too"], "the first three")
    same(await ids(consumer, 9, QUEUE, "two"), ["low", "low too"], "the rest")


@promise
async def one_consumer_has_what_several_reach_for(bench: Bench) -> None:
    consumers = [await bench.consumer(elsewhere=True) for _ in range(4)]
    names = [f"task {number}" for number in range(60)]
    await bench.send(*names)

    async def all_it_gets(consumer: Consumer) -> list[str]:
        had: list[str] = []
        while found := await ids(consumer, 3):
            had += found
        return had

    shares = await asyncio.gather(*map(all_it_gets, consumers))
    same(sorted(name for share in shares for name in share), sorted(names), "what four consumers took at the same time, together")


@promise
async def nothing_is_delivered_before_its_time(bench: Bench) -> None:
    consumer = await bench.consumer(1_000)
    await bench.send("later", priority=9, in_s=60)
    await bench.send("past", in_s=-60)
    await bench.send("now")
    same(await ids(consumer), ["past", "now"], "what is due at first")
    await bench.pass_time(50)
    same(await ids(consumer), [], "ten seconds too early")
    await bench.pass_time(11)
    same(await ids(consumer), ["later"], "a second after its time")


@promise
async def whoever_waits_gets_what_is_sent(bench: Bench) -> None:
    consumer = await bench.consumer(elsewhere=True)
    same(await ids(consumer), [], "what is there at first")

    async def waited() -> list[str]:
        while not (found := await ids(consumer)):
            await consumer.wait(5.0)
        return found

    waiting = asyncio.ensure_future(waited())
    await asyncio.sleep(0)
    await bench.send("a")
    same(await waiting, ["a"], "what was waited for")


@promise
async def a_wait_comes_to_its_end(bench: Bench) -> None:
    consumer = await bench.consumer()
    same(await ids(consumer), [], "what is there at first")
    await consumer.wait(0.01)
    await bench.send("a")
    await consumer.wait(1_000_000.0)
    same(await ids(consumer), ["a"], "what was there before the waiting began")


@promise
async def of_a_lane_one_is_held_and_the_next_follows_it(bench: Bench) -> None:
    one, other = await bench.consumer(), await bench.consumer(elsewhere=True)
    await bench.send("a1", "a2", "a3", lane="a")
    await bench.send("b1", lane="b")
    await bench.send("free")
    first = await taken(one)
    same([each.task_id for each in first], ["a1", "b1", "free"], "the first of each lane")
    same(await ids(other), [], "while they are held")
    await one.done(first[0])
    (second,) = await taken(other)
    same(second.task_id, "a2", "the next of the lane")
    await other.again(second)
    same(await ids(one), ["a2"], "what was given back comes before what is behind it")


@promise
async def in_a_lane_the_higher_priority_is_first(bench: Bench) -> None:
    consumer = await bench.consumer()
    await bench.send("a1", "a2", lane="a")
    await bench.send("a0", lane="a", priority=1)
    (first,) = await taken(consumer)
    same(first.task_id, "a0", "what was sent last with a higher priority")
    await bench.send("urgent", lane="a", priority=9)
    same(await ids(consumer), [], "while another of the lane is held")
    await consumer.done(first)
    (urgent,) = await taken(consumer)
    await consumer.done(urgent)
    same([urgent.task_id, *await ids(consumer)], ["urgent", "a1"], "the order of the rest")


@promise
async def what_waits_for_its_time_holds_up_its_lane(bench: Bench) -> None:
    consumer = await bench.consumer(1_000)
    await bench.send("a1", lane="a", in_s=60)
    await bench.send("a2", lane="a")
    await bench.send("free")
    same(await ids(consumer), ["free"], "before its time")
    await bench.pass_time(61)
    (first,) = await taken(consumer)
    same(first.task_id, "a1", "at its time")
    await consumer.again(first, bench.after(60))
    same(await ids(consumer), [], "while it waits for another try")
    await bench.pass_time(61)
    (first,) = await taken(consumer)
    await consumer.done(first)
    same([first.task_id, *await ids(consumer)], ["a1", "a2"], "in the end")


@promise
async def what_becomes_due_waits_for_what_is_held_of_its_lane(bench: Bench) -> None:
    consumer = await bench.consumer(1_000)
    await bench.send("a1", lane="a")
    (held,) = await taken(consumer)
    await bench.send("a0", lane="a", priority=1, in_s=60)
    await bench.pass_time(61)
    same(await ids(consumer), [], "what has become due and comes first, while another of its lane is held")
    await consumer.done(held)
    same(await ids(consumer), ["a0"], "once that is done")


@promise
async def what_is_held_is_ones_own_while_one_beats(bench: Bench) -> None:
    holder, other = await bench.consumer(), await bench.consumer(1_000, elsewhere=True)
    await bench.send("a")
    same(await ids(holder), ["a"], "what it took")
    for _ in range(3):
        await bench.pass_time(LEASE_S - 5)
        same(await holder.beat(), True, "whether it still had it")
        same(await other.recover(), 0, "what could be recovered of the living")
    same(await ids(other), [], "what another can take")


@promise
async def what_is_held_when_a_lease_ends_is_delivered_again(bench: Bench) -> None:
    holder, other = await bench.consumer(), await bench.consumer(1_000, elsewhere=True)
    await bench.send("a")
    await bench.send("b1", "b2", lane="b")
    same(await ids(holder), ["a", "b1"], "what it took")
    await bench.send("b0", lane="b", priority=3)
    await bench.pass_time(LEASE_S + 1)
    same(await other.recover(), 2, "what was recovered")
    same(await other.recover(), 0, "what was recovered a second time")
    (first, again) = await taken(other)
    same((first.task_id, again.task_id), ("b0", "a"), "what is delivered again, and what has come before it")
    await other.done(first)
    same(await ids(other), ["b1"], "the lane goes on")


@promise
async def whoever_lost_its_lease_is_told_and_begins_anew(bench: Bench) -> None:
    holder, other = await bench.consumer(), await bench.consumer(1_000, elsewhere=True)
    await bench.send("a")
    (lost,) = await taken(holder)
    await bench.send("b")
    await bench.pass_time(LEASE_S + 1)
    same(await ids(holder), [], "what it can take while nobody told it")
    same(await holder.beat(), False, "whether it still had it")
    same(await holder.beat(), True, "whether it has what it takes from now on")
    await other.recover()
    same(await ids(holder, 1), ["a"], "what it takes now")
    await holder.done(lost)
    await bench.pass_time(LEASE_S - 5)
    same(await other.recover(), 0, "what could be recovered of it")
    same(await ids(other), ["b"], "what it did not take")


@promise
async def nothing_happens_to_what_is_no_longer_held(bench: Bench) -> None:
    stale, other = await bench.consumer(), await bench.consumer(1_000, elsewhere=True)
    await bench.send("a", "b", "c")
    one, two, _three = await taken(stale)
    await bench.pass_time(LEASE_S + 1)
    await stale.done(one)
    await stale.again(two)
    await other.recover()
    held = await taken(other)
    same([each.task_id for each in held], ["a", "b", "c"], "what is delivered again")
    for delivery in (one, two):
        await stale.done(delivery)
        await stale.again(delivery)
    same(await stale.beat(), False, "whether it still had it")
    for delivery in (one, two):
        await stale.done(delivery)
        await stale.again(delivery)
    same(await ids(stale), [], "what can be taken of what another holds")
    for delivery in held:
        await other.done(delivery)
        await other.done(delivery)
        await other.again(delivery)
    await stale.again(Delivery("a", QUEUE, "a tag of nobody"))
    same(await ids(other), [], "what is left when all is done")


@promise
async def leases_are_as_long_as_was_asked_for(bench: Bench) -> None:
    short, long = await bench.consumer(5), await bench.consumer(600, elsewhere=True)
    await bench.send("a", "b")
    same([*await ids(short, 1), *await ids(long, 1)], ["a", "b"], "what they took")
    await bench.pass_time(10)
    same(await long.recover(), 1, "what is recovered of the short lease")
    await bench.pass_time(500)
    fresh = await bench.consumer(5)
    same(await fresh.recover(), 0, "what is recovered of the long lease")
    same((await long.beat(), await short.beat()), (True, False), "whether they still had it")


@promise
async def two_may_recover_at_once(bench: Bench) -> None:
    gone = await bench.consumer()
    names = [f"task {number}" for number in range(20)]
    await bench.send(*names)
    same(await ids(gone), names, "what it took")
    await bench.pass_time(LEASE_S + 1)
    others = [await bench.consumer(elsewhere=True) for _ in range(3)]

    async def recovered(consumer: Consumer) -> tuple[int, list[str]]:
        return await consumer.recover(), await ids(consumer)

    found = await asyncio.gather(*map(recovered, others))
    same(sum(count for count, _ in found), len(names), "what three recovered at the same time")
    later = [name for consumer in others for name in await ids(consumer)]
    same(sorted([*later, *(name for _, had in found for name in had)]), sorted(names), "what they took of it")


@promise
async def who_leaves_gives_back_at_once(bench: Bench) -> None:
    leaving, other = await bench.consumer(), await bench.consumer(elsewhere=True)
    await bench.send("a")
    await bench.send("b1", "b2", lane="b")
    same(await ids(leaving), ["a", "b1"], "what it took")
    await leaving.leave()
    same(await ids(other), ["a", "b1"], "what another takes at once")
    same(await other.recover(), 0, "what is left to recover")


@promise
async def what_a_cancelled_taking_took_is_not_lost(bench: Bench) -> None:
    consumer = await bench.consumer(1_000)
    names = [f"task {number}" for number in range(16)]
    await bench.send(*names)
    had: list[str] = []
    for place in range(8):
        taking = asyncio.ensure_future(ids(consumer, 2))
        await asyncio.sleep(place * _A_MOMENT_S)  # Each is cut at another place.
        taking.cancel()
        with suppress(asyncio.CancelledError):
            had += await taking
    while len(had) < len(names):
        had += await ids(consumer)
        await asyncio.sleep(_A_MOMENT_S)
    same(sorted(had), sorted(names), "what was taken in the end, each once")


@promise
async def what_a_killed_process_held_is_delivered_again(bench: Bench) -> None:
    if bench.subject.reference() is None:
        return
    other = await bench.consumer(1_000)
    await bench.send("a", "b")
    async with holding(bench) as held:
        same(held, ["a", "b"], "what the other process took before it was killed")
    same(await other.recover(), 0, "what can be recovered before its lease is over")
    same(await ids(other), [], "what can be taken before")
    await bench.pass_time(LEASE_S + 1)
    holds(await other.recover() == 2, "its lease is over, so what it held should be recovered")
    same(await ids(other), ["a", "b"], "what is delivered again")
