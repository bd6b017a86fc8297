"""Runs that share their beginning with another: read, scanned, verified and listed as whole runs, and stored once."""

from __future__ import annotations

import msgspec

from afk_es.errors import HeadConflictError, InvalidEventError
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import holds, refused, same
from afk_es.testing.log_contract.material import begin, forked, started, turn

FORKS = Dimension("forks", "A fork is one whole run with the events that it shares, and neither run sees what goes on in the other.")


@FORKS.promise
async def a_fork_is_one_whole_run_with_the_events_that_it_shares(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    before = await log.read("run_a")
    fork = [forked("run_f", "run_a", 3, thread_id="thread_2"), *turn("run_f", 5, thread_id="thread_2")]
    await log.append(fork, epoch=2)
    whole = await log.read("run_f")
    shared = [msgspec.structs.replace(item, run_id="run_f", thread_id="thread_2") for item in before[:3]]
    same(whole, [*shared, *fork], "a fork, under its own run and thread id")
    for after, limit in ((0, 2), (1, 4), (2, 1), (3, 3), (4, None), (8, 1), (0, 0)):
        upto = None if limit is None else after + limit
        same(await log.read("run_f", after=after, limit=limit), whole[after:upto], f"its page of {limit} behind seq {after}")
    head = await log.head("run_f")
    found = None if head is None else (head.thread_id, head.seq, head.epoch, head.last_type, head.forked_from)
    same(found, ("thread_2", 8, 2, "llm_completed", {"run_id": "run_a", "seq": 3}), "its head")
    same(await log.read("run_a"), before, "the run that it was forked from")


@FORKS.promise
async def a_fork_has_the_links_of_what_it_shares(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 3), *turn("run_f", 5)], epoch=2)
    links = [await log.link("run_f", seq) for seq in range(10)]
    same(links[1:4], [await log.link("run_a", seq) for seq in (1, 2, 3)], "the links of the events that are shared")
    same((links[0], links[9]), (None, None), "the links before the beginning and behind the end")
    holds(len(set(links[1:9])) == 8, f"eight events should have eight links, and have {links[1:9]}")
    same(await log.verify("run_f"), None, "its hash chain")


@FORKS.promise
async def what_goes_on_in_one_run_is_not_seen_in_the_other(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 5)], epoch=2)
    await log.append(turn("run_a", 6), epoch=1)
    await log.append(turn("run_f", 7), epoch=2)
    types = [item.type for item in turn("run_a", 6)]
    same([item.type for item in await log.read("run_a", after=5)], types, "what followed in the base")
    same([item.type for item in await log.read("run_f", after=5)], ["run_started", *types], "what followed in the fork")
    same([item.seq for item in await log.read("run_f")], list(range(1, 11)), "the seqs of the fork")
    same([await log.verify(run_id) for run_id in ("run_a", "run_f")], [None, None], "both chains")


@FORKS.promise
async def a_fork_of_a_fork_shares_what_that_shares(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 5), *turn("run_f", 7)], epoch=2)
    for seq in (2, 5, 6, 8):
        name, epoch = f"run_g{seq}", 2 if seq <= 5 else 3
        await log.append([forked(name, "run_f", seq, epoch=epoch), *turn(name, seq + 2)], epoch=epoch)
        whole = await log.read(name)
        base = [item.data for item in (await log.read("run_f"))[:seq]]
        same([item.data for item in whole[:seq]], base, f"what a fork of a fork at seq {seq} shares")
        same([item.seq for item in whole], list(range(1, seq + 6)), f"the seqs of a fork of a fork at seq {seq}")
        same(await log.read(name, after=seq - 1, limit=2), whole[seq - 1 : seq + 1], "a page over where it leaves its base")
        await log.append([started(name, seq + 6, epoch=epoch + 1)], epoch=epoch + 1)
        same(await log.verify(name), None, "its hash chain after a takeover")


@FORKS.promise
async def a_run_knows_its_forks(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for run_id, base, seq, epoch in (("run_f", "run_a", 4, 2), ("run_g", "run_a", 2, 2), ("run_h", "run_f", 5, 3)):
        await log.append([forked(run_id, base, seq, epoch=epoch)], epoch=epoch)
    same(await log.forks("run_a"), [await log.head("run_f"), await log.head("run_g")], "the forks of a run")
    same(await log.forks("run_f"), [await log.head("run_h")], "the forks of a fork")
    same([await log.forks("run_h"), await log.forks("run_x")], [[], []], "the forks of a run that has none, and of an unknown one")


@FORKS.promise
async def a_fork_is_scanned_as_one_run_in_both_directions(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 4), *turn("run_f", 6, 2)], epoch=2)
    await log.append(turn("run_a", 6, 2), epoch=1)
    whole = await log.read("run_f")
    types = ("step_started", "llm_called")
    wanted = [item for item in whole if item.type in types]
    same(await log.scan("run_f", types=types), wanted, "events of two types")
    same(await log.scan("run_f", types=types, backwards=True), wanted[::-1], "events of two types, backwards")
    same(await log.scan("run_f", types=types, limit=3), wanted[:3], "the first three")
    same(await log.scan("run_f", types=types, limit=3, backwards=True), wanted[::-1][:3], "the last three")
    same(await log.scan("run_f", after=3, before=7), whole[3:6], "a stretch over where it leaves its base")


@FORKS.promise
async def a_fork_begins_behind_an_event_that_is_there_and_with_the_next_epoch(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for base, seq, epoch, error in (
        ("run_x", 3, 2, InvalidEventError),
        ("run_a", 6, 2, InvalidEventError),
        ("run_a", 3, 1, HeadConflictError),
        ("run_a", 3, 3, HeadConflictError),
    ):
        append = log.append([forked("run_f", base, seq, epoch=epoch)], epoch=epoch)
        await refused(append, error, f"a fork of {base} at seq {seq} with epoch {epoch}", "run_f")
    misplaced = forked("run_f", "run_a", 3)
    misplaced.data["forked_from"] = {"run_id": "run_a", "seq": 2}
    await refused(log.append([misplaced], epoch=2), InvalidEventError, "a fork that begins elsewhere than it says", "begins at seq 3")
    same(await log.head("run_f"), None, "the head of a fork that was refused")
    await begin(log, "run_b")
    await refused(
        log.append([forked("run_b", "run_a", 5)], epoch=2), InvalidEventError, "a fork under the id of a run", "run_b is there already"
    )
    same([len(await log.read(run_id)) for run_id in ("run_a", "run_b", "run_f")], [5, 5, 0], "the runs after all that")


@FORKS.promise
async def a_fork_that_shares_nothing_is_a_run_that_says_what_it_varies(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    claim = started("run_f")
    claim.data["forked_from"] = {"run_id": "run_a", "seq": 0}
    await log.append([claim, *turn("run_f", 2)], epoch=1)
    same(await log.read("run_f"), [claim, *turn("run_f", 2)], "its events")
    same(await log.verify("run_f"), None, "its hash chain")
    same([row.forked_from for row in await log.runs()], [{"run_id": "run_a", "seq": 0}, None], "what the list says it was forked from")


@FORKS.promise
async def a_listed_fork_counts_what_is_its_own_and_was_not_reused(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    again = turn("run_f", 7)
    again[-1].data["reused"] = {"run_id": "run_a", "seq": 5}
    claim = forked("run_f", "run_a", 5)
    claim.data["user_message"] = "hello"
    await log.append([claim, *again, *turn("run_f", 11, 2)], epoch=2)
    fork, parent = await log.runs()
    same((fork.run_id, fork.forked_from, fork.user_message), ("run_f", {"run_id": "run_a", "seq": 5}, "hello"), "what the fork is called")
    same((fork.started_at, fork.seq, fork.epoch, fork.owner), (claim.at, 14, 2, "owner_2"), "where it stands")
    same((fork.llm_calls, fork.input_tokens, fork.output_tokens, fork.cost_usd), (1, 10, 3, 0.25), "what is its own")
    same((parent.llm_calls, parent.cost_usd, parent.forked_from), (1, 0.25, None), "what is its base's")


@FORKS.promise
async def more_said_of_a_base_by_a_newer_version_does_no_harm(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    claim = forked("run_f", "run_a", 3)
    claim.data["forked_from"] |= {"why": "to see"}
    await log.append([claim], epoch=2)
    same((await log.read("run_f"))[3], claim, "the first event of the fork")
    same(await log.verify("run_f"), None, "its hash chain")
