"""What a worker counts of itself. Counters are since it began, gauges as of now."""

from __future__ import annotations

import msgspec


class WorkerMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """A worker in numbers.

    Attributes:
        slots: gauge: tasks that it has at once at most.
        busy: gauge: tasks that it has.
        draining: gauge: whether it takes no more.
        held: gauge: whether its lease lasts, by its own clock.
        taken: counter: deliveries that it took.
        completed, cancelled, dead, waiting: counters: attempts that left a task so.
        retried: counter: attempts that failed and will be tried again.
        given_back: counter: attempts that do not count: of a worker that stopped, of tasks that it knew nothing of or whose run somebody else
            drove.
        unsettled: counter: deliveries of which nothing was written: there was nothing to do, or its lease was over before.
        recovered: counter: deliveries that it found with workers that were gone.
        awakened: counter: tasks that it found to wait no longer.
        leases_lost: counter: times at which others had been given what it held.
        outages: counter: times at which the log or the engine could not be reached.
    """

    slots: int = 0
    busy: int = 0
    draining: bool = False
    held: bool = False
    taken: int = 0
    completed: int = 0
    cancelled: int = 0
    dead: int = 0
    waiting: int = 0
    retried: int = 0
    given_back: int = 0
    unsettled: int = 0
    recovered: int = 0
    awakened: int = 0
    leases_lost: int = 0
    outages: int = 0
