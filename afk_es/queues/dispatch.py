"""The port of whoever hands tasks out to workers. An engine of somebody else's can be put behind it: procrastinate, NATS, Temporal, Celery.

It carries ids and promises one thing: what was sent is delivered at least once, and again where the consumer it was delivered to is gone.
Everything else is the log's: whatever an engine does, late, twice or out of order, a run has one owner at a time by its epoch, and a task
ends once. So no effect of a stale worker happens, and an engine need not be exact. `afk_es.testing.DispatcherContract` is what an engine must
pass.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from afk_es.log.port import Statement


class Parcel(msgspec.Struct, frozen=True):
    """What is sent.

    Attributes:
        task_id: the task.
        queue: where it is taken from.
        priority: the higher is taken first; of equals what was sent first.
        not_before: when it may be taken at the earliest; None: at once.
        lane: one parcel of a lane is held at a time, and they are taken in their order, by priority and then as they were sent: one that
            waits for its time, or for another try, holds up those behind it. None: no lane.
    """

    task_id: str
    queue: str
    priority: int = 0
    not_before: dt.datetime | None = None
    lane: str | None = None


class Delivery(msgspec.Struct, frozen=True):
    """A parcel in the hands of a consumer.

    Attributes:
        task_id: the task.
        queue: where it was taken from.
        tag: the engine's own name for it.
    """

    task_id: str
    queue: str
    tag: str


class Consumer(Protocol):
    """A worker's side of an engine. What it holds is its own for the length of a lease, which `beat` renews."""

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        """Up to `limit` parcels that are due, in their order; none where there are none. Never waits for one."""
        ...

    async def wait(self, timeout_s: float) -> None:
        """Return when there may be something to take, at the latest after so many seconds."""
        ...

    def holding(self, delivery: Delivery, first: int) -> Statement | None:
        """A query in the log's own database that finds a row for as long as nobody else can be given this delivery; None where the engine is
        elsewhere. It is asked within a transaction that must not land any more once somebody has been given it, however late it comes: its
        worker may have been stopped since it looked at the clock.

        Args:
            first: the number of its first parameter.
        """
        ...

    async def beat(self) -> bool:
        """Renew the lease of all that it holds.

        Returns:
            Whether it still had it. If not, others may have been given what it held: drop all of it, and `take` anew.
        """
        ...

    async def done(self, delivery: Delivery) -> None:
        """The task needs no more deliveries. Of what this consumer no longer holds nothing happens."""
        ...

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        """Deliver it once more, not before then. Of what this consumer no longer holds nothing happens."""
        ...

    async def recover(self) -> int:
        """Let what consumers hold whose lease is over be delivered again, and say how many that were. Any consumer may do it at any time."""
        ...

    async def leave(self) -> None:
        """Give back what it still holds, to be delivered at once, and be gone."""
        ...


class Dispatcher(Protocol):
    """An engine, on whatever it stands.

    Every method raises a `LogError` in words of the place it is at where it cannot be reached.
    """

    async def open(self) -> None:
        """Make it usable, with its tables. Called once before anything else, in the event loop that uses it, and after the log was opened."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...

    def sending(self, parcels: Sequence[Parcel]) -> Sequence[Statement] | None:
        """The statements that send these parcels within a transaction of the log's own database; None where the engine is elsewhere.

        Where it is None, a task is stored first and sent afterwards, and sent again by any worker that finds it unsent.
        """
        ...

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """Send parcels. What was sent twice may be delivered twice."""
        ...

    async def hasten(self, task_ids: Collection[str]) -> None:
        """Let what waits for its time of these tasks be taken at once: they were called off, and would hold up their lanes until then. An
        engine that cannot do so does nothing.
        """
        ...

    async def join(self, worker: str, lease_s: float) -> Consumer:
        """Become a consumer.

        Args:
            worker: its name, for people.
            lease_s: for how long after a `beat` what it holds is its own.
        """
        ...
