"""What was appended is read back: every event, equal in every field, in the order of the run, as often as it is asked for."""

from __future__ import annotations

from afk_es.errors import HeadConflictError, InvalidEventError
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, refused, same
from afk_es.testing.log_contract.material import AGENT, begin, event, started, turn, warning

ROUND_TRIP = Dimension("round trip", "What was appended is read back equal, in order and without a gap.")
ORDER = Dimension("order", "A run's events have the seqs 1, 2, 3 and so on; nothing else is accepted, and pages of them join.")


@ROUND_TRIP.promise
async def what_was_appended_is_read_back_equal(bench: Bench) -> None:
    log = await bench.store()
    end = event("run_a", 6, "run_failed", {"error": "e", "error_type": "E"}, state="failed", message="It failed.")
    events = [started("run_a", state="pending"), *turn("run_a", 2), end]
    await log.append(events[:1], epoch=1)
    await log.append(events[1:], epoch=1)
    same(await log.read("run_a"), events, "the events of a run appended in two parts")
    same(await log.read("run_a"), events, "the same events read a second time")


@ROUND_TRIP.promise
async def every_event_of_a_large_append_is_there(bench: Bench) -> None:
    log = await bench.store()
    many = [started("run_a"), *(item for place in range(300) for item in turn("run_a", 2 + 4 * place, place + 1))]
    await log.append(many, epoch=1)
    same(await log.read("run_a"), many, "1,201 events appended at once")
    head = await log.head("run_a")
    holds(head is not None, "a run that has events has a head")
    same(head.seq if head else None, 1201, "the head after them")


@ROUND_TRIP.promise
async def nothing_to_append_is_nothing(bench: Bench) -> None:
    log = await bench.store()
    await log.append([], epoch=1)
    same(await log.runs(), [], "the runs after an append of no events")


@ROUND_TRIP.promise
async def an_unknown_run_is_empty(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for unknown in ("run_x", "", "a\0b", "\udcff"):
        same(await log.read(unknown), [], f"the events of the unknown run {unknown!r}")
        same(await log.head(unknown), None, f"the head of the unknown run {unknown!r}")


@ROUND_TRIP.promise
async def parts_come_back_and_are_one_object_for_all_runs(bench: Bench) -> None:
    log = await bench.store()
    for run_id in ("run_a", "run_b"):
        await begin(log, run_id)
    agents = [(await log.read(run_id))[0].data["agent"] for run_id in ("run_a", "run_b", "run_a")]
    same(agents[0], AGENT, "the agent that the first event of a run carries")
    holds(
        agents[1] is agents[0] and agents[2] is agents[0], "a part that many events carry is one object in memory, and is not decoded anew"
    )


@ROUND_TRIP.promise
async def what_looks_like_a_reference_to_a_part_is_none(bench: Bench) -> None:
    log = await bench.store()
    claim = started("run_b")
    claim.data["agent"] = {"$part": "0" * 32}
    instructions = event("run_a", 6, "instructions_resolved", {"instructions": '{"$part": "x"}'})
    await begin(log, "run_a")
    await log.append([instructions], epoch=1)
    await log.append([claim], epoch=1)
    same(await log.read("run_a", after=5), [instructions], "instructions that look like a reference")
    same(await log.read("run_b"), [claim], "an agent that looks like a reference")


@ORDER.promise
async def only_the_next_seq_is_accepted(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for seq in (1, 4, 5, 7, 100):
        await refused(
            log.append(turn("run_a", seq), epoch=1), HeadConflictError, f"an append at seq {seq} of a run at seq 5", "run_a", "seq 5"
        )
    same([item.seq for item in await log.read("run_a")], [1, 2, 3, 4, 5], "the run after appends that did not follow it")


@ORDER.promise
async def a_run_begins_at_seq_one(bench: Bench) -> None:
    log = await bench.store()
    for seq in (2, 5):
        await refused(log.append([started("run_a", seq)], epoch=1), HeadConflictError, f"a run that begins at seq {seq}", "run_a")
    same(await log.head("run_a"), None, "the head of a run that was refused")


@ORDER.promise
async def the_events_of_one_append_are_gap_free(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for seqs in ((6, 8), (6, 6), (7, 6), (6, 7, 9)):
        batch = [warning("run_a", seq) for seq in seqs]
        await refused(log.append(batch, epoch=1), InvalidEventError, f"one append of the seqs {seqs}", "run_a")
    same([item.seq for item in await log.read("run_a")], [1, 2, 3, 4, 5], "the run after appends that were not gap-free")


@ORDER.promise
async def pages_join_without_gap_or_overlap(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    pages = [[item.seq for item in await log.read("run_a", after=after, limit=2)] for after in (0, 2, 4, 5)]
    same(pages, [[1, 2], [3, 4], [5], []], "pages of two")
    same(await log.read("run_a", limit=0), [], "a page of none")
    same([item.seq for item in await log.read("run_a", after=3)], [4, 5], "the rest behind seq 3, without a limit")
    same([item.seq for item in await log.read("run_a", limit=9)], [1, 2, 3, 4, 5], "a page larger than the run")


@ORDER.promise
async def runs_that_grow_side_by_side_stay_apart(bench: Bench) -> None:
    log = await bench.store()
    names = [f"run_{number}" for number in range(4)]
    for name in names:
        await begin(log, name)
    for place in range(3):
        for name in names:
            await log.append(turn(name, 6 + 4 * place, place + 2), epoch=1)
    for name in names:
        found = await log.read(name)
        same([(item.run_id, item.seq) for item in found], [(name, seq) for seq in range(1, 18)], f"the events of {name}")
