"""What a caller does wrong: refused with the right class and a message that names it, before anything is written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

from afk_es.errors import InvalidEventError, LogClosedError, RunNotFoundError
from afk_es.log.port import EventLog
from afk_es.machine.events import AgentRunEvent
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.dimension import Dimension
from afk_es.testing.log_contract.expecting import refused, same
from afk_es.testing.log_contract.material import START, begin, control, event, started, turn, warning

REFUSALS = Dimension("refusals", "Wrong use raises the declared error, and leaves nothing behind.")

_INVALID: tuple[tuple[str, dict[str, Any]], ...] = (
    ("step_started", {"step": "one", "state": "running"}),
    ("step_started", {"state": "running"}),
    ("unknown_type", {"what": object()}),
    ("unknown_type", {"what": "\ud800"}),
    ("text_delta", {"delta": "transient"}),
)


@REFUSALS.promise
async def invalid_data_is_refused_with_nothing_written(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for kind, data in _INVALID:
        batch = [*turn("run_a", 6), event("run_a", 10, kind, data)]
        await refused(log.append(batch, epoch=1), InvalidEventError, f"{kind} with {data!r} at the end of an append", kind)
    same(len(await log.read("run_a")), 5, "the events of a run after appends that were refused for their last event")
    await refused(log.append([event("run_b", 1, "run_started", {"epoch": 1})], epoch=1), InvalidEventError, "a claim of the wrong shape")
    same([row.run_id for row in await log.runs()], ["run_a"], "the runs after a first append that was refused")


@REFUSALS.promise
async def a_time_without_zone_is_refused(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    naive = AgentRunEvent("warning", "run_a", "thread_1", 6, dt.datetime(2026, 1, 1), "running", 0, "", {"kind": "k"})  # noqa: DTZ001
    await refused(log.append([naive], epoch=1), InvalidEventError, "a time without zone", "run_a")


@REFUSALS.promise
async def an_id_that_cannot_be_kept_is_refused(bench: Bench) -> None:
    log = await bench.store()
    for identity in ("", "a\0b", "\ud800"):
        await refused(log.append([started(identity)], epoch=1), InvalidEventError, f"the run id {identity!r}", "id")
        await refused(log.append([started("run_a", thread_id=identity)], epoch=1), InvalidEventError, f"the thread id {identity!r}", "id")
    same(await log.runs(), [], "the runs after them")


@REFUSALS.promise
async def events_of_one_append_belong_together(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    foreign_run = [*turn("run_a", 6), warning("run_b", 10)]
    foreign_thread = [warning("run_a", 6), warning("run_a", 7, thread_id="thread_2")]
    other_thread = [warning("run_a", 6, thread_id="thread_2")]
    for events, what in ((foreign_run, "two runs"), (foreign_thread, "two threads"), (other_thread, "another thread than the run's")):
        await refused(log.append(events, epoch=1), InvalidEventError, f"one append with events of {what}", "run_a")
    same(len(await log.read("run_a")), 5, "the events after appends that did not belong together")


@REFUSALS.promise
async def the_run_goes_on_after_a_refusal(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await refused(log.append([event("run_a", 6, "step_started", {})], epoch=1), InvalidEventError, "a step of the wrong shape")
    await log.append(turn("run_a", 6), epoch=1)
    same([item.seq for item in await log.read("run_a")], list(range(1, 10)), "the run after a refusal and an append that is right")
    same(await log.verify("run_a"), None, "its hash chain")


@REFUSALS.promise
async def a_closed_store_says_so(bench: Bench) -> None:
    log = bench.made()
    for moment in ("before it was opened", "after it was closed"):
        for name, call in _CALLS.items():
            await refused(call(log), LogClosedError, f"{name} {moment}")
        await log.open()
        await log.close()


@REFUSALS.promise
async def a_store_that_was_closed_by_mistake_may_be_opened_again(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    await log.close()
    await refused(log.append(turn("run_a", 6), epoch=1), LogClosedError, "an append to a closed store")
    await log.open()
    same(len(await log.read("run_a")), 5, "the run after an append to a closed store")


@REFUSALS.promise
async def an_unknown_run_cannot_be_verified_nor_written_to(bench: Bench) -> None:
    log = await bench.store()
    await begin(log, "run_a")
    for unknown in ("run_x", ""):
        await refused(log.verify(unknown), RunNotFoundError, f"the verification of {unknown!r}")
        await refused(log.post(unknown, control("pause"), at=START), RunNotFoundError, f"a letter to {unknown!r}")


_CALLS: dict[str, Callable[[EventLog], Awaitable[object]]] = {
    "append": lambda log: log.append([started("run_a")], epoch=1),
    "read": lambda log: log.read("run_a"),
    "scan": lambda log: log.scan("run_a"),
    "head": lambda log: log.head("run_a"),
    "thread": lambda log: log.thread("thread_1"),
    "forks": lambda log: log.forks("run_a"),
    "runs": lambda log: log.runs(),
    "find": lambda log: log.find("r"),
    "verify": lambda log: log.verify("run_a"),
    "link": lambda log: log.link("run_a", 1),
    "post": lambda log: log.post("run_a", control("pause"), at=START),
    "letters": lambda log: log.letters(),
    "posted": lambda log: log.posted(),
}
