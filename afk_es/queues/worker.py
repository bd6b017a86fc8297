"""`Worker`: does the tasks of some queues, beside any number of others. How it goes about it stands in `shifts`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from types import TracebackType
from typing import Any

from afk_es.agents import Agent, PolicyEngine
from afk_es.clock import unpausing
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError, UsageError
from afk_es.queues.attempts import Workshop
from afk_es.queues.contracts import Contract, Known
from afk_es.queues.metrics import WorkerMetrics
from afk_es.queues.news import TaskNews
from afk_es.queues.pushing import check_queue
from afk_es.queues.queue import TaskQueue
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.shifts import Shift, Terms
from afk_es.serving.signals import on_signals
from afk_es.telemetry import TelemetrySink
from afk_es.tools import Tool


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
        host = socket.gethostname()
        self.name: str = _checked_name(name) if name is not None else f"{host}:{os.getpid()}:{queue.ids.new('worker')[-8:]}"
        self.queues: tuple[str, ...] = names
        self._queue = queue
        self._terms = Terms(
            host=host,
            queues=names,
            slots=max_concurrency,
            lease_s=_checked_s("lease_s", lease_s, least=0.1),
            drain_s=_checked_s("drain_s", drain_s, least=0.0),
        )
        self._retry = retry if retry is not None else queue.retry_policy
        self.known: Known = queue.known | Known(agents, handlers, contracts)
        self._allow_agent_change = allow_agent_change
        self._listeners: list[Callable[[TaskNews], None]] = []
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
        self._shift: Shift | None = None
        self._working: asyncio.Task[None] | None = None
        self._begun = False
        self._drains = 0
        self._joined = asyncio.Event()

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
                shift = await self._join()
                await shift.work()

    def drain(self) -> None:
        """Take nothing more, and stop once what is under way has ended, at the latest after `drain_s`; called again: at once. What has not
        ended by then is laid down, and given back to be gone on with by others. It returns at once: `run` does when the worker has stopped.
        """
        self._drains += 1
        if self._shift is not None:
            self._shift.drain(hurry=self._drains > 1)

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
        shift = self._shift
        return WorkerMetrics(
            slots=self._terms.slots,
            busy=len(shift.places) if shift is not None else 0,
            draining=self._drains > 0,
            held=shift is not None and shift.lease.held(),
            **self._counts,
        )

    async def _join(self) -> Shift:
        """Begin a lease, and lay out what attempts need."""
        since = self._reads()
        shop = Workshop(
            name=self.name,
            runner=self._runner,
            records=self._queue.records,
            consumer=await self._queue.dispatcher.join(self.name, self._terms.lease_s),
            known=self.known,
            retry=self._retry,
            clock=self._queue.clock,
            allow_agent_change=self._allow_agent_change,
            tell=self._tell,
        )
        self._shift = Shift(shop, self._queue, self._terms, since=since, reads=self._reads, counts=self._counts)
        if self._drains:
            self._shift.drain(hurry=self._drains > 1)
        self._joined.set()
        return self._shift


def _checked_s(name: str, value: object, *, least: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < float("inf"):
        raise ConfigurationError(f"{name} is a number of seconds, at least {least:g}, not {value!r:.80}")
    return float(value)


def _checked_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= 200 or not all(each.isalnum() or each in "-_.:@" for each in name):
        raise ConfigurationError(f"name is of 1 to 200 letters, digits and '-_.:@', not {name!r:.160}")
    return name
