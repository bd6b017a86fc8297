"""`TaskQueue`: tasks are pushed, watched and managed here. Who does them is the worker's affair, and what doing means the Runner's."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any

from pydantic import BaseModel

from afk_es.agents import Agent
from afk_es.clock import Clock, Ids
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.core.servers import servers_of
from afk_es.core.wiring import checked_clock, checked_ids, event_log
from afk_es.errors import (
    ClashError,
    ConfigurationError,
    LogError,
    RunCancelledError,
    RunExistsError,
    RunFailedError,
    RunNotFoundError,
    TaskExistsError,
    TaskNotFoundError,
    TaskStateError,
    UsageError,
)
from afk_es.llms import UserMessage
from afk_es.log import DatabaseLog, EventLog
from afk_es.queues.contracts import CHAT, JOB, Contract, Known, TaskRun, chat_payload
from afk_es.queues.dispatch import Dispatcher
from afk_es.queues.engines import engine_of
from afk_es.queues.gathering import Gathering
from afk_es.queues.items import Progress, TaskItem, TaskState
from afk_es.queues.opened import Opened
from afk_es.queues.pushing import Checked, NewTask, check_queue, checked, parcel_of
from afk_es.queues.records import TaskRecords
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.waiting import changes
from afk_es.tools import Tool

_SAID = 300
"""Characters of an error that an exception repeats."""


class TaskQueue:
    """Tasks on an event log, each of them a run of it.

    Args:
        log: a path, a `sqlite:///` or `postgresql://` URL, or an EventLog that is in a database. Default: the default log, as for `Runner`.
        agents, handlers, contracts: what is known here by name: agents for chats, tools that are handlers of jobs, and contracts beside the
            two that are always there. What only workers know can be pushed by its name as well; what is known here is checked, and its run
            begins in the log in the same transaction as the task.
        dispatcher: the engine that hands tasks out; default: one in the log's own database.
        retry: how tasks that failed are tried again; default `RetryPolicy()`.
        config: settings of runs; default those that workers have, `RunnerConfig(interaction_mode="external")`.
        clock: where time comes from.
        ids: where ids come from.

    Raises:
        ConfigurationError: a log that is in no database, such as ":memory:"; or an argument that cannot be.

    It opens its log for each call and closes it afterwards. Who calls often keeps it open with `async with queue:`; pushes that come at the same
    time then share a transaction. One TaskQueue belongs to one event loop at a time.
    """

    def __init__(
        self,
        log: str | os.PathLike[str] | EventLog | None = None,
        *,
        agents: Iterable[Agent] = (),
        handlers: Iterable[Tool[..., Any]] = (),
        contracts: Iterable[Contract] = (),
        dispatcher: Dispatcher | None = None,
        retry: RetryPolicy | None = None,
        config: RunnerConfig | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
    ) -> None:
        for name, value, kind in (("retry", retry, RetryPolicy), ("config", config, RunnerConfig)):
            if value is not None and not isinstance(value, kind):
                raise ConfigurationError(f"{name} is a {kind.__name__} or None, not {type(value).__name__}; write {kind.__name__}(...)")
        self.retry_policy: RetryPolicy = retry if retry is not None else RetryPolicy()
        self.config: RunnerConfig = config if config is not None else RunnerConfig(interaction_mode="external")
        self.known: Known = Known(agents, handlers, contracts)
        self.clock: Clock = checked_clock(clock)
        self.ids: Ids = checked_ids(ids)
        opened = event_log(log, self.config)
        if not isinstance(opened, DatabaseLog):
            raise ConfigurationError(
                f"a queue is in the database of its log, and {opened.location} is in none: name a file, such as TaskQueue('runs.db'), or a "
                "postgresql:// URL"
            )
        self.log: EventLog = opened
        self.database: DatabaseLog = opened
        self.records: TaskRecords = TaskRecords(opened, clock=self.clock)
        self.dispatcher: Dispatcher = dispatcher if dispatcher is not None else engine_of(opened, log, self.clock, self.ids)
        own = () if opened is log else (opened,)
        self._opened = Opened(*own, self.records, self.dispatcher)
        self._gathering = Gathering(opened)
        self._runner = Runner(log=opened, config=self.config, clock=self.clock, ids=self.ids)

    async def __aenter__(self) -> TaskQueue:
        """Keep it open.

        Raises:
            LogError: the log, or the engine, cannot be used; the message says where it is and what is wrong.
        """
        await self._opened.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._opened.__aexit__(kind, error, trace)

    # ---------------------------------------------------------------------------------------------------------------------------- pushing

    async def push(
        self,
        contract: Contract | str,
        payload: Mapping[str, Any] | BaseModel,
        *,
        queue: str = "default",
        priority: int = 0,
        delay_s: float | None = None,
        at: dt.datetime | None = None,
        key: str | None = None,
        lane: str | None = None,
        max_attempts: int | None = None,
    ) -> TaskItem:
        """Ask for something to be done. The task is durable, and on its way to a worker, when this returns.

        Args:
            contract, payload, queue, priority, delay_s, at, key, lane, max_attempts: see `NewTask`.

        Returns:
            The task; where `key` was pushed before, that one as it is now.

        Raises:
            ConfigurationError, PayloadError, UnregisteredError: something that cannot be; nothing was written.
            TaskExistsError: the key stands for another contract or payload.
            LogError: it could not be written.
        """
        new = NewTask(
            contract=contract,
            payload=payload,
            queue=queue,
            priority=priority,
            delay_s=delay_s,
            at=at,
            key=key,
            lane=lane,
            max_attempts=max_attempts,
        )
        return await self._push(self._checked(new))

    async def push_chat(
        self,
        agent: Agent | str,
        user_message: UserMessage | None = None,
        *,
        context: dict[str, Any] | None = None,
        thread_id: str | None = None,
        queue: str = "default",
        priority: int = 0,
        delay_s: float | None = None,
        at: dt.datetime | None = None,
        key: str | None = None,
        max_attempts: int | None = None,
    ) -> TaskItem:
        """Ask for a run of an agent ("runner.chat.v1").

        Args:
            agent: the agent, or the name of one that workers know.
            user_message, context, thread_id: as for `Runner.run`. Tasks of a thread are done one after the other.
            queue, priority, delay_s, at, key, max_attempts: see `NewTask`.

        Returns, Raises: as `push`.
        """
        if not isinstance(agent, (Agent, str)):
            raise ConfigurationError(f"agent is an Agent or the name of one, not {type(agent).__name__}")
        new = NewTask(
            contract=CHAT,
            payload=chat_payload(agent.name if isinstance(agent, Agent) else agent, user_message, context, thread_id),
            queue=queue,
            priority=priority,
            delay_s=delay_s,
            at=at,
            key=key,
            max_attempts=max_attempts,
        )
        run = None
        if isinstance(agent, Agent):
            run = TaskRun(agent=agent, user_message=user_message, context=context, thread_id=thread_id)
        return await self._push(self._checked(new, run))

    async def push_job(
        self,
        handler: Tool[..., Any] | str,
        payload: Mapping[str, Any] | BaseModel | None = None,
        *,
        queue: str = "default",
        priority: int = 0,
        delay_s: float | None = None,
        at: dt.datetime | None = None,
        key: str | None = None,
        lane: str | None = None,
        max_attempts: int | None = None,
    ) -> TaskItem:
        """Ask for a call of a tool ("job.dispatch.v1").

        Args:
            handler: the tool, or the name of one that workers know.
            payload: its arguments; default none.
            queue, priority, delay_s, at, key, lane, max_attempts: see `NewTask`.

        Returns, Raises: as `push`.
        """
        if not isinstance(handler, (Tool, str)):
            raise ConfigurationError(f"handler is a tool or the name of one, not {type(handler).__name__}")
        arguments = payload.model_dump(mode="json", by_alias=True) if isinstance(payload, BaseModel) else {} if payload is None else payload
        known = self.known.job_of(handler) if isinstance(handler, Tool) else None
        new = NewTask(
            contract=JOB,
            payload={"handler": handler.name if isinstance(handler, Tool) else handler, "payload": arguments},
            queue=queue,
            priority=priority,
            delay_s=delay_s,
            at=at,
            key=key,
            lane=lane,
            max_attempts=max_attempts,
        )
        return await self._push(self._checked(new, known))

    async def push_many(self, tasks: Iterable[NewTask]) -> list[TaskItem]:
        """Ask for many things in one transaction: all are pushed, or none.

        Returns:
            The tasks, in the order of what was asked for; those whose key was pushed before as they are now.

        Raises:
            ConfigurationError, PayloadError, UnregisteredError, TaskExistsError, LogError: as `push`; nothing was written.
        """
        found = [self._checked(new).item for new in tasks]
        items: dict[str, TaskItem] = {}
        for item in found:
            _check_same(items.setdefault(item.id, item), item)
        async with self._opened:
            stored: dict[str, TaskItem] = {}
            while True:
                await self._find_pushed(items, stored)
                try:
                    await self._write([item for item in items.values() if item.id not in stored])
                except ClashError:
                    # Another process has pushed one of the keys since.
                    continue
                return [stored.get(item.id, items[item.id]) for item in found]

    async def _find_pushed(self, items: Mapping[str, TaskItem], stored: dict[str, TaskItem]) -> None:
        for item in items.values():
            if item.key is not None and item.id not in stored and (there := await self.records.get(item.id)) is not None:
                _check_same(there, item)
                stored[item.id] = there

    def _checked(self, new: NewTask, run: TaskRun | None = None) -> Checked:
        return checked(
            new,
            self.known,
            task_id=self.ids.new("task"),
            now=self.clock.now(),
            max_attempts=self.retry_policy.max_attempts,
            run=run,
        )

    async def _push(self, new: Checked) -> TaskItem:
        item, run = new
        async with self._opened:
            # In a thread a run begins with what came before it, which is not there yet; and servers are asked by whoever works with them.
            if run is not None and run.thread_id is None and next(servers_of(run.agent), None) is None:
                with suppress(ClashError, RunExistsError):
                    return await self._begin(item, run)
            else:
                with suppress(ClashError):
                    return await self._write([item])
            there = await self.records.get(item.id)
            if there is not None:
                _check_same(there, item)
                return there
            # Its run is in the log, and the task was discarded or purged since: it is taken up where it was left.
            await self._write([item])
            return item

    async def _begin(self, item: TaskItem, run: TaskRun) -> TaskItem:
        """Store the task, its delivery and the beginning of its run, all or none."""
        sending = self.dispatcher.sending([parcel_of(item)])
        statements = [self.records.adding(item, sent=sending is not None), *(sending or ())]
        await self._runner.prepare(
            run.agent,
            run_id=item.id,
            user_message=run.user_message,
            context=run.context,
            reason=f"queued in {item.queue}",
            statements=statements,
        )
        if sending is None:
            await self._send([item])
        return item

    async def _write(self, items: Sequence[TaskItem]) -> None:
        """Store tasks and their deliveries, all or none."""
        if not items:
            return
        sending = self.dispatcher.sending([parcel_of(item) for item in items])
        added = [self.records.adding(item, sent=sending is not None) for item in items]
        await self._gathering.write([*added, *(sending or ())])
        if sending is None:
            await self._send(items)

    async def _send(self, items: Sequence[TaskItem]) -> None:
        """Hand stored tasks to an engine that is elsewhere. Where it cannot be reached, any worker does so later."""
        with suppress(LogError):
            await self.dispatcher.send([parcel_of(item) for item in items])
            await self.records.mark_sent([item.id for item in items])
