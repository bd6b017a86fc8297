"""The engine of a log on SQLite: two tables in the log's own file. It knows how to hand out ids, and nothing of what they stand for.

No engine that exists lives in a file of somebody else's, and in the transactions of whoever writes to it: those for SQLite that are kept
(huey, litequeue, persist-queue) keep a file of their own, so that a task and its delivery could not be stored together. On PostgreSQL there
are such engines, and this is not for it.

What is ready is looked for now and then, the less often the longer nothing came, since SQLite tells nobody of a change. What is sent
through the same dispatcher is noticed at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence

from afk_es.clock import Clock, Ids, RandomIds, SystemClock
from afk_es.errors import ConfigurationError, NewerLogError
from afk_es.log.codec import microseconds
from afk_es.log.port import DatabaseLog, Statement
from afk_es.queues import delivery_rows as rows
from afk_es.queues.dispatch import Delivery, Parcel

_SHORTEST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 1.0
"""Between two looks at the tables: twice as long each time."""


class TableDispatcher:
    """A `Dispatcher` in the file of a SQLite log. Any number of processes may use one file.

    Leases are judged by the machine's time of day: where it is set forward by more than a lease, what is held is delivered again.

    Args:
        log: the log, which somebody else opens and closes.
        clock: where time comes from.
        ids: where the names of consumers come from.

    Raises:
        ConfigurationError: the log is not on SQLite.
    """

    def __init__(self, log: DatabaseLog, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        if log.dialect != "sqlite":
            raise ConfigurationError("TableDispatcher is for a log on SQLite; on PostgreSQL use ProcrastinateDispatcher, or none at all")
        self._log = log
        self._clock = clock or SystemClock()
        self._ids = ids or RandomIds()
        self._waiting: set[asyncio.Future[None]] = set()

    async def open(self) -> None:
        """Make the tables if there are none.

        Raises:
            NewerLogError: they are of a newer afk_es.
            LogError: the file cannot be written.
        """
        found = await self._log.transact(rows.making())
        version = found[-1][0][0]
        if version > rows.VERSION:
            raise NewerLogError(
                f"the deliveries beside this log have version {version}, this afk_es understands up to {rows.VERSION}; upgrade afk_es"
            )

    async def close(self) -> None:
        """Nothing: the log's connections are the log's."""

    def sending(self, parcels: Sequence[Parcel]) -> Sequence[Statement]:
        """See `Dispatcher.sending`."""
        if not parcels:
            return []
        self._stir()
        return rows.sending(parcels)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See `Dispatcher.send`."""
        if parcels:
            await self._log.transact(rows.sending(parcels))
            self._stir()

    async def hasten(self, task_ids: Collection[str]) -> None:
        """See `Dispatcher.hasten`."""
        await self._log.transact([rows.hastening(task_ids)])
        self._stir()

    async def join(self, worker: str, lease_s: float) -> TableConsumer:
        """See `Dispatcher.join`."""
        if not 0 < lease_s < float("inf"):
            raise ConfigurationError(f"lease_s is a positive number of seconds, not {lease_s!r}")
        consumer = TableConsumer(self, self._log, self._clock, self._ids, worker, lease_s)
        await consumer.join()
        return consumer

    async def nap(self, seconds: float) -> bool:
        """Wait that long, or until something is sent through this dispatcher, and say whether it was that."""
        stirred = asyncio.get_running_loop().create_future()
        sleeping = asyncio.ensure_future(self._clock.sleep(seconds))
        self._waiting.add(stirred)
        try:
            await asyncio.wait((stirred, sleeping), return_when=asyncio.FIRST_COMPLETED)
            return stirred.done()
        finally:
            self._waiting.discard(stirred)
            stirred.cancel()
            sleeping.cancel()

    def _stir(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


class TableConsumer:
    """A `Consumer` of a `TableDispatcher`. After a lease that ran out it has another name, so that nothing it held before is its own."""

    def __init__(self, dispatcher: TableDispatcher, log: DatabaseLog, clock: Clock, ids: Ids, worker: str, lease_s: float) -> None:
        self._dispatcher = dispatcher
        self._log = log
        self._clock = clock
        self._ids = ids
        self._worker = worker
        self._lease = dt.timedelta(seconds=lease_s)
        self._name = ""
        self._held: dict[str, tuple[int, str | None]] = {}
        self._queues: Collection[str] = ()
        self._sure = True
        self._turn = asyncio.Lock()

    async def join(self) -> None:
        """Begin a lease, and let go of what was held in another."""
        former, name = self._name, self._ids.new("consumer")
        leaving = rows.leaving(former) if former else []
        await self._log.transact([*leaving, *rows.joining(name, self._worker, self._clock.now() + self._lease)])
        self._name = name
        self._held.clear()

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        """See `Consumer.take`. When its lease is over there is nothing for it, until `beat` has said so."""
        self._queues = tuple(queues)
        if not queues or limit < 1:
            return []
        async with self._turn:
            name = self._name
            if not self._sure:
                await self._give_back_what_nobody_got()
            self._sure = False
            *_, taken = await self._log.transact(rows.taking(name, queues, limit, self._clock.now()))
            self._sure = True
            deliveries = []
            for seq, task_id, queue, lane, _priority in sorted(taken, key=lambda row: (-row[4], row[0])):
                delivery = Delivery(task_id, queue, f"{name}:{seq}")
                self._held[delivery.tag] = (seq, lane)
                deliveries.append(delivery)
            return deliveries

    async def _give_back_what_nobody_got(self) -> None:
        # A taking whose caller was cancelled, or whose answer was lost, may have landed, or still waits to be written: asked where writes are,
        # and so behind it.
        (holding,) = await self._log.transact([rows.holding(self._name)])
        known = {seq for seq, _lane in self._held.values()}
        now = self._clock.now()
        unknown = [rows.returning(seq, self._name, lane, now, None) for seq, lane in holding if seq not in known]
        if unknown:
            await self._log.transact([statement for each in unknown for statement in each])

    async def wait(self, timeout_s: float) -> None:
        """See `Consumer.wait`. It looks in the queues that were last taken from."""
        deadline = self._clock.monotonic() + timeout_s
        pause = _SHORTEST_PAUSE_S
        while True:
            ready, until_due_s = await self._look()
            left = deadline - self._clock.monotonic()
            if ready or left <= 0:
                return
            stirred = await self._dispatcher.nap(min(pause, left, until_due_s))
            pause = _SHORTEST_PAUSE_S if stirred else min(2 * pause, _LONGEST_PAUSE_S)

    async def _look(self) -> tuple[bool, float]:
        """Whether there may be something to take, and in how many seconds there may be next."""
        now = self._clock.now()
        seen = await self._log.query(rows.looking(self._name, self._queues, now))
        if not seen:
            return False, float("inf")
        ((ready, due),) = seen
        until_due_s = float("inf") if due is None else (due - microseconds(now)) / 1e6
        return bool(ready) or until_due_s <= 0, until_due_s

    def holding(self, delivery: Delivery, first: int) -> Statement:
        """See `Consumer.holding`."""
        consumer, _, seq = delivery.tag.rpartition(":")
        return rows.bearing(int(seq), consumer, first)

    async def beat(self) -> bool:
        """See `Consumer.beat`."""
        now = self._clock.now()
        (still,) = await self._log.transact(rows.beating(self._name, now, now + self._lease))
        if not still:
            await self.join()
        return bool(still)

    async def done(self, delivery: Delivery) -> None:
        """See `Consumer.done`."""
        if (held := self._held.get(delivery.tag)) is not None:
            seq, lane = held
            await self._log.transact(rows.finishing(seq, self._name, lane, self._clock.now()))
            self._held.pop(delivery.tag, None)

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        """See `Consumer.again`."""
        if (held := self._held.get(delivery.tag)) is not None:
            seq, lane = held
            await self._log.transact(rows.returning(seq, self._name, lane, self._clock.now(), at))
            self._held.pop(delivery.tag, None)

    async def recover(self) -> int:
        """See `Consumer.recover`."""
        _lanes, freed, _consumers = await self._log.transact(rows.recovering(self._clock.now()))
        return len(freed)

    async def leave(self) -> None:
        """See `Consumer.leave`."""
        await self._log.transact(rows.leaving(self._name))
        self._held.clear()
