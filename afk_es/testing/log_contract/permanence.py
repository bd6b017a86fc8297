"""The log only grows: what is in it is changed by nobody, and whoever goes behind its back is found out."""

from __future__ import annotations

from typing import Any

from afk_es.errors import HeadConflictError, RunNotFoundError
from afk_es.log.port import EventLog
from afk_es.machine.events import AgentRunEvent
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import BrokenPromiseError, holds, refused, same
from afk_es.testing.log_contract.material import START, begin, control, forked, started, turn, warning

APPEND_ONLY = Dimension("append-only", "What is in the log stays as it is, whatever is appended, refused, read or changed in memory.")
CHAIN = Dimension("chain", "Each event has a link that follows from everything before it; `verify` finds the chain of a sound run sound.")
TAMPERING = Dimension("tampering", "`verify` names the first event that is not what was appended.", optional=True, hook="tamper")
GUARDS = Dimension("guards", "The storage itself refuses to change or forget an event.", optional=True, hook="overwrite")


@APPEND_ONLY.promise
async def an_event_is_not_written_over(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    before = await log.read("run_a")
    for seq in range(1, 6):
        other = [warning("run_a", seq)] if seq > 1 else [started("run_a", owner="owner_2")]
        await refused(log.append(other, epoch=1), HeadConflictError, f"an append in the place of event {seq}")
        same(await log.read("run_a"), before, f"the run after an append in the place of event {seq}")


@APPEND_ONLY.promise
async def what_follows_changes_nothing_before_it(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    before = await log.read("run_a")
    await log.append(turn("run_a", 6, 2), epoch=1)
    await log.append([started("run_a", 10, epoch=2, owner="owner_2"), *turn("run_a", 11, 3)], epoch=2)
    same((await log.read("run_a"))[:5], before, "the first events of a run that has grown")


@APPEND_ONLY.promise
async def the_caller_keeps_no_hand_in_what_was_appended(bench: Bench) -> None:
    log = await bench.store()
    claim, data = started("run_a"), {"kind": "k", "deep": {"list": [1, 2]}}
    expected = [started("run_a"), _deep("run_a", 2)]
    batch = [claim, AgentRunEvent("warning", "run_a", "thread_1", 2, expected[1].at, "running", 1, "", data)]
    await log.append(batch, epoch=1)
    claim.data["user_message"] = "changed"
    data["deep"]["list"].append(3)  # type: ignore[index]
    batch.clear()
    same(await log.read("run_a"), expected, "the events after the caller has changed the objects that it appended")


@APPEND_ONLY.promise
async def a_reader_gets_data_of_its_own(bench: Bench) -> None:
    log = await bench.store()
    await log.append([started("run_a"), _deep("run_a", 2)], epoch=1)
    first: Any = (await log.read("run_a"))[1].data
    first["deep"]["list"].append("mine")
    first["more"] = 1
    same((await log.read("run_a"))[1], _deep("run_a", 2), "an event after one who read it has changed what was read")


@APPEND_ONLY.promise
async def a_letter_is_not_changed_by_whoever_posted_or_read_it(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    draft = control("pause")
    await log.post("run_a", draft, at=START)
    draft.data["action"] = "cancel"
    same((await log.letters())[0].draft, control("pause"), "a letter after its writer has changed the draft")


@CHAIN.promise
async def a_sound_run_is_found_sound(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    same(await log.verify("run_a"), None, "a run of five events")
    await log.append([started("run_a", 6, epoch=2), *turn("run_a", 7)], epoch=2)
    same(await log.verify("run_a"), None, "the run after a takeover")
    await refused(log.verify("run_x"), RunNotFoundError, "the verification of an unknown run", "run_x")


@CHAIN.promise
async def links_stay_and_tell_events_apart(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    links = await _links(log, "run_a", 5)
    holds(len({*links, None}) == 6, f"five events should have five different links, and have {links}")
    await log.append([warning("run_a", 6)], epoch=1)
    same(await _links(log, "run_a", 5), links, "the links of five events after a sixth")
    outside = [await log.link("run_a", 0), await log.link("run_a", 7), await log.link("run_x", 1)]
    same(outside, [None, None, None], "the links of events that are not there")


@CHAIN.promise
async def a_link_follows_from_all_that_is_before_it(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append(turn("run_a", 6), epoch=1)
    first, second = started("run_b"), turn("run_b", 2)
    await log.append([first, *second], epoch=1)
    holds(await log.link("run_b", 5) != await log.link("run_a", 5), "events of two runs should not have the same link")
    links = await _links(log, "run_a", 9)
    holds(links[4] != links[8], "two equal turns in one run should not end in the same link: a link covers what is before it")


@TAMPERING.promise
async def a_changed_event_is_named(bench: Bench) -> None:
    for run_id, seq in (("run_a", 1), ("run_b", 3), ("run_c", 9)):
        log = await bench.store()
        await begin(log, run_id)
        await log.append(turn(run_id, 6), epoch=1)
        await bench.subject.tamper(log, bench.directory, run_id, seq)
        fault = await log.verify(run_id)
        found = None if fault is None else (fault.run_id, fault.seq)
        same(found, (run_id, seq), f"the fault in {run_id} after its event {seq} was changed behind the store's back")


@TAMPERING.promise
async def a_change_in_one_run_is_not_held_against_another(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await begin(log, "run_b")
    await bench.subject.tamper(log, bench.directory, "run_a", 3)
    holds(await log.verify("run_a") is not None, "a changed event should be found")
    same(await log.verify("run_b"), None, "the other run")


@TAMPERING.promise
async def a_change_in_what_a_fork_shares_is_seen_in_the_fork(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.append([forked("run_f", "run_a", 4), *turn("run_f", 6)], epoch=2)
    await bench.subject.tamper(log, bench.directory, "run_a", 3)
    fault = await log.verify("run_f")
    same(None if fault is None else (fault.run_id, fault.seq), ("run_f", 3), "the fault in a fork of a run that was changed")


@GUARDS.promise
async def the_storage_refuses_to_change_an_event(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    before = await log.read("run_a")
    for seq in (1, 3, 5):
        try:
            await bench.subject.overwrite(log, bench.directory, "run_a", seq)
        except NotImplementedError:
            raise
        except Exception:  # noqa: BLE001, S110 - whatever the storage raises is its refusal; that it changed nothing is seen below
            pass
        else:
            raise BrokenPromiseError(f"the storage let event {seq} be changed or deleted by ordinary means")
    same(await log.read("run_a"), before, "the run after attempts to change it")
    same(await log.verify("run_a"), None, "its hash chain")


def _deep(run_id: str, seq: int) -> AgentRunEvent:
    return warning(run_id, seq, data={"kind": "k", "deep": {"list": [1, 2]}})


async def _links(log: EventLog, run_id: str, count: int) -> list[str | None]:
    return [await log.link(run_id, seq) for seq in range(1, count + 1)]
