"""What is well and what is not with the tasks of a log: dead letters, workers that are gone, tasks that nobody takes. It looks, and changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.cli.health import Finding
from afk_es.clock import Clock
from afk_es.debugger.figures import span
from afk_es.errors import AfkError
from afk_es.log import DatabaseLog, EventLog
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.records import QueueStats, TaskRecords

_LATE_S = 300.0
"""For so long a task may have been due before that is worth a note."""

_STATES = ("queued", "running", "waiting", "dead")


async def queue_health(log: EventLog, clock: Clock) -> list[Finding]:
    """What there is to find about the tasks of an open log; nothing where it has none."""
    if not isinstance(log, DatabaseLog):
        return []
    records = TaskRecords(log, clock=clock)
    try:
        if not await records.open(make=False):
            return []
        stats, workers = await records.stats(), await records.workers()
    except AfkError as error:
        # The message of each of our errors ends with the way out.
        return [Finding("queue", "wrong", str(error))]
    if not stats and not workers:
        return []
    now = clock.now()
    here = [each for each in workers if each.alive(now)]
    gone = [each for each in workers if not each.alive(now)]
    return [_tasks(stats, here), _workers(here, gone)]


def _tasks(stats: tuple[QueueStats, ...], here: list[WorkerPresence]) -> Finding:
    facts: dict[str, Any] = {"queues": msgspec.to_builtins(stats)}
    counts = {state: sum(getattr(each, state) for each in stats) for state in _STATES}
    said = ", ".join(f"{counts[state]} {state}" for state in _STATES)
    if counts["dead"]:
        return Finding("queue", "note", said, "`afk-es queue dead` says why, and how to go on with each", facts)
    late = [each for each in stats if each.oldest_due_s is not None and each.oldest_due_s > _LATE_S]
    taken = {name for worker in here for name in worker.queues}
    for each in late:
        waits = f"{said}; one of {each.queue} is due for {span(each.oldest_due_s or 0.0)}"
        if each.queue not in taken:
            return Finding("queue", "note", f"{waits}, and no worker takes from it", "`afk-es worker MODULE --queue NAME` does", facts)
        return Finding("queue", "note", waits, "more workers, or a higher --concurrency, would take it sooner", facts)
    return Finding("queue", "ok", said, facts=facts)


def _workers(here: list[WorkerPresence], gone: list[WorkerPresence]) -> Finding:
    facts = {"here": [each.worker for each in here], "gone": [each.worker for each in gone]}
    said = f"{len(here)} here, {sum(each.busy for each in here)} of {sum(each.slots for each in here)} places taken"
    if not gone:
        return Finding("workers", "ok", said, facts=facts)
    names = ", ".join(each.worker for each in gone[:3]) + (", ..." if len(gone) > 3 else "")
    way_out = "harmless while others are here: they take over what it had; look why it ended"
    return Finding("workers", "note", f"{said}; {len(gone)} went without saying so: {names}", way_out, facts)
