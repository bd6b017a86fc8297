"""An engine elsewhere, as NATS or Celery would be: it is no part of the log's database, so it gives no statements for its transactions.

It is one dict in this process, of which any number of dispatchers may be made.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from afk_es.clock import Clock
from afk_es.queues import Delivery, Parcel


@dataclass
class Broker:
    """What the dispatchers of one engine share.

    Attributes:
        waiting: parcels by their number, with when they may be taken.
        held: numbers of parcels, with the consumer that has them.
        leases: consumers, with when their lease is over.
    """

    clock: Clock
    waiting: dict[int, tuple[Parcel, dt.datetime | None]] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)
    leases: dict[int, dt.datetime] = field(default_factory=dict)
    numbers: count[int] = field(default_factory=lambda: count(1))
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def first(self, queues: Collection[str]) -> int | None:
        """What is to be taken next."""
        lanes = {self.waiting[number][0].lane for number in self.held} - {None}
        for number, (parcel, due) in sorted(self.waiting.items(), key=lambda item: (-item[1][0].priority, item[0])):
            if number in self.held or parcel.lane in lanes:
                continue
            if parcel.queue in queues and (due is None or due <= self.clock.now()):
                return number
            lanes |= {parcel.lane} - {None}
        return None

    def free(self, consumer: int) -> int:
        """Take from a consumer what it holds, and say how much that was."""
        held = [number for number, holder in self.held.items() if holder == consumer]
        for number in held:
            del self.held[number]
        self.leases.pop(consumer, None)
        self.news.set()
        return len(held)


class MemoryDispatcher:
    """A `Dispatcher` on a broker."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def open(self) -> None:
        """Nothing is to be made."""

    async def close(self) -> None:
        """Nothing is to be let go of."""

    def sending(self, parcels: Sequence[Parcel]) -> None:
        """See `Dispatcher.sending`."""
        return None

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See `Dispatcher.send`."""
        for parcel in parcels:
            self._broker.waiting[next(self._broker.numbers)] = (parcel, parcel.not_before)
        self._broker.news.set()

    async def hasten(self, task_ids: Collection[str]) -> None:
        """See `Dispatcher.hasten`."""
        for number, (parcel, _due) in self._broker.waiting.items():
            if parcel.task_id in task_ids and number not in self._broker.held:
                self._broker.waiting[number] = (parcel, None)
        self._broker.news.set()

    async def join(self, worker: str, lease_s: float) -> MemoryConsumer:
        """See `Dispatcher.join`."""
        return MemoryConsumer(self._broker, dt.timedelta(seconds=lease_s))


class MemoryConsumer:
    """A `Consumer` of it."""

    def __init__(self, broker: Broker, lease: dt.timedelta) -> None:
        self._broker = broker
        self._lease = lease
        self._number = 0
        self._join()

    def _join(self) -> None:
        self._broker.free(self._number)
        self._number = next(self._broker.numbers)
        self._broker.leases[self._number] = self._broker.clock.now() + self._lease

    def _lives(self) -> bool:
        return self._broker.clock.now() < self._broker.leases.get(self._number, dt.datetime.min.replace(tzinfo=dt.UTC))

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        """See `Consumer.take`."""
        self._broker.news.clear()
        found: list[Delivery] = []
        while self._lives() and len(found) < limit and (number := self._broker.first(queues)) is not None:
            parcel, _ = self._broker.waiting[number]
            self._broker.held[number] = self._number
            found.append(Delivery(parcel.task_id, parcel.queue, f"{self._number}:{number}"))
        return found

    async def wait(self, timeout_s: float) -> None:
        """See `Consumer.wait`."""
        # The clock of a test may stand still while it waits; it looks once more, and comes again.
        try:
            async with asyncio.timeout(min(timeout_s, 0.05)):
                await self._broker.news.wait()
        except TimeoutError:
            return

    def holding(self, delivery: Delivery, first: int) -> None:
        """See `Consumer.holding`: it is in no database."""

    async def beat(self) -> bool:
        """See `Consumer.beat`."""
        still = self._lives()
        if still:
            self._broker.leases[self._number] = self._broker.clock.now() + self._lease
        else:
            self._join()
        return still

    async def done(self, delivery: Delivery) -> None:
        """See `Consumer.done`."""
        if (number := self._held(delivery)) is not None:
            del self._broker.held[number], self._broker.waiting[number]
            self._broker.news.set()

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        """See `Consumer.again`."""
        if (number := self._held(delivery)) is not None:
            del self._broker.held[number]
            self._broker.waiting[number] = (self._broker.waiting[number][0], at)
            self._broker.news.set()

    def _held(self, delivery: Delivery) -> int | None:
        consumer, _, number = delivery.tag.partition(":")
        mine = consumer == str(self._number) and self._lives() and self._broker.held.get(int(number)) == self._number
        return int(number) if mine else None

    async def recover(self) -> int:
        """See `Consumer.recover`."""
        now = self._broker.clock.now()
        return sum(self._broker.free(consumer) for consumer, end in list(self._broker.leases.items()) if end <= now)

    async def leave(self) -> None:
        """See `Consumer.leave`."""
        self._broker.free(self._number)
