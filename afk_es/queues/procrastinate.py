"""The engine of a log on PostgreSQL: procrastinate (https://procrastinate.readthedocs.io), in the schema of the log.

Its functions store what is sent in whoever's transaction calls them, its locks are our lanes, its heartbeats our leases, and its
notifications wake those who wait. Its worker is not used, since what is done with a task is the log's: a task ends when its run has, not
when a function of ours returns. What was delivered is deleted, so its tables hold what is open and nothing else.

What is taken is found by going through all that waits, of every queue, by priority and age. Of what cannot be taken each costs the server
some microseconds at every taking that passes it: what is of another queue or not due 0.2, what waits behind a held one of its lane 8. Where
a hundred thousand wait in one queue, give another that must be quick a higher priority; and a lane is for tens that wait, not for
thousands.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from procrastinate.exceptions import UniqueViolation
from procrastinate.manager import JobManager

from afk_es.errors import ConfigurationError
from afk_es.log.port import Statement
from afk_es.log.postgres_address import address_of
from afk_es.queues import procrastinate_rows as rows
from afk_es.queues.dispatch import Delivery, Parcel
from afk_es.queues.procrastinate_schema import require_tables
from afk_es.queues.procrastinate_server import Ear, Server, require_sizes

QUEUE_BYTES = 40
"""The longest name of a queue, in UTF-8: procrastinate makes of it the name of a channel, of which PostgreSQL keeps 63 bytes."""

_LOOKING_EVERY_S = 5.0
_LOOKING_DEAF_S = 1.0
"""How long a waiting consumer goes without a look: while it would be told, and while the listening connection is lost."""
_CLASHES = 5
"""Takings in a row that another consumer was before in a lane."""


class ProcrastinateDispatcher:
    """A `Dispatcher` on PostgreSQL, in the database and the schema of the log. Extra `queues`.

    A process has up to `connections` connections for it, opened as they are needed, and one more that listens once a consumer waits.
    Leases are judged by the server's clock.

    Args:
        url: the log's, as for `PostgresEventLog`; what the log shows as its location will do.
        schema: the log's, where it is not the URL's.
        connections: the most that are open at a time, besides the one that listens.
        timeout_s: seconds after which a statement without an answer is given up with a `LogUnavailableError`.

    Raises:
        ConfigurationError: an argument that cannot work.
    """

    def __init__(self, url: str, schema: str | None = None, *, connections: int = 3, timeout_s: float = 10.0) -> None:
        require_sizes(connections, timeout_s)
        self._address = address_of(url, schema)
        self._server = Server(self._address, connections=connections, timeout_s=timeout_s)
        self._ear = Ear(self._server)

    async def open(self) -> None:
        """Connect, and make procrastinate's tables in the log's schema if there are none.

        Raises:
            LogFormatError: there are some, of another version than the procrastinate that is installed.
            LogError: the server cannot be reached, does not let us in, or does not let the role make tables.
        """
        connection = await self._server.connect()
        try:
            await self._server.said(require_tables(connection, self._address))
        finally:
            await connection.close()
        await self._server.open()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._ear.close()
        await self._server.close()

    def sending(self, parcels: Sequence[Parcel]) -> Sequence[Statement]:
        """See `Dispatcher.sending`. Consumers hear of it when the transaction is committed."""
        _require_queues(parcels)
        return [Statement(rows.SEND_BESIDE, rows.columns(parcels))] if parcels else []

    async def send(self, parcels: Sequence[Parcel]) -> None:
        """See `Dispatcher.send`."""
        _require_queues(parcels)
        if parcels:
            await self._server.run_durably(rows.SEND, **rows.named(parcels))

    async def hasten(self, task_ids: Collection[str]) -> None:
        """See `Dispatcher.hasten`."""
        await self._server.run_durably(rows.HASTEN, ids=list(task_ids))

    async def join(self, worker: str, lease_s: float) -> ProcrastinateConsumer:
        """See `Dispatcher.join`. Procrastinate has numbers for workers and no names."""
        if not 0 < lease_s < float("inf"):
            raise ConfigurationError(f"lease_s is a positive number of seconds, not {lease_s!r}")
        consumer = ProcrastinateConsumer(self._server, self._ear, lease_s)
        await consumer.join()
        return consumer


class ProcrastinateConsumer:
    """A `Consumer` of a `ProcrastinateDispatcher`: a worker, as its tables have it. After a lease that ran out it is another."""

    def __init__(self, server: Server, ear: Ear, lease_s: float) -> None:
        self._server = server
        self._ear = ear
        self._lease_s = lease_s
        self._manager = JobManager(server.connector)
        self._worker: int | None = None
        self._held: dict[str, int] = {}
        self._queues: Collection[str] = ()
        self._sure = True
        self._turn = asyncio.Lock()
        self._news = asyncio.Event()

    async def join(self) -> None:
        """Begin a lease, and let go of what was held in another."""
        if self._worker is not None:
            await self._gone(self._worker)
        worker = await self._server.said(self._manager.register_worker())
        await self._server.run(rows.BEAT, worker=worker, lease=self._lease_s)
        # Only now: where any of that failed, the next beat finds again that the former lease is over.
        self._worker = worker
        self._held.clear()
        self._ear.wake_with(self._news)

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        """See `Consumer.take`. When its lease is over there is nothing for it, until `beat` has said so."""
        self._queues = sorted(set(queues))
        if not queues or limit < 1:
            return []
        self._news.clear()
        async with self._turn:
            worker = self._worker
            if not self._sure:
                # A taking whose caller was cancelled, or whose answer was lost, may have landed.
                await self._server.run(rows.AGAIN_WHAT_NOBODY_GOT, worker=worker, known=list(self._held.values()))
            self._sure = False
            taken = await self._taken(worker, limit)
            self._sure = True
            deliveries = []
            for row in taken:
                delivery = Delivery(row["task_id"], row["queue_name"], f"{worker}:{row['id']}")
                self._held[delivery.tag] = row["id"]
                deliveries.append(delivery)
            return deliveries

    async def _taken(self, worker: int | None, limit: int) -> list[dict[str, Any]]:
        for _ in range(_CLASHES):
            try:
                return await self._server.run(rows.TAKE, worker=worker, queues=self._queues, limit=limit)
            except UniqueViolation:
                # Two have taken of one lane at the same time, of which one was put before the other meanwhile. The other has it.
                continue
        return []

    async def wait(self, timeout_s: float) -> None:
        """See `Consumer.wait`. It hears of the queues that were last taken from."""
        await self._ear.listen(self._queues)
        if self._news.is_set():
            return
        (term,) = await self._server.run(rows.NEXT_TERM)
        limit_s = min(timeout_s, _LOOKING_EVERY_S if self._ear.live else _LOOKING_DEAF_S)
        if term["left_s"] is not None:
            limit_s = min(limit_s, max(term["left_s"], 0.0) + 0.001)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._news.wait()

    def holding(self, delivery: Delivery, first: int) -> Statement:
        """See `Consumer.holding`."""
        worker, _, job = delivery.tag.partition(":")
        return Statement(rows.BEARING.format(job=f"${first}", worker=f"${first + 1}"), (int(job), int(worker)))

    async def beat(self) -> bool:
        """See `Consumer.beat`."""
        still = await self._server.run(rows.BEAT, worker=self._worker, lease=self._lease_s)
        if not still:
            await self.join()
        return bool(still)

    async def done(self, delivery: Delivery) -> None:
        """See `Consumer.done`."""
        if (job := self._held.get(delivery.tag)) is not None:
            await self._server.run(rows.DONE, worker=self._worker, job=job)
            self._held.pop(delivery.tag, None)

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        """See `Consumer.again`."""
        if (job := self._held.get(delivery.tag)) is not None:
            await self._server.run(rows.AGAIN, worker=self._worker, job=job, at=at)
            self._held.pop(delivery.tag, None)

    async def recover(self) -> int:
        """See `Consumer.recover`."""
        await self._server.said(self._manager.prune_stalled_workers(rows.STALLED_AFTER_S))
        return len(await self._server.run(rows.RECOVER))

    async def leave(self) -> None:
        """See `Consumer.leave`."""
        self._ear.forget(self._news)
        if self._worker is not None:
            await self._gone(self._worker)
            self._held.clear()

    async def _gone(self, worker: int) -> None:
        await self._server.run(rows.LEAVE, worker=worker)
        await self._server.said(self._manager.unregister_worker(worker))


def _require_queues(parcels: Sequence[Parcel]) -> None:
    for parcel in parcels:
        if len(parcel.queue.encode("utf-8", "replace")) > QUEUE_BYTES:
            raise ConfigurationError(
                f"the name of the queue {parcel.queue!r} is too long; procrastinate has room for {QUEUE_BYTES} bytes of it"
            )
