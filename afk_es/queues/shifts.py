"""The loop of a worker, from when it has joined to when it has left: what an attempt is stands in `attempts`, what becomes of a task in `settling`.

    join ─▶ take ─▶ an attempt each, up to the places that there are ─▶ take ...                             until it is drained
         ├▶ listen: ring when the engine may have something
         ├▶ beat, three times a lease: others have been given what it held? Then it drops all of that, and takes anew
         └▶ chores, once a second

The beat is made in the event loop that the runs are in, and not in a thread of its own: a thread would beat for a worker that hangs, and
nobody would ever be given its tasks. So code that blocks the event loop for longer than a lease costs the worker its tasks, and a warning
names what was under way.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from afk_es.errors import LogError
from afk_es.queues.attempts import Attempt, Workshop
from afk_es.queues.chores import Chores
from afk_es.queues.dispatch import Delivery
from afk_es.queues.first import first
from afk_es.queues.leases import WorkerLease
from afk_es.queues.outages import Outages
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.queue import TaskQueue
from afk_es.queues.settling import Settlement

_LOGGER = logging.getLogger("afk_es.worker")

_BEATS = 3
"""Beats a lease: one may be lost."""

_IDLE_S = 60.0
"""For how long a worker with nothing to do waits for the engine at a time."""

_PAUSE_S = 1.0
"""After an engine could not be reached."""

_LAYING_S = 10.0
"""How long a stopping worker waits for runs that it has told to lie down; later their tasks are cut, as by a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a worker works; see `Worker`."""

    host: str
    queues: tuple[str, ...]
    slots: int
    lease_s: float
    drain_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """An attempt under way, and the lease that it is under."""

    attempt: Attempt
    lease: WorkerLease
    task: asyncio.Task[Settlement | None]


class Shift:
    """One worker at work.

    Args:
        since: when the beat began that its first lease stands on: before it joined.
        reads: seconds that pass while the process is stopped, too: see `clock.unpausing`.
        counts: where it counts what it does; see `WorkerMetrics`.

    Attributes:
        lease: of what it takes now.
        places: attempts under way, by their tasks.
        chores: what it does besides.
    """

    def __init__(
        self, shop: Workshop, queue: TaskQueue, terms: Terms, *, since: float, reads: Callable[[], float], counts: Counter[str]
    ) -> None:
        self._shop = shop
        self._clock = shop.clock
        self._terms = terms
        self._reads = reads
        self._counts = counts
        self.lease: WorkerLease = WorkerLease(reads, terms.lease_s, since)
        self._outages = Outages(shop.name, counts)
        self.chores: Chores = Chores(
            shop,
            queue,
            self._outages,
            counts,
            under_way=lambda: [place.attempt for place in self.places.values()],
            may_recover=lambda: self.lease.held(),
            recover_every_s=terms.lease_s / _BEATS,
            reads=reads,
        )
        self._began_at = shop.clock.now()
        self.places: dict[str, Place] = {}
        self._in_hand: list[Delivery] = []
        self._bell = asyncio.Event()
        self._idling = asyncio.Event()
        self._draining = False
        self._hurried = False
        self._laid_down = False
        self._broken: BaseException | None = None

    def drain(self, *, hurry: bool) -> None:
        """Take nothing more, and end; with `hurry` without waiting for what is under way."""
        self._draining = True
        self._hurried = hurry
        self._bell.set()

    async def work(self) -> None:
        """Work until it is drained, and leave."""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(each) for each in (self._listen(), self._beat(), self.chores.keep_doing())]
                await self._take()
                await self._idle(self._terms.drain_s, hurried=True)
                await self._stop()
                for helper in helpers:
                    helper.cancel()
        finally:
            await self.leave()

    # ------------------------------------------------------------------------------------------------------------------------- taking

    async def _take(self) -> None:
        """Take tasks, and have an attempt made at each, until it is drained."""
        while not self._draining:
            self._bell.clear()
            if self._broken is not None:
                raise self._broken
            if not self.lease.held():
                await first(self.lease.regained(), self._bell.wait())
                continue
            try:
                taken = await self.take_up()
                self._outages.over("take")
            except LogError as error:
                self._outages.met("take", error)
                await first(self._bell.wait(), self._clock.sleep(_PAUSE_S))
                continue
            if not taken:
                if self._free:
                    self._idling.set()
                await self._bell.wait()

    async def take_up(self) -> bool:
        """Take as many tasks as there are places for, and begin an attempt at each. Whether any were taken."""
        self._begin()
        free = self._free
        taken = await self._shop.consumer.take(self._terms.queues, free) if free > 0 else []
        self._counts["taken"] += len(taken)
        self._in_hand += taken
        self._begin()
        return bool(taken)

    @property
    def _free(self) -> int:
        return self._terms.slots - len(self.places)

    def _begin(self) -> None:
        """Begin an attempt at each task in hand, save where one at the same task is under way: it may be that this was sent twice, or that the
        other has just given it back, or has lost its lease. Which it was is seen once that has come to its end. Nothing is awaited here: what
        was taken and then forgotten would be held for as long as the worker lives.
        """
        deliveries, self._in_hand = self._in_hand, []
        for delivery in deliveries:
            if delivery.task_id in self.places:
                self._in_hand.append(delivery)
            else:
                self._start(delivery)

    def _start(self, delivery: Delivery) -> None:
        # The lease of now, and not from before it was taken: where that was lost meanwhile, what was taken is held by the one after it.
        attempt = Attempt(delivery, self.lease, self._shop)
        task = asyncio.create_task(attempt.run(), name=f"{self._shop.name}:{delivery.task_id}")
        self.places[delivery.task_id] = Place(attempt, self.lease, task)
        task.add_done_callback(lambda task: self._ended(delivery, task))

    def _ended(self, delivery: Delivery, task: asyncio.Task[Settlement | None]) -> None:
        del self.places[delivery.task_id]
        self._bell.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            # A bug of ours, which the loop raises: an attempt turns everything else into an ending.
            self._broken = error
            return
        settlement = None if task.cancelled() else task.result()
        self._counts[(settlement.what if settlement is not None else None) or "unsettled"] += 1

    async def _listen(self) -> None:
        """Ring when the engine may have something. What it does for that is never cut off, save at the end: a query that is costs a connection."""
        while True:
            await self._idling.wait()
            self._idling.clear()
            try:
                await self._shop.consumer.wait(_IDLE_S)
                self._outages.over("listen")
            except LogError as error:
                self._outages.met("listen", error)
                await self._clock.sleep(_PAUSE_S)
            self._bell.set()

    # ------------------------------------------------------------------------------------------------------------------------ the lease

    async def _beat(self) -> None:
        every_s = self._terms.lease_s / _BEATS
        pause_s = every_s
        while True:
            await self._say_presence()
            due = self._reads() + pause_s
            await self._clock.sleep(pause_s)
            since = self._reads()
            if since - due > every_s:
                self._warn_of_standstill(since - due)
            try:
                kept = await self._shop.consumer.beat()
            except LogError as error:
                self._outages.met("beat", error)
                pause_s = min(every_s, _PAUSE_S)
                continue
            self._outages.over("beat")
            pause_s = every_s
            if kept:
                self.lease.renew(since)
            else:
                self.lose(since)

    def lose(self, since: float) -> None:
        """Others have been given what it held: drop all of it. What is taken from now on is held by the beat that said so."""
        self._in_hand.clear()
        lost, self.lease = self.lease, WorkerLease(self._reads, self._terms.lease_s, since)
        lost.end()
        self._counts["leases_lost"] += 1
        if self.places:
            _LOGGER.warning("worker %s has lost its lease, and leaves to others: %s", self._shop.name, self._under_way())
        self._lay_down("its worker's lease is over")
        self._bell.set()

    def _warn_of_standstill(self, seconds: float) -> None:
        _LOGGER.warning(
            "worker %s stood still for %.1f s of a lease of %g s; under way: %s. Code that blocks belongs in a tool that is no coroutine: it "
            "has a thread of its own",
            self._shop.name,
            seconds,
            self._terms.lease_s,
            self._under_way(),
        )

    def _under_way(self) -> str:
        return ", ".join(place.attempt.doing for place in self.places.values()) or "nothing"

    async def _say_presence(self) -> None:
        now = self._clock.now()
        presence = WorkerPresence(
            worker=self._shop.name,
            host=self._terms.host,
            pid=os.getpid(),
            queues=self._terms.queues,
            slots=self._terms.slots,
            busy=len(self.places),
            draining=self._draining,
            started_at=self._began_at,
            seen_at=now,
            alive_until=now + dt.timedelta(seconds=self._terms.lease_s),
        )
        with suppress(LogError):
            await self._shop.records.here(presence)

    # -------------------------------------------------------------------------------------------------------------------------- the end

    async def _idle(self, within_s: float, *, hurried: bool = False) -> None:
        """Return when nothing is under way, at the latest after so many seconds, or when it is to hurry."""
        until = self._clock.monotonic() + within_s
        while self.places and not (hurried and self._hurried) and (left_s := until - self._clock.monotonic()) > 0:
            self._bell.clear()
            await first(self._bell.wait(), self._clock.sleep(left_s))

    def _lay_down(self, reason: str) -> None:
        for place in self.places.values():
            place.attempt.lay_down(reason)

    async def _stop(self) -> None:
        """Lay down what is still under way."""
        self._laid_down = True
        self._lay_down(f"worker {self._shop.name} stops")
        await self._idle(_LAYING_S)

    async def leave(self) -> None:
        """Give back what it still has, and be gone. Also where it was cancelled, or a bug of ours has ended the loop."""
        if not self._laid_down:
            await self._stop()
        self.lease.end()
        left = list(self.places.values())
        for place in left:
            place.attempt.cut()
            place.task.cancel()
        await asyncio.gather(*(place.task for place in left), return_exceptions=True)
        try:
            await self._shop.consumer.leave()
            await self._shop.records.gone(self._shop.name)
        except LogError as error:
            _LOGGER.warning("worker %s could not say that it is gone: %s", self._shop.name, error)
