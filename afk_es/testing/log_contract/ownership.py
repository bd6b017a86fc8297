"""One owner at a time: the epoch of a run is raised by a claim and by nothing else, and whoever does not know of it is refused."""

from __future__ import annotations

from afk_es.errors import HeadConflictError, InvalidEventError
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, refused, same
from afk_es.testing.log_contract.material import begin, started, turn, warning

OWNERSHIP = Dimension("ownership", "An append has the epoch of the run's owner; a claim raises it by one, and stops whoever came before.")
LIVENESS = Dimension("liveness", "An owner is alive in what it holds, until it lets go of it, closes its store or is gone.")


@OWNERSHIP.promise
async def a_run_begins_with_a_claim_of_epoch_one(bench: Bench) -> None:
    log = await bench.store()
    for events, epoch in ((turn("run_a", 1), 1), (turn("run_a", 1), 0), ([started("run_a", epoch=2)], 2), ([started("run_a", epoch=0)], 0)):
        await refused(
            log.append(events, epoch=epoch), HeadConflictError, f"a run that begins with {events[0].type} of epoch {epoch}", "run_a"
        )
    same(await log.head("run_a"), None, "the head of a run that was refused")


@OWNERSHIP.promise
async def without_a_claim_the_epoch_stays(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for epoch in (0, 2, 3):
        await refused(log.append(turn("run_a", 6), epoch=epoch), HeadConflictError, f"events of epoch {epoch} in a run of epoch 1", "epoch")
    same(len(await log.read("run_a")), 5, "the events after appends of other epochs")


@OWNERSHIP.promise
async def a_claim_raises_the_epoch_by_one(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for epoch in (1, 3):
        claim = [started("run_a", 6, epoch=epoch)]
        await refused(log.append(claim, epoch=epoch), HeadConflictError, f"a claim of epoch {epoch} in a run of epoch 1", "epoch")
    await log.append([started("run_a", 6, epoch=2), *turn("run_a", 7)], epoch=2)
    head = await log.head("run_a")
    found = None if head is None else (head.seq, head.epoch, head.last_type)
    same(found, (10, 2, "llm_completed"), "the head after a claim of epoch 2")


@OWNERSHIP.promise
async def a_claim_says_the_epoch_with_which_it_is_appended(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await refused(log.append([started("run_a", 6, epoch=3)], epoch=2), InvalidEventError, "a claim of epoch 3 appended as 2", "epoch")
    late = [warning("run_a", 6), started("run_a", 7, epoch=2)]
    await refused(log.append(late, epoch=2), InvalidEventError, "a claim that is not the first of its append", "claim")
    same(len(await log.read("run_a")), 5, "the events after claims that were refused")


@OWNERSHIP.promise
async def a_stale_owner_is_stopped_and_the_new_one_goes_on(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([started("run_a", 6, epoch=2, owner="owner_2")], epoch=2)
    for seq in (6, 7):
        await refused(log.append(turn("run_a", seq), epoch=1), HeadConflictError, f"a stale owner's append at seq {seq}")
    await log.append(turn("run_a", 7), epoch=2)
    same([item.seq for item in await log.read("run_a")], list(range(1, 11)), "the run after a takeover")
    same(await log.verify("run_a"), None, "its hash chain")


@OWNERSHIP.promise
async def the_refusal_tells_where_the_run_stands(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([started("run_a", 6, epoch=2, owner="owner_2")], epoch=2)
    await refused(log.append(turn("run_a", 6), epoch=1), HeadConflictError, "a stale owner's append", "run_a", "seq 6", "epoch 2")


@LIVENESS.promise
async def an_owner_lives_in_what_it_holds(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    holds(not await log.alive(log.owner, "run_a"), "a store that does not hold a run should not be alive in it")
    log.hold("run_a")
    holds(await log.alive(log.owner, "run_a"), "a store that holds a run should be alive in it")
    holds(not await log.alive(log.owner, "run_b"), "a store that holds one run should not be alive in another")
    log.release("run_a")
    holds(not await log.alive(log.owner, "run_a"), "a store that has released a run should not be alive in it")


@LIVENESS.promise
async def each_hold_needs_its_own_release(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    log.hold("run_a")
    log.hold("run_a")
    log.release("run_a")
    holds(await log.alive(log.owner, "run_a"), "a run that is held twice and released once should still be held")
    log.release("run_a")
    holds(not await log.alive(log.owner, "run_a"), "a run that is held twice and released twice should be free")


@LIVENESS.promise
async def a_run_may_be_held_before_it_is_there(bench: Bench) -> None:
    log = await bench.store()
    log.hold("run_a")
    holds(await log.alive(log.owner, "run_a"), "a run is held from before its first event")
    await begin(log, "run_a")
    holds(await log.alive(log.owner, "run_a"), "an append should not end a hold")
    log.release("run_a")


@LIVENESS.promise
async def an_owner_that_nobody_knows_is_dead(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    log.hold("run_a")
    for stranger in ("owner_of_long_ago", "../owner", "", "owner_1"):
        holds(not await log.alive(stranger, "run_a"), f"the owner {stranger!r}, which has no store, should not be alive")


@LIVENESS.promise
async def a_store_that_was_closed_holds_nothing(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    log.hold("run_a")
    await log.close()
    await log.open()
    holds(not await log.alive(log.owner, "run_a"), "a store that was closed and opened again should hold nothing")
