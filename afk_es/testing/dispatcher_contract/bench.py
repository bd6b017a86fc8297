"""Where one promise is tried: an engine, and the dispatchers and consumers on it."""

from __future__ import annotations

import datetime as dt
from contextlib import AsyncExitStack
from pathlib import Path

from afk_es.queues.dispatch import Consumer, Delivery, Dispatcher, Parcel
from afk_es.testing.dispatcher_contract.subject import DispatcherSubject

LEASE_S = 30.0
QUEUE = "one"


class Bench:
    """What is on one engine. It closes what it opened.

    Attributes:
        subject: the dispatcher under test.
        directory: the engine's.
    """

    def __init__(self, subject: DispatcherSubject, directory: Path) -> None:
        self.subject = subject
        self.directory = directory
        self._dispatchers: list[Dispatcher] = []

    async def dispatcher(self) -> Dispatcher:
        """The dispatcher that sends."""
        return self._dispatchers[0] if self._dispatchers else await self.another()

    async def another(self) -> Dispatcher:
        """One more dispatcher on the engine, as in another process."""
        self._dispatchers.append(await self.subject.connect(self.directory))
        return self._dispatchers[-1]

    async def consumer(self, lease_s: float = LEASE_S, *, elsewhere: bool = False) -> Consumer:
        """A consumer; `elsewhere`: through a dispatcher of its own."""
        dispatcher = await self.another() if elsewhere else await self.dispatcher()
        return await dispatcher.join("a worker", lease_s)

    async def send(self, *task_ids: str, queue: str = QUEUE, priority: int = 0, lane: str | None = None, in_s: float | None = None) -> None:
        """Send parcels that are alike."""
        not_before = None if in_s is None else self.after(in_s)
        await (await self.dispatcher()).send([Parcel(each, queue, priority, not_before, lane) for each in task_ids])

    def after(self, seconds: float) -> dt.datetime:
        """The engine's time so many seconds from now."""
        return self.subject.now(self.directory) + dt.timedelta(seconds=seconds)

    async def pass_time(self, seconds: float) -> None:
        """See `DispatcherSubject.pass_time`."""
        await self.subject.pass_time(self.directory, seconds)

    async def clear(self) -> None:
        """Close every dispatcher, even where one of them cannot be closed."""
        async with AsyncExitStack() as clearing:
            for dispatcher in self._dispatchers:
                clearing.push_async_callback(self.subject.disconnect, dispatcher)


async def taken(consumer: Consumer, limit: int = 100, *queues: str) -> list[Delivery]:
    """What it takes, of the one queue where none is named."""
    return await consumer.take(queues or (QUEUE,), limit)


async def ids(consumer: Consumer, limit: int = 100, *queues: str) -> list[str]:
    """The tasks that it takes."""
    return [each.task_id for each in await taken(consumer, limit, *queues)]
