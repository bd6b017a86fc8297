"""The product, to be stepped by hand: a queue, and workers of which each step is a call. Their tools wait until they are told what happens.

Each worker has a store, an engine and a Runner of its own, as in a process of its own, and does what `Worker` does in its loop, by the
methods of `Worker`; only when is decided here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.errors import ToolError
from afk_es.log import EventLog
from afk_es.queues.dispatch import Consumer, Dispatcher
from afk_es.queues.items import TaskItem
from afk_es.queues.leases import WorkerLease
from afk_es.queues.queue import TaskQueue
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.worker import Worker
from afk_es.tools import Tool, ToolContext, tool
from tests.queues.laws.model import LEASE_S, MAX_CRASHES, How

QUEUES = ("a", "b")
SLOTS = 2
RETRY = RetryPolicy(max_attempts=3, base_s=2.0, cap_s=600.0, max_crashes=MAX_CRASHES)
_PATIENCE_S = 5.0

NewLog = Callable[[], EventLog]
NewEngine = Callable[[TaskQueue], Dispatcher | None]


class StuckError(AssertionError):
    """Something waits, and nobody knows for what."""


class Bench:
    """A queue and its workers.

    Args:
        new_log: makes a store of the one log there is.
        engine: the engine, where it is not the log's own.
    """

    def __init__(self, new_log: NewLog, engine: Callable[[SimulatedClock], Dispatcher] | None = None) -> None:
        self.clock = SimulatedClock()
        self._new_log = new_log
        self._engine = engine(self.clock) if engine is not None else None
        self.hands: dict[str, HandWorker] = {}
        self.gone: list[HandWorker] = []
        self._numbers = 0
        self.pusher = self._queue("pusher")

    def _queue(self, name: str) -> TaskQueue:
        self._numbers += 1
        gates = Gates(name)
        queue = TaskQueue(
            self._new_log(),
            handlers=[gates.handler()],
            dispatcher=self._engine,
            retry=RETRY,
            clock=self.clock,
            ids=SeededIds(self._numbers),
        )
        queue.gates = gates  # type: ignore[attr-defined]  # whoever finishes an effect looks for it here
        return queue

    async def open(self) -> None:
        await self.pusher.log.open()
        await self.pusher.__aenter__()

    async def join(self, name: str) -> None:
        queue = self._queue(name)
        await queue.log.open()
        hand = HandWorker(name, queue)
        await hand.join()
        self.hands[name] = hand

    async def close(self) -> None:
        for hand in [*self.hands.values(), *self.gone]:
            await hand.abandon()
        await self.pusher.__aexit__(None, None, None)
        await self.pusher.log.close()

    async def settled(self) -> None:
        """Return when every attempt of a living worker waits for the world, for its lease, or has come to its end."""
        until = time.monotonic() + _PATIENCE_S
        while not all(hand.is_quiet() for hand in self.hands.values() if not hand.dead):
            if time.monotonic() > until:
                raise StuckError("; ".join(f"{hand.name}: {hand.told()}" for hand in self.hands.values() if not hand.is_quiet()))
            await asyncio.sleep(0.0003)

    async def rows(self, ids: list[str]) -> dict[str, TaskItem]:
        return await self.pusher.records.get_all(ids)


class Gates:
    """The world as one worker's tools find it: each call waits until it is told how it ends."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self.open: dict[str, asyncio.Future[How]] = {}
        self.started: list[str] = []
        self.held: Callable[[], bool] = lambda: True
        self.unleased: list[str] = []

    def handler(self) -> Tool[..., Any]:
        """The tool that every job calls."""

        @tool(name="work", idempotent=True)
        async def work(n: int, ctx: ToolContext) -> str:
            """Do something in the world."""
            return await self._pass(ctx.run_id, n)

        return work

    async def _pass(self, run_id: str, n: int) -> str:
        self.started.append(run_id)
        if not self.held():
            self.unleased.append(run_id)
        gate = self.open[run_id] = asyncio.get_running_loop().create_future()
        try:
            how = await gate
        finally:
            if self.open.get(run_id) is gate:
                del self.open[run_id]
        if how == "ok":
            return f"done {n}"
        raise ToolError("never") if how == "final" else RuntimeError("not now")


class HandWorker:
    """A `Worker` of which each step is a call."""

    def __init__(self, name: str, queue: TaskQueue) -> None:
        self.name = name
        self.queue = queue
        self.gates: Gates = queue.gates  # type: ignore[attr-defined]  # see `Bench._queue`
        self.worker = Worker(queue, queues=QUEUES, max_concurrency=SLOTS, lease_s=LEASE_S, name=name)
        self.dead = False
        self.left = False

    async def join(self) -> None:
        worker, queue = self.worker, self.queue
        await queue.__aenter__()
        await worker._runner.__aenter__()
        self.shift = await worker._join()
        self.gates.held = lambda: self.lease.held()

    @property
    def lease(self) -> WorkerLease:
        return self.shift.lease

    @property
    def consumer(self) -> Consumer:
        return self.shift._shop.consumer

    def attempts(self) -> dict[str, asyncio.Task[Any]]:
        return {task_id: place.task for task_id, place in self.shift.places.items()}

    def is_quiet(self) -> bool:
        waiting = [task_id for task_id, task in self.attempts().items() if not task.done() and task_id not in self.gates.open]
        parked = 0 if self.lease.held() or self.lease.ended else len(self.lease._news._waiters)
        return len(waiting) == parked and not any(task.done() for task in self.attempts().values())

    def told(self) -> str:
        return f"attempts {sorted(self.attempts())}, effects {sorted(self.gates.open)}, lease held: {self.lease.held()}"

    async def work(self) -> None:
        if self.lease.held():
            await self.shift.take_up()

    async def beat(self) -> None:
        since = self.worker._reads()
        if await self.consumer.beat():
            self.lease.renew(since)
            await asyncio.sleep(0)  # What waits for the lease is woken.
            return
        ending = list(self.attempts().values())
        self.shift.lose(since)
        await self._ended(ending)

    async def recover(self) -> None:
        await self.shift.chores.recover()

    async def awaken(self) -> None:
        await self.shift.chores.awaken()

    def finish(self, task_id: str, how: How) -> None:
        self.gates.open.pop(task_id).set_result(how)

    async def die(self) -> None:
        """As a process does: its locks are gone, and nothing of it goes on."""
        self.dead = True
        await self.queue.log.close()

    async def drain(self) -> None:
        self.left = True
        await self._ended([asyncio.create_task(self.shift.leave())])
        await self._close()

    async def _ended(self, tasks: list[asyncio.Task[Any]]) -> None:
        if tasks:
            _done, left = await asyncio.wait(tasks, timeout=_PATIENCE_S)
            if left:
                raise StuckError(f"{self.name} does not come to an end: {self.told()}")

    async def abandon(self) -> None:
        """At the end of a test: nothing of it is left."""
        if not self.left:
            for task in self.attempts().values():
                task.cancel()
            await asyncio.gather(*self.attempts().values(), return_exceptions=True)
            await self._close()

    async def _close(self) -> None:
        with suppress(Exception):
            await self.worker._runner.__aexit__(None, None, None)
        with suppress(Exception):
            await self.queue.__aexit__(None, None, None)
        await self.queue.log.close()
