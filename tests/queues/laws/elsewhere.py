"""An engine that is somewhere else: nothing of it is in the log's database, so tasks are stored first and sent afterwards."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence

from afk_es.clock import Clock
from afk_es.queues.dispatch import Consumer, Delivery, Parcel
from tests.queues.laws.model import Engine


class ElsewhereDispatcher:
    """The engine of the model as a `Dispatcher`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._start = clock.now()
        self._engine = Engine()

    @property
    def engine(self) -> Engine:
        """At this moment."""
        self._engine.now = (self._clock.now() - self._start).total_seconds()
        return self._engine

    def seconds(self, at: dt.datetime | None) -> float | None:
        return None if at is None else (at - self._start).total_seconds()

    async def open(self) -> None:
        """Nothing is to be made."""

    async def close(self) -> None:
        """It has no connections."""

    def sending(self, parcels: Sequence[Parcel]) -> None:
        """Not in the log's transactions."""

    async def send(self, parcels: Sequence[Parcel]) -> None:
        for each in parcels:
            self.engine.send(each.task_id, each.queue, each.priority, each.lane, self.seconds(each.not_before))

    async def hasten(self, task_ids: Collection[str]) -> None:
        self.engine.hasten(task_ids)

    async def join(self, worker: str, lease_s: float) -> Consumer:
        return _Consumer(self, self.engine.join())


class _Consumer:
    def __init__(self, dispatcher: ElsewhereDispatcher, number: int) -> None:
        self._dispatcher = dispatcher
        self._number = number

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        taken = self._dispatcher.engine.take(self._number, tuple(queues), limit)
        return [Delivery(each.task, each.queue, f"{self._number}:{each.seq}") for each in taken]

    def holding(self, delivery: Delivery, first: int) -> None:
        """The log's database knows nothing of it."""

    async def wait(self, timeout_s: float) -> None:
        """Whoever steps it does not wait."""

    async def beat(self) -> bool:
        if self._dispatcher.engine.beat(self._number):
            return True
        self._dispatcher.engine.leave(self._number)
        self._number = self._dispatcher.engine.join()
        return False

    async def done(self, delivery: Delivery) -> None:
        self._dispatcher.engine.done(*_named(delivery))

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        self._dispatcher.engine.again(*_named(delivery), self._dispatcher.seconds(at))

    async def recover(self) -> int:
        return self._dispatcher.engine.recover()

    async def leave(self) -> None:
        self._dispatcher.engine.leave(self._number)


def _named(delivery: Delivery) -> tuple[int, int]:
    consumer, _, seq = delivery.tag.partition(":")
    return int(consumer), int(seq)
