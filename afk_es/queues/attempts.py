"""One attempt at one task: from its delivery, through its run, to what is written of it. It knows no other attempt, and no queue.

An attempt never ends with an exception of the task's making: whatever the world does is one of the endings of `settling`. While the log
cannot be reached it waits and goes on where it was, for as long as the worker's lease is its own; when that is over it writes nothing more.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from afk_es.clock import Clock
from afk_es.core import AgentResult, AttachedRun, Runner
from afk_es.core.pending import family_of, unanswered
from afk_es.errors import (
    AfkError,
    AgentMismatchError,
    HeadConflictError,
    InvalidEventError,
    LeaseLostError,
    LogError,
    LogFormatError,
    LogUnavailableError,
    RunOwnedError,
    ToolError,
    UnregisteredError,
    UsageError,
    text_of,
)
from afk_es.queues.contracts import Known, TaskRun
from afk_es.queues.dispatch import Consumer, Delivery
from afk_es.queues.first import first
from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.leases import WorkerLease
from afk_es.queues.news import TaskNews
from afk_es.queues.records import Began, TaskRecords
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.settling import (
    Cancelled,
    Completed,
    Deadly,
    Dropped,
    Elsewhere,
    Ending,
    Failed,
    LaidDown,
    Refused,
    Settlement,
    Unknown,
    Waits,
    deadly,
    settled,
)
from afk_es.queues.task_statements import FREE_IN_BEGIN
from afk_es.queues.watching import ProgressFeed

_LOGGER = logging.getLogger("afk_es.worker")

_PAUSE_S = 1.0
"""Between two tries to reach a log that cannot be reached."""

_WRITTEN_DOWN = 3
"""Events of a run that `Runner.prepare` has written down."""

_CALLED_OFF = "the task was cancelled"

_TURNS = ("run_started", "llm_completed", "run_failed")
"""Of these the last says whether a job that was reopened has yet to ask for its call again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What a worker has for all its attempts."""

    name: str
    runner: Runner
    records: TaskRecords
    consumer: Consumer
    known: Known
    retry: RetryPolicy
    clock: Clock
    allow_agent_change: bool
    tell: Callable[[TaskNews], None]


class Attempt:
    """One attempt at the task of a delivery.

    Args:
        lease: the worker's, at the time of the delivery.
    """

    def __init__(self, delivery: Delivery, lease: WorkerLease, workshop: Workshop) -> None:
        self.delivery = delivery
        self._lease = lease
        self._shop = workshop
        self._feed = ProgressFeed()
        self._told = Progress()
        self._began: Began | None = None
        self._run: AttachedRun | None = None
        self._leaving: str | None = None
        self._left = asyncio.Event()
        self._at: dt.datetime | None = None
        self._heard = False
        self._untaken = False

    @property
    def doing(self) -> str:
        """What it does, in words."""
        return f"task {self.delivery.task_id} ({self._feed.progress.doing or 'begins'})"

    async def run(self) -> Settlement | None:
        """Make the attempt, and settle what became of it.

        Returns:
            What that is; None where there was nothing to do, or nothing could be written before the lease was over.
        """
        began = await self._begin()
        if began is None:
            return None
        self._shop.tell(TaskNews(what="begun", task=began.task, attempt=began.attempt))
        ending = await self._ending(began)
        # Whoever lost the run may drive it still: that is for the next attempt, since this one did not come to it.
        self._untaken = began.takes_over and self._run is None and not isinstance(ending, Elsewhere)
        settlement = settled(ending, began, self._shop.retry)
        if not await self._settle(began, settlement):
            # Whoever takes it next finds it running, and goes on with it.
            return None
        if (what := settlement.what) is not None:
            self._shop.tell(TaskNews(what=what, task=began.task, attempt=began.attempt, error=settlement.error, after_s=settlement.after_s))
        return settlement

    def lay_down(self, reason: str) -> None:
        """Lay the run down as soon as may be; the task is then given back."""
        self._leaving = self._leaving or reason
        self._left.set()
        if self._run is not None:
            self._run.lay_down(reason)

    def cut(self) -> None:
        """Stop driving the run, as a crash would; its next owner finds in the log what was under way."""
        if self._run is not None and self._run.stretch is not None:
            self._run.stretch.cancel()

    async def say_progress(self) -> None:
        """Write how far the run is, if that has changed."""
        progress = self._feed.progress
        if self._began is not None and progress != self._told:
            self._told = progress
            await self._shop.records.progress(self._began.task.id, self._began.attempt, progress)
            await self._hear_of_cancelling(self._began)

    async def _hear_of_cancelling(self, began: Began) -> None:
        """Look once whether the task was called off after the attempt had begun and before its run was in the log: no letter says so then."""
        if self._run is None or self._heard:
            return
        task = await self._shop.records.get(began.task.id)
        self._heard = True
        if task is not None and task.attempts == began.attempt and task.cancel_requested:
            # It may have ended at this moment, or have been told by a letter.
            with suppress(UsageError):
                await self._run.cancel(_CALLED_OFF)

    # ------------------------------------------------------------------------------------------------------------------------- the run

    async def _begin(self) -> Began | None:
        while True:
            try:
                held = self._shop.consumer.holding(self.delivery, FREE_IN_BEGIN)
                began = await self._shop.records.begin(self.delivery.task_id, self._shop.name, self._shop.clock.now(), held=held)
                if began is None:
                    await self._shop.consumer.done(self.delivery)
                self._began = began
                return began
            except LogError as error:
                if not await self._reached_again(error):
                    return None

    async def _ending(self, began: Began) -> Ending:
        """Go on with the run until it ends, is laid down, or is not this worker's any more."""
        while True:
            try:
                return await self._ended(began)
            except (LeaseLostError, LogUnavailableError) as error:
                if not await self._reached_again(error):
                    # The run may not lie there: its task stays as that of a worker that is gone, from whom the next takes the run.
                    return Dropped()
            except (RunOwnedError, HeadConflictError) as error:
                return Elsewhere(text_of(error))
            except UnregisteredError as error:
                return Unknown(text_of(error))
            except AgentMismatchError as error:
                way_out = "or let workers go on with other agents: Worker(allow_agent_change=True), afk-es worker --allow-agent-change"
                return Refused(f"{text_of(error)}; {way_out}", type(error).__name__)
            except UsageError as error:
                return Refused(text_of(error), type(error).__name__)
            except ToolError as error:
                # A server of the agent's, which is asked before the run begins.
                return Failed(text_of(error), type(error).__name__, passing=True)
            except LogError as error:
                # What is written wrongly stays so.
                passing = not isinstance(error, (LogFormatError, InvalidEventError))
                await self._put_down(began.task.id, error)
                return Failed(text_of(error), type(error).__name__, passing)
            except Exception as error:
                # A bug of ours, or of a port of the user's. The other tasks have nothing to do with it.
                _LOGGER.exception("%s", self.doing)
                await self._put_down(began.task.id, error)
                return Failed(text_of(error), type(error).__name__, passing=True)

    async def _put_down(self, run_id: str, error: Exception) -> None:
        """See to it that a run whose loop broke lies there for the next attempt: by its log this process, which lives, still drives it."""
        with suppress(AfkError):
            run = await self._shop.runner.attach(run_id=run_id, by=f"worker {self._shop.name}")
            await run.interrupt(f"{type(error).__name__}: {text_of(error)}")

    async def _reached_again(self, error: AfkError) -> bool:
        """After an error of the log's, or the lapse of the lease: whether it is worth another try, once it is."""
        if isinstance(error, LogError):
            _LOGGER.warning("%s tries again: %s", self.doing, error)
            await first(self._left.wait(), self._shop.clock.sleep(_PAUSE_S))
        await first(self._left.wait(), self._lease.regained())
        return self._leaving is None and self._lease.held()

    async def _ended(self, began: Began) -> Ending:
        task = began.task
        if began.cancel_requested and (ending := await self._cancelled(began)) is not None:
            return ending
        if deadly(began, self._shop.retry) and not await self._has_ended(task.id):
            return Deadly()
        wanted = self._shop.known.contract(task.contract).request(task.payload, self._shop.known)
        try:
            self._run = run = await self._driven(began, wanted)
            if run.stretch is None:
                return Elsewhere("another process drives its run")
            if self._leaving is not None:
                run.lay_down(self._leaving)
            return await self._meaning(await run.stretch, wanted)
        finally:
            wanted.left(task.id)

    async def _driven(self, began: Began, wanted: TaskRun) -> AttachedRun:
        """The run, driven here, or what it had come to before."""
        task = began.task
        # After an outage the run goes on as this attempt left it, and what it failed by meanwhile is told before it is tried again. The same
        # of an attempt that was cut, if what its run has failed by is not counted yet. That of a new task was, by one that was discarded since.
        reopen = self._run is None and (not began.crashed or await self._is_counted(task))
        if wanted.is_job and await self._has_been_tried(began) and await self._is_reopened(task.id, reopen):
            wanted.reopened(task.id)
        return await self._shop.runner.run_once(
            wanted.agent,
            run_id=task.id,
            by=f"worker {self._shop.name}",
            user_message=wanted.user_message,
            context=wanted.context,
            thread_id=wanted.thread_id,
            allow_agent_change=self._shop.allow_agent_change or await self._is_untouched(began),
            take_over=began.takes_over,
            reopen=reopen,
            lease=self._lease,
            feed=self._feed,
        )

    async def _is_counted(self, task: TaskItem) -> bool:
        """Whether every failure of its run is in the task's count: then whoever was cut had yet to reopen the run."""
        return len(await self._shop.runner.log.scan(task.id, types=("run_failed",))) <= task.failures

    async def _has_been_tried(self, began: Began) -> bool:
        return began.previous is not None or await self._last_event(began.task.id) == "run_failed"

    async def _is_reopened(self, run_id: str, now: bool) -> bool:
        """Whether its run is reopened now, or was by an attempt that came to its end before the call was asked for again."""
        for event in await self._shop.runner.log.scan(run_id, types=_TURNS, backwards=True):
            if event.type != "run_started":
                return now and event.type == "run_failed"
            if event.data.get("reopened"):
                return True
        return False

    async def _is_untouched(self, began: Began) -> bool:
        """Whether its run was only written down, by whoever pushed it: it has done nothing that another agent could not answer for."""
        if began.attempt == 1:
            return True
        head = await self._shop.runner.log.head(began.task.id)
        return head is not None and head.seq <= _WRITTEN_DOWN

    async def _cancelled(self, began: Began) -> Ending | None:
        """End the run of a task that was called off; None where it had come to an end before."""
        task = began.task
        match await self._last_event(task.id):
            case "run_completed":
                return None
            case None | "run_cancelled" | "run_failed":
                return Cancelled()
            case _:
                run = await self._shop.runner.attach(run_id=task.id, by=f"worker {self._shop.name}")
                # It may have come to its end at this moment.
                with suppress(UsageError):
                    await run.cancel(_CALLED_OFF, take_over=began.takes_over)
                over = await self._has_ended(task.id)
                return Cancelled() if over else Elsewhere("it was called off, and the process that drives its run was told")

    async def _has_ended(self, run_id: str) -> bool:
        return await self._last_event(run_id) in ("run_completed", "run_failed", "run_cancelled")

    async def _last_event(self, run_id: str) -> str | None:
        head = await self._shop.runner.log.head(run_id)
        return None if head is None else head.last_type

    async def _meaning(self, result: AgentResult, wanted: TaskRun) -> Ending:
        """What a run that has ended, or was laid down, means for its task."""
        match result.state:
            case "completed" | "degraded":
                return Completed(wanted.outcome(result))
            case "cancelled":
                return Cancelled()
            case _ if self._lease.ended:
                return Dropped()
            case "failed":
                return _failed(result, wanted)
            case "interrupted":
                return await self._interrupted(result.run_id)

    async def _interrupted(self, run_id: str) -> Ending:
        state, *subagents = family = await family_of(self._shop.runner.log, run_id)
        if state.control is not None:
            # What a worker lays down because it stops says so with the very words.
            return LaidDown(state.reason, here=state.reason == self._leaving)
        if state.overdue:
            return LaidDown(state.reason, here=False)
        terms = [ticket.expires_at for each in family for ticket in each.tickets]
        terms += [request.expires_at for each in family for request in unanswered(each, ()) if request.expires_at is not None]
        return Waits(state.reason, state.last_letter, {each.run_id: each.last_letter for each in subagents}, min(terms, default=None))

    # -------------------------------------------------------------------------------------------------------------------------- settling

    async def _settle(self, began: Began, settlement: Settlement) -> bool:
        """Write what became of the task, then say so to the engine; whether it was written."""
        if settlement.task == "nothing":
            return True
        while True:
            try:
                written = await self._write(began, settlement) or await self._was_written(began)
                await self._tell(settlement if written else None)
                return written
            except LogError as error:
                if not await self._reached_again(error):
                    return False

    async def _was_written(self, began: Began) -> bool:
        """Whether it was written before, by a try whose answer was lost; else it is another attempt's task now."""
        task = await self._shop.records.get(began.task.id)
        return task is not None and task.attempts == began.attempt

    async def _write(self, began: Began, settlement: Settlement) -> bool:
        records, task_id, attempt = self._shop.records, began.task.id, began.attempt
        error = settlement.error or ""
        match settlement.task:
            case "complete":
                return await records.complete(task_id, attempt, settlement.result)
            case "cancel":
                return await records.end_cancelled(task_id, attempt)
            case "again":
                now = self._shop.clock.now()
                self._at = now + dt.timedelta(seconds=settlement.after_s) if settlement.after_s else None
                previous = began.previous if self._untaken else None
                return await records.again(
                    task_id, attempt, self._at or now, error, settlement.error_type, counts=settlement.counts, previous=previous
                )
            case "bury":
                return await records.bury(task_id, attempt, error, settlement.error_type)
            case "wait":
                waits = settlement.waits
                assert waits is not None
                return await records.wait(task_id, attempt, error, waits.letter, runs=waits.runs, until=waits.until)
            case "nothing":
                return False

    async def _tell(self, settlement: Settlement | None) -> None:
        """None: the task is another attempt's, which has a delivery of its own, so this one is not needed."""
        if settlement is not None and settlement.engine == "again":
            await self._shop.consumer.again(self.delivery, self._at)
        else:
            await self._shop.consumer.done(self.delivery)


def _failed(result: AgentResult, wanted: TaskRun) -> Failed:
    failure = result.failure
    assert failure is not None
    return Failed(wanted.told(failure.error), failure.error_type, failure.retryable, failure.retry_after_s)
