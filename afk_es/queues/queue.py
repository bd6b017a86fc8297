"""`TaskQueue`: tasks are pushed, watched and managed here. Who does them is the worker's affair, and what doing means the Runner's."""

from __future__ import annotations

import asyncio
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
from afk_es.machine.values import canonical_json
from afk_es.queues.contracts import CHAT, JOB, Contract, JobRequest, Known, TaskRun, chat_payload, outcome_of, plain_payload
from afk_es.queues.dispatch import Dispatcher
from afk_es.queues.engines import engine_of
from afk_es.queues.items import Progress, TaskItem, TaskState
from afk_es.queues.opened import Opened
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.pushing import MAX_DELAY_S, Checked, NewTask, check_queue, checked, parcel_of
from afk_es.queues.records import QueueStats, TaskRecords
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.sending import send_stored
from afk_es.queues.waiting import changes
from afk_es.tools import Tool

_SAID = 300
"""Characters of an error that an exception repeats."""

WAITING = RunnerConfig(interaction_mode="external", background_tool_at_end="park")
"""A run that waits for a person, or for a tool in the background, is laid down, so that it takes no worker's place meanwhile."""


class TaskQueue:
    """Tasks on an event log, each of them a run of it.

    Args:
        log: a path, a `sqlite:///` or `postgresql://` URL, or an EventLog that is in a database. Default: the default log, as for `Runner`.
        agents, handlers, contracts: what is known here by name: agents for chats, tools that are handlers of jobs, and contracts beside the
            two that are always there. What only workers know can be pushed by its name as well; what is known here is checked, and its run
            begins in the log in the same transaction as the task.
        dispatcher: the engine that hands tasks out; default: one in the log's own database.
        retry: how tasks that failed are tried again; default `RetryPolicy()`.
        config: settings of runs, here and where workers have none of their own; default `WAITING`.
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
        self.config: RunnerConfig = config if config is not None else WAITING
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
        self.dispatcher: Dispatcher = dispatcher if dispatcher is not None else engine_of(opened, opened.location, self.clock, self.ids)
        self._opened = Opened(opened, self.records, self.dispatcher, owned=opened is not log)
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
            user_message, context, thread_id: as for `Runner.run`. The thread is the task's lane.
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
        run = None
        if isinstance(handler, Tool):
            run = self.known.run_of(JobRequest(handler=handler, payload=plain_payload(arguments)))
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
        return await self._push(self._checked(new, run))

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
            with suppress(ClashError, RunExistsError):
                # In a thread a run begins with what came before it, which is not there yet; and servers are asked by whoever works with them.
                if run is not None and run.thread_id is None and next(servers_of(run.agent), None) is None:
                    await self._begin(item, run)
                else:
                    await self._write([item])
                return item
            there = await self.records.get(item.id)
            if there is not None:
                _check_same(there, item)
                return there
            # Its run is in the log, and the task was discarded or purged since: it is taken up where it was left.
            await self._write([item])
            return item

    async def _begin(self, item: TaskItem, run: TaskRun) -> None:
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

    async def _write(self, items: Sequence[TaskItem]) -> None:
        """Store tasks and their deliveries, all or none."""
        if not items:
            return
        sending = self.dispatcher.sending([parcel_of(item) for item in items])
        added = [self.records.adding(item, sent=sending is not None) for item in items]
        await self.database.transact([*added, *(sending or ())])
        if sending is None:
            await self._send(items)

    async def _send(self, items: Sequence[TaskItem]) -> None:
        """Hand stored tasks to the engine. Where it cannot be reached, any worker does so later."""
        with suppress(LogError):
            await send_stored(items, self.database, self.records, self.dispatcher)

    # --------------------------------------------------------------------------------------------------------------------------- watching

    async def get(self, task_id: str) -> TaskItem:
        """The task as it is now.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        async with self._opened:
            return await self._get(task_id)

    async def list(
        self,
        *,
        queue: str | None = None,
        state: TaskState | None = None,
        contract: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[TaskItem, ...]:
        """Tasks, the newest first.

        Args:
            queue, state, contract: only those.
            limit: at most so many, up to 1,000.
            before: the id of the last task of the page before.

        Raises:
            TaskNotFoundError: there is no task `before`.
        """
        if queue is not None:
            check_queue(queue)
        async with self._opened:
            try:
                return await self.records.list(queue, state, contract, limit, before)
            except RunNotFoundError as error:
                raise TaskNotFoundError(str(error)) from error

    async def progress(self, task_id: str) -> Progress:
        """How far the task is.

        Raises:
            TaskNotFoundError: there is no such task.
        """
        return (await self.get(task_id)).progress

    async def watch(self, task_id: str) -> AsyncIterator[TaskItem]:
        """The task as it is now, and again whenever it has changed, until it has ended.

        Raises:
            TaskNotFoundError: there is no such task, or no longer.
        """
        async with self._opened:
            async for item in changes(self.log, task_id, lambda: self._get(task_id)):
                yield item

    async def result(self, task_id: str, *, timeout_s: float | None = None) -> Any:
        """What the task came to, once it has: the run's structured output as JSON data or its text, or what a job's handler returned.

        Args:
            timeout_s: seconds to wait at most; None: as long as it takes.

        Raises:
            TimeoutError: it has not ended by then; it goes on nevertheless.
            RunFailedError: it is dead. `result` of the error is the `AgentResult` of its run, or None where it came to none.
            RunCancelledError: it was cancelled.
            TaskNotFoundError: there is no such task, or no longer.
        """
        if timeout_s is not None and not 0 <= timeout_s < float("inf"):
            raise ConfigurationError(f"timeout_s is a number of seconds or None, not {timeout_s!r}")
        async with self._opened:
            item = await self._get(task_id)
            try:
                async with asyncio.timeout(timeout_s):
                    async for now in changes(self.log, task_id, lambda: self._get(task_id)):
                        item = now
            except TimeoutError:
                raise TimeoutError(f"task {task_id} is {item.state} after {timeout_s:g} s, and goes on") from None
            return await self._outcome(item)

    async def _outcome(self, item: TaskItem) -> Any:
        if item.state == "completed" and not item.result_in_log:
            return item.result
        result = await self._run_result(item.id)
        if item.state == "completed":
            return None if result is None else outcome_of(result)
        if item.state == "cancelled":
            raise RunCancelledError(f"task {item.id} was cancelled", result=result)
        said = (item.error or "")[:_SAID]
        raise RunFailedError(f"task {item.id} is dead after {item.attempts} attempts: {said}", result=result)

    async def _run_result(self, task_id: str) -> AgentResult | None:
        try:
            return await (await self._runner.attach(run_id=task_id, by="queue")).await_result()
        except UsageError:
            # It never began, or did not come to an end.
            return None

    async def _get(self, task_id: str) -> TaskItem:
        item = await self.records.get(task_id)
        if item is None:
            raise TaskNotFoundError(f"{self.log.location} has no task {task_id!r:.160}; `afk-es queue list` lists what it has")
        return item

    # --------------------------------------------------------------------------------------------------------------------------- managing

    async def cancel(self, task_id: str, *, reason: str | None = None, by: str = "queue") -> TaskItem:
        """Call a task off. One that no worker has begun is cancelled when this returns; of another the run is told to end, and the task is
        cancelled as soon as it has.

        Args:
            reason: why, for whoever reads the run.
            by: who says so.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskStateError: it has ended.
            LogError: the log or the engine could not be reached; say it again.
        """
        async with self._opened:
            item = await self.records.cancel(task_id)
            if item is None:
                item = await self._get(task_id)
            if item.state in ("completed", "dead"):
                raise TaskStateError(f"task {task_id} is {item.state} already, and cannot be cancelled{_instead(item)}")
            if item.state == "queued":
                await self._send([item])
            else:
                # Whether it never began or is under way now: its run, if there is one, ends as cancelled.
                with suppress(UsageError):
                    await (await self._runner.attach(run_id=task_id, by=by)).cancel(reason)
            if item.state != "running":
                # What waits for its time would hold up its lane until then.
                await self.dispatcher.hasten([task_id])
            return await self._get(task_id)

    async def retry(self, task_id: str) -> TaskItem:
        """Let a dead task be tried again, as often as if it had never failed. Its run goes on where it failed.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskStateError: it is not dead.
        """
        async with self._opened:
            item = await self.records.revive(task_id, self.clock.now())
            if item is None:
                there = await self._get(task_id)
                raise TaskStateError(f"task {task_id} is {there.state}; only a dead task is retried")
            await self._send([item])
            return item

    async def discard(self, task_id: str) -> None:
        """Forget a dead task. Its run stays in the log.

        Raises:
            TaskNotFoundError: there is no such task.
            TaskStateError: it is not dead.
        """
        async with self._opened:
            if not await self.records.discard(task_id):
                there = await self._get(task_id)
                raise TaskStateError(f"task {task_id} is {there.state}; only a dead task is discarded{_instead(there)}")

    async def dead(self, *, queue: str | None = None, limit: int = 50, before: str | None = None) -> tuple[TaskItem, ...]:
        """The dead letters, the newest first: tasks that failed for good. Arguments and errors as for `list`."""
        return await self.list(queue=queue, state="dead", limit=limit, before=before)

    async def stats(self) -> tuple[QueueStats, ...]:
        """How many tasks each queue has in each state, by the names of the queues."""
        async with self._opened:
            return await self.records.stats(self.clock.now())

    async def workers(self) -> tuple[WorkerPresence, ...]:
        """The workers that are there, and those that went without saying so: see `WorkerPresence`."""
        async with self._opened:
            return await self.records.workers()

    async def purge(self, *, older_than_s: float) -> int:
        """Forget tasks that were completed or cancelled before so many seconds, and say how many. Their runs stay in the log."""
        if not 0 <= older_than_s <= MAX_DELAY_S:
            raise ConfigurationError(f"older_than_s is a number of seconds from 0 to ten years, not {older_than_s!r:.80}")
        before = self.clock.now() - dt.timedelta(seconds=older_than_s)
        purged = 0
        async with self._opened:
            while some := await self.records.purge(before):
                purged += some
        return purged


def _check_same(there: TaskItem, item: TaskItem) -> None:
    """One key, one task.

    Raises:
        TaskExistsError: it is another.
    """
    if there.contract != item.contract or canonical_json(there.payload) != canonical_json(item.payload):
        raise TaskExistsError(
            f"key {item.key!r:.160} stands for task {there.id} of queue {there.queue}, which has another "
            f"{'contract' if there.contract != item.contract else 'payload'}; a key stands for one task, so choose another"
        )


def _instead(item: TaskItem) -> str:
    if item.state == "dead":
        return "; retry it or discard it"
    return "; cancel it" if item.state in ("queued", "running", "waiting") else ""
