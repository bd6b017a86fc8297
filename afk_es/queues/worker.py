"""`Worker`: takes tasks, and has an attempt made at each. What an attempt is stands in `attempts`, what becomes of a task in `settling`.

    join ─▶ take ─▶ an attempt each, up to `max_concurrency` at once ─▶ take ...                  until it is drained
         ├▶ beat, three times a lease: others have been given what it held? Then it drops all of that, and takes anew
         └▶ once a second: say how far runs are, look for tasks that wait no longer; now and then for workers that are gone

The beat is made in the event loop that the runs are in, and not in a thread of its own: a thread would beat for a worker that hangs, and
nobody would ever be given its tasks. So code that blocks the event loop for longer than a lease costs the worker its tasks, and a warning
names what was under way.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import Any

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import unpausing
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError, LogError, UsageError
from afk_es.log import TellingLog
from afk_es.queues.attempts import Attempt, Workshop
from afk_es.queues.contracts import Contract, Known
from afk_es.queues.dispatch import Delivery
from afk_es.queues.items import TaskItem
from afk_es.queues.leases import WorkerLease
from afk_es.queues.metrics import WorkerMetrics
from afk_es.queues.news import TaskNews
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.pushing import check_queue, parcel_of
from afk_es.queues.queue import TaskQueue
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.settling import Settlement
from afk_es.serving.signals import on_signals
from afk_es.telemetry import TelemetrySink
from afk_es.tools import Tool

_LOGGER = logging.getLogger("afk_es.worker")

_BEATS = 3
"""Beats a lease: one may be lost."""

_CHORES_S = 1.0
"""Seconds between two rounds of chores."""

_SURE_S = 5.0
"""After how many seconds waiting and unsent tasks are looked for even if nothing was heard of any."""

_IDLE_S = 60.0
"""For how long a worker with nothing to do waits for the engine at a time."""

_PAUSE_S = 1.0
"""After an engine could not be reached."""

_LAYING_S = 10.0
"""How long a stopping worker waits for runs that it has told to lie down; later their tasks are cut, as by a crash."""


class Worker:
    """Does the tasks of some queues, several at once, beside any number of other workers.

    Args:
        queue: the tasks. What it knows by name the worker knows as well.
        agents, handlers, contracts: what the worker knows besides: see `TaskQueue`. A task that it knows nothing of is left to others for an
            hour; then it is dead.
        queues: those that it takes from; default "default".
        max_concurrency: tasks that it has at once at most; default 10.
        lease_s: for how many seconds its tasks stay its own without a beat; default 30. So long it takes, and a little more, until others go
            on with the tasks of a worker that has crashed. Code that blocks the event loop for longer loses them, too.
        drain_s: for how many seconds a worker that is to stop waits for what is under way; default 30. The rest is laid down and given back.
        retry: how tasks that failed are tried again; default that of the queue.
        policy_engine, telemetry: as for `Runner`.
        config: settings of runs; default those of the queue.
        allow_agent_change: whether a run goes on with an agent that is not the one it began with, as after a deployment; default False: its
            task is dead, with the reason. A task that no worker has begun yet is begun with this worker's agent in any case.
        name: of letters, digits and '-_.:@', for people; default HOST:PID:and something that nobody else has.

    Raises:
        ConfigurationError: an argument that cannot be.

    A worker survives every outage of its log: it starts nothing once its lease is over, and goes on when the log is back.
    """

    def __init__(
        self,
        queue: TaskQueue,
        *,
        agents: Iterable[Agent] = (),
        handlers: Iterable[Tool[..., Any]] = (),
        contracts: Iterable[Contract] = (),
        queues: Iterable[str] | str = ("default",),
        max_concurrency: int = 10,
        lease_s: float = 30.0,
        drain_s: float = 30.0,
        retry: RetryPolicy | None = None,
        policy_engine: PolicyEngine | None = None,
        telemetry: str | TelemetrySink | None = None,
        config: RunnerConfig | None = None,
        allow_agent_change: bool = False,
        name: str | None = None,
    ) -> None:
        if not isinstance(queue, TaskQueue):
            raise ConfigurationError(f"queue is a TaskQueue, not {type(queue).__name__}; write Worker(TaskQueue(...))")
        names = tuple(dict.fromkeys(map(check_queue, (queues,) if isinstance(queues, str) else queues)))
        if not names:
            raise ConfigurationError("queues are the names of one queue or more, such as ('default',)")
        if type(max_concurrency) is not int or max_concurrency < 1:
            raise ConfigurationError(f"max_concurrency is a number of tasks from 1, not {max_concurrency!r:.80}")
        self.name: str = _checked_name(name) if name is not None else f"{socket.gethostname()}:{os.getpid()}:{queue.ids.new('worker')[-8:]}"
        self.queues: tuple[str, ...] = names
        self._queue = queue
        self._slots = max_concurrency
        self._lease_s = _checked_s("lease_s", lease_s, least=0.1)
        self._drain_s = _checked_s("drain_s", drain_s, least=0.0)
        self._retry = retry if retry is not None else queue.retry_policy
        self.known: Known = queue.known | Known(agents, handlers, contracts)
        self._allow_agent_change = allow_agent_change
        self._listeners: list[Callable[[TaskNews], None]] = []
        self._clock = queue.clock
        self._reads = unpausing(queue.clock)
        self._runner = Runner(
            log=queue.log,
            policy_engine=policy_engine,
            telemetry=telemetry,
            config=config if config is not None else queue.config,
            clock=queue.clock,
            ids=queue.ids,
        )
        self._counts: Counter[str] = Counter()
        self._attempts: dict[str, _Place] = {}
        self._working: asyncio.Task[None] | None = None
        self._begun = False
        self._bell = asyncio.Event()
        self._joined = asyncio.Event()
        self._draining = False
        self._hurried = False
        self._away = False
        self._broken: BaseException | None = None
        self._lease: WorkerLease | None = None
        self._told_of_letters = True
        self._posted = -1
        self._sure_at = self._recover_at = self._reads()

    # -------------------------------------------------------------------------------------------------------------------- from outside

    async def run(self, *, signals: bool = False) -> None:
        """Work until it is drained. A worker works once.

        Args:
            signals: let SIGTERM and SIGINT drain it, and a second one hurry it; default False.

        Raises:
            LogError: the log, or the engine, could not be reached at the start. Later it is waited for.
            UsageError: it was called before.
        """
        if self._begun:
            raise UsageError(f"worker {self.name} works, or has worked, already; make another one")
        self._begun = True
        with on_signals(self.drain) if signals else nullcontext():
            async with self._queue, self._runner:
                await self._work()

    def drain(self) -> None:
        """Take nothing more, and stop once what is under way has ended, at the latest after `drain_s`; called again: at once. What has not
        ended by then is laid down, and given back to be gone on with by others. It returns at once: `run` does when the worker has stopped.
        """
        self._hurried = self._draining
        self._draining = True
        self._bell.set()

    async def __aenter__(self) -> Worker:
        """Work in the background, from when it has joined."""
        self._working = asyncio.create_task(self.run(), name=f"worker {self.name}")
        joined = asyncio.ensure_future(self._joined.wait())
        await asyncio.wait((joined, self._working), return_when=asyncio.FIRST_COMPLETED)
        joined.cancel()
        if self._working.done():
            await self._working
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.drain()
        if kind is not None:
            self.drain()
        if self._working is not None:
            await self._working

    def on_news(self, call: Callable[[TaskNews], None]) -> None:
        """Have what is done with each task told, in the event loop that it works in; the call must neither raise nor block."""
        self._listeners.append(call)

    @property
    def location(self) -> str:
        """The log that it works for."""
        return self._queue.log.location

    def _tell(self, news: TaskNews) -> None:
        for call in self._listeners:
            call(news)

    def metrics(self) -> WorkerMetrics:
        """What it has done, and what it has to do."""
        held = self._lease is not None and self._lease.held()
        return WorkerMetrics(slots=self._slots, busy=len(self._attempts), draining=self._draining, held=held, **self._counts)

    # --------------------------------------------------------------------------------------------------------------------- the loop

    async def _work(self) -> None:
        since = self._reads()
        consumer = await self._queue.dispatcher.join(self.name, self._lease_s)
        self._lease = WorkerLease(self._reads, self._lease_s, since)
        self._shop = Workshop(
            name=self.name,
            runner=self._runner,
            records=self._queue.records,
            consumer=consumer,
            known=self.known,
            retry=self._retry,
            clock=self._clock,
            allow_agent_change=self._allow_agent_change,
            tell=self._tell,
        )
        self._began_at = self._clock.now()
        self._joined.set()
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._beat()), group.create_task(self._do_chores())]
                await self._take()
                await self._idle(self._drain_s, hurried=True)
                self._lay_down(f"worker {self.name} stops")
                await self._idle(_LAYING_S)
                for helper in helpers:
                    helper.cancel()
        finally:
            await self._leave()

    async def _take(self) -> None:
        """Take tasks, and have an attempt made at each, until it is drained."""
        while not self._draining:
            self._bell.clear()
            if self._broken is not None:
                raise self._broken
            lease = self._lease
            assert lease is not None
            if not lease.held():
                await _first(lease.regained(), self._bell.wait())
                continue
            free = self._slots - len(self._attempts)
            try:
                deliveries = await self._shop.consumer.take(self.queues, free) if free else []
                for delivery in deliveries:
                    await self._place(delivery, lease)
                self._reached()
                if not deliveries:
                    await _first(self._bell.wait(), *([self._shop.consumer.wait(_IDLE_S)] if free else []))
            except LogError as error:
                self._unreachable(error)
                await _first(self._bell.wait(), self._clock.sleep(_PAUSE_S))

    async def _place(self, delivery: Delivery, lease: WorkerLease) -> None:
        self._counts["taken"] += 1
        under_way = self._attempts.get(delivery.task_id)
        if under_way is None:
            attempt = Attempt(delivery, lease, self._shop)
            task = asyncio.create_task(attempt.run(), name=f"{self.name}:{delivery.task_id}")
            self._attempts[delivery.task_id] = _Place(attempt, lease, task)
            task.add_done_callback(lambda task: self._ended(delivery, task))
        elif under_way.lease is lease:
            # It was sent twice, as happens where whoever sent it did not live to note it.
            await self._shop.consumer.done(delivery)
        else:
            # The attempt that lost its lease has not come to its end yet.
            await self._shop.consumer.again(delivery, self._clock.now() + dt.timedelta(seconds=_PAUSE_S))

    def _ended(self, delivery: Delivery, task: asyncio.Task[Settlement | None]) -> None:
        del self._attempts[delivery.task_id]
        self._bell.set()
        if task.cancelled():
            self._counts["unsettled"] += 1
        elif (error := task.exception()) is not None:
            # A bug of ours, which the loop raises: an attempt turns everything else into an ending.
            self._broken = error
        else:
            self._counts[_counter(task.result())] += 1

    # ------------------------------------------------------------------------------------------------------------------------ the lease

    async def _beat(self) -> None:
        while True:
            pause_s = self._lease_s / _BEATS if not self._away else min(self._lease_s / _BEATS, _PAUSE_S)
            await self._say_presence()
            due = self._reads() + pause_s
            await self._clock.sleep(pause_s)
            since = self._reads()
            if since - due > self._lease_s / _BEATS:
                self._warn_of_standstill(since - due)
            try:
                kept = await self._shop.consumer.beat()
            except LogError as error:
                self._unreachable(error)
                continue
            self._reached()
            if kept and self._lease is not None:
                self._lease.renew(since)
            else:
                self._lose(since)

    def _lose(self, since: float) -> None:
        """Others have been given what it held: drop all of it. What is taken from now on is held by the beat that said so."""
        lost, self._lease = self._lease, WorkerLease(self._reads, self._lease_s, since)
        assert lost is not None
        lost.end()
        self._counts["leases_lost"] += 1
        if self._attempts:
            _LOGGER.warning("worker %s has lost its lease, and leaves to others: %s", self.name, self._under_way())
        self._lay_down("its worker's lease is over")
        self._bell.set()

    def _warn_of_standstill(self, seconds: float) -> None:
        _LOGGER.warning(
            "worker %s stood still for %.1f s of a lease of %g s; under way: %s. Code that blocks belongs in a tool that is no coroutine: it "
            "has a thread of its own",
            self.name,
            seconds,
            self._lease_s,
            self._under_way(),
        )

    def _under_way(self) -> str:
        return ", ".join(place.attempt.doing for place in self._attempts.values()) or "nothing"

    async def _say_presence(self) -> None:
        now = self._clock.now()
        presence = WorkerPresence(
            worker=self.name,
            host=socket.gethostname(),
            pid=os.getpid(),
            queues=self.queues,
            slots=self._slots,
            busy=len(self._attempts),
            draining=self._draining,
            started_at=self._began_at,
            seen_at=now,
            alive_until=now + dt.timedelta(seconds=self._lease_s),
        )
        with suppress(LogError):
            await self._shop.records.here(presence)

    # ----------------------------------------------------------------------------------------------------------------------- the chores

    async def _do_chores(self) -> None:
        stop = self._queue.log.on_letter(self._tell_of_letter) if isinstance(self._queue.log, TellingLog) else None
        try:
            while True:
                try:
                    await self._say_progress()
                    await self._recover()
                    await self._awaken()
                except LogError as error:
                    self._unreachable(error)
                await self._clock.sleep(_CHORES_S)
        finally:
            if stop is not None:
                stop()

    async def _say_progress(self) -> None:
        for place in list(self._attempts.values()):
            await place.attempt.say_progress()

    async def _recover(self) -> None:
        """Look for workers that are gone, as often as it beats."""
        if (now := self._reads()) >= self._recover_at:
            self._recover_at = now + self._lease_s / _BEATS
            self._counts["recovered"] += await self._shop.consumer.recover()

    async def _awaken(self) -> None:
        """Send on tasks that wait no longer, and those that whoever pushed them did not live to send."""
        now = self._reads()
        if now < self._sure_at and not await self._letters_came():
            return
        self._sure_at = now + _SURE_S
        awakened = await self._shop.records.awaken()
        self._counts["awakened"] += len(awakened)
        await self._send(awakened)
        await self._send(await self._shop.records.unsent(self._clock.now() - dt.timedelta(seconds=_SURE_S)))

    async def _send(self, items: Sequence[TaskItem]) -> None:
        if not items:
            return
        parcels, ids = [parcel_of(item) for item in items], [item.id for item in items]
        sending = self._queue.dispatcher.sending(parcels)
        if sending is not None:
            await self._queue.database.transact([*sending, self._shop.records.marking_sent(ids)])
        else:
            await self._queue.dispatcher.send(parcels)
            await self._shop.records.mark_sent(ids)

    async def _letters_came(self) -> bool:
        """Whether anything may have been said to a run since it was asked last. A log that does not tell is asked, which costs one look."""
        if isinstance(self._queue.log, TellingLog):
            came, self._told_of_letters = self._told_of_letters, False
            return came
        before, self._posted = self._posted, await self._queue.log.posted()
        return before != self._posted

    def _tell_of_letter(self, run_id: str | None) -> None:
        self._told_of_letters = True

    # -------------------------------------------------------------------------------------------------------------------------- the end

    async def _idle(self, within_s: float, *, hurried: bool = False) -> None:
        """Return when nothing is under way, at the latest after so many seconds, or when it is to hurry."""
        until = self._clock.monotonic() + within_s
        while self._attempts and not (hurried and self._hurried) and (left_s := until - self._clock.monotonic()) > 0:
            self._bell.clear()
            await _first(self._bell.wait(), self._clock.sleep(left_s))

    def _lay_down(self, reason: str) -> None:
        for place in self._attempts.values():
            place.attempt.lay_down(reason)

    async def _leave(self) -> None:
        """Give back what it still has, and be gone. Also where it was cancelled, or a bug of ours has ended the loop."""
        self._lay_down(f"worker {self.name} stops")
        await self._idle(_LAYING_S)
        if self._lease is not None:
            self._lease.end()
        for place in (left := list(self._attempts.values())):
            place.attempt.cut()
            place.task.cancel()
        await asyncio.gather(*(place.task for place in left), return_exceptions=True)
        try:
            await self._shop.consumer.leave()
            await self._shop.records.gone(self.name)
        except LogError as error:
            _LOGGER.warning("worker %s could not say that it is gone: %s", self.name, error)

    def _unreachable(self, error: LogError) -> None:
        if not self._away:
            self._away = True
            self._counts["outages"] += 1
            _LOGGER.warning("worker %s cannot reach its tasks, and tries until it can: %s", self.name, error)

    def _reached(self) -> None:
        if self._away:
            self._away = False
            _LOGGER.warning("worker %s reaches its tasks again", self.name)


class _Place:
    """An attempt under way."""

    __slots__ = ("attempt", "lease", "task")

    def __init__(self, attempt: Attempt, lease: WorkerLease, task: asyncio.Task[Settlement | None]) -> None:
        self.attempt = attempt
        self.lease = lease
        self.task = task


def _counter(settlement: Settlement | None) -> str:
    """The counter that an attempt counts for."""
    match settlement.task if settlement is not None else "nothing":
        case "complete":
            return "completed"
        case "cancel":
            return "cancelled"
        case "bury":
            return "dead"
        case "wait":
            return "waiting"
        case "again":
            return "retried" if settlement is not None and settlement.counts else "given_back"
        case _:
            return "unsettled"


async def _first(*waits: Awaitable[object]) -> None:
    """Return when one of them does, or raise as it does; the others are cancelled."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
            raise end


def _checked_s(name: str, value: object, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise ConfigurationError(f"{name} is a number of seconds, at least {least:g}, not {value!r:.80}")
    return float(value)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not all(each.isalnum() or each in "-_.:@" for each in name):
        raise ConfigurationError(f"name is of 1 to 200 letters, digits and '-_.:@', not {name!r:.160}")
    return name
