"""The list of tasks, in tables beside a log: what was asked, and where the handing out of it stands. What happened is in the runs alone.

Every change is one transaction, is only made from the states that `TRANSITIONS` names, and says whether it was made. What a worker has to
say of its attempt is fenced by the attempt's number: one that lost its task to another changes nothing any more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from afk_es.clock import Clock, SystemClock
from afk_es.errors import RunNotFoundError
from afk_es.log.codec import microseconds
from afk_es.log.port import DatabaseLog, EventLog, Statement
from afk_es.queues import presence as presences
from afk_es.queues import task_statements as statements
from afk_es.queues.items import Progress, TaskItem, TaskState
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.task_tables import has_tables, make_tables
from afk_es.queues.texts import check, check_name, kept_progress, kept_result, told
from afk_es.queues.transitions import Previous

_Item = TypeVar("_Item")


class Began(msgspec.Struct, frozen=True):
    """An attempt that has begun.

    Attributes:
        task: as it is now.
        attempt: its number, from 1; what is said of the attempt is fenced by it.
        previous: how the attempt before ended; None where this is the first.
        given_back: attempts in a row, up to this one, that were given back and do not count.
        cancel_requested: the task's run is to be ended as cancelled, and nothing else.
    """

    task: TaskItem
    attempt: int
    previous: Previous | None
    given_back: int
    cancel_requested: bool

    @property
    def crashed(self) -> bool:
        """Whether the attempt before never ended: its worker is gone, or has lost its lease and does not know it yet."""
        return self.previous == "cut"

    @property
    def takes_over(self) -> bool:
        """Whether its run is to be taken from whoever drives it: a worker that lost it may live on, and of a task that was dead it is nobody's."""
        return self.previous in ("cut", "revived")


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks of a queue are in which state.

    Attributes:
        queue: the queue.
        oldest_due_s: for how many seconds the task that is due for the longest time has been; None where none is.
    """

    queue: str
    queued: int = 0
    running: int = 0
    waiting: int = 0
    completed: int = 0
    dead: int = 0
    cancelled: int = 0
    oldest_due_s: float | None = None


class TaskRecords:
    """The tasks of a log.

    Args:
        log: an open log; it stays the caller's.
        clock: where the times of changes come from; default the machine's.

    Every method raises a `LogError` where the log cannot be reached.
    """

    def __init__(self, log: DatabaseLog, *, clock: Clock | None = None) -> None:
        self._log = log
        self._clock = clock or SystemClock()

    async def open(self, *, make: bool = True) -> bool:
        """See to it that the tables are there. Any number of processes may do it at once.

        Args:
            make: make them where there are none; with False that is seen from what this returns, and nothing else may be called then.

        Returns:
            Whether they are there.

        Raises:
            NewerLogError: the tables were made by a newer afk_es.
            ForeignLogError: something else is in their place.
        """
        shown = self._log.location if isinstance(self._log, EventLog) else "of these tasks"
        if await has_tables(self._log, shown):
            return True
        if make:
            await make_tables(self._log)
            # Somebody else may have made what is there now.
            return await has_tables(self._log, shown)
        return False

    def adding(self, item: TaskItem, *, sent: bool) -> Statement:
        """The statement that adds a new task; its transaction fails with `ClashError` where there is one of that id.

        Args:
            sent: whether the engine has it, or has it with the same transaction; else it is `unsent` until `mark_sent`.

        Raises:
            ConfigurationError: the task cannot be kept: a name that is too long, a payload that is no JSON.
        """
        check(item)
        return statements.adding([item], sent=sent)

    async def add(self, items: Sequence[TaskItem], with_statements: Sequence[Statement] = (), *, sent: bool = False) -> None:
        """Add new tasks, all or none, with other statements in the same transaction: those that send them.

        Args:
            sent: see `adding`.

        Raises:
            ClashError: there is a task with one of these ids; nothing was written.
            ConfigurationError: see `adding`.
        """
        for item in items:
            check(item)
        adding = [statements.adding(page, sent=sent) for page in _pages(items, statements.ADDED_AT_ONCE)]
        if adding or with_statements:
            await self._log.transact([*adding, *with_statements])

    async def get(self, task_id: str) -> TaskItem | None:
        """The task, or None where there is none of that id."""
        return (await self.get_all([task_id])).get(task_id)

    async def find(self, prefix: str, limit: int = 20) -> tuple[str, ...]:
        """Ids that begin with this, in their order, at most so many."""
        return tuple(row[0] for row in await self._read(statements.FIND, prefix, f"{prefix}\U0010ffff", limit))

    async def get_all(self, ids: Iterable[str]) -> dict[str, TaskItem]:
        """The tasks of these ids, as far as there are any."""
        found: dict[str, TaskItem] = {}
        for page in _pages([*dict.fromkeys(ids)], statements.LONGEST_LIST):
            found |= {row[0]: statements.task_item(row) for row in await self._log.query(statements.of_ids(page))}
        return found

    async def list(
        self,
        queue: str | None = None,
        state: TaskState | None = None,
        contract: str | None = None,
        limit: int = 50,
        before: str | None = None,
    ) -> tuple[TaskItem, ...]:
        """Tasks, the newest first.

        Args:
            queue: only of this queue.
            state: only in this state.
            contract: only of this contract.
            limit: at most so many, and never more than 1,000.
            before: only those older than the task with this id: the last one of the page before.

        Raises:
            RunNotFoundError: there is no task `before`.
        """
        wanted = statements.listing(queue, state, contract, _bounded(limit), before)
        if before is not None and not await self._read(statements.KNOWN, before):
            raise RunNotFoundError(f"there is no task {before} to page on from")
        return tuple(map(statements.task_item, await self._log.query(wanted)))

    async def begin(self, task_id: str, worker: str, at: dt.datetime, *, held: Statement | None = None) -> Began | None:
        """Begin an attempt. Whoever has begun the one before can say nothing more of the task.

        Args:
            worker: the worker's name.
            at: now.
            held: a query that finds a row as long as the worker was lent the task, with parameters from `$4` on. Without it a worker that
                was stopped on its way here would begin after all, and cut off the one that has the task by then.

        Returns:
            None where there is nothing to do: it has ended, or waits for somebody outside, or there is no such task, or others were lent it.
        """
        check_name("worker", worker)
        beginning = statements.beginning((task_id, worker, microseconds(at)), held)
        (rows,) = await self._log.transact([beginning])
        if not rows:
            return None
        task = statements.task_item(row := rows[0])
        return Began(task, task.attempts, previous=row[16], given_back=row[15], cancel_requested=task.cancel_requested)

    async def progress(self, task_id: str, attempt: int, progress: Progress) -> bool:
        """Say how far an attempt is."""
        return await self._made(statements.PROGRESS, task_id, attempt, kept_progress(progress), self._now())

    async def complete(self, task_id: str, attempt: int, result: Any) -> bool:
        """Say that the run has ended with this result, a JSON value. One that is too large is left to the log."""
        kept = kept_result(result)
        return await self._made(statements.COMPLETE, task_id, attempt, kept, int(kept is None), self._now())

    async def again(
        self,
        task_id: str,
        attempt: int,
        at: dt.datetime,
        error: str | None = None,
        error_type: str | None = None,
        *,
        counts: bool = True,
        previous: Previous | None = None,
    ) -> bool:
        """Have it tried again.

        Args:
            at: not before then. The engine is told by its consumer.
            error: why, for people.
            error_type: the class of the error.
            counts: whether the attempt failed; False: it was given back, and what is known of an earlier error stays.
            previous: what the next attempt is to know of the one before it; None: how this one ended. One that did not come to its run leaves
                to the next what it was told itself.
        """
        sql = statements.FAILED if counts else statements.GIVEN_BACK
        return await self._made(sql, task_id, attempt, _told(error), _told(error_type), microseconds(at), self._now(), previous)

    async def bury(self, task_id: str, attempt: int, error: str, error_type: str | None = None) -> bool:
        """Say that it has failed for good: it is dead until an operator revives or discards it."""
        return await self._made(statements.BURY, task_id, attempt, told(error), _told(error_type), self._now())

    async def wait(
        self,
        task_id: str,
        attempt: int,
        reason: str,
        letter: int,
        *,
        runs: Mapping[str, int] | None = None,
        until: dt.datetime | None = None,
    ) -> bool:
        """Let it wait for somebody outside, with no worker, until `awaken` finds an answer.

        Args:
            reason: for what, for people.
            letter: the position of the last letter that its run has taken in, or that was there before it was laid down: later ones awaken it.
            runs: the same of runs of subagents that wait: their letters awaken it as well.
            until: when it goes on in any case; None: not by time.
        """
        now = self._now()
        due = statements.NEVER if until is None else microseconds(until)
        *_, rows = await self._log.transact(
            [
                Statement(statements.FORGET, (task_id, attempt)),
                *(Statement(statements.AWAIT, (task_id, attempt, *each)) for each in {**(runs or {}), task_id: letter}.items()),
                Statement(statements.WAIT, (task_id, attempt, told(reason), due, now)),
            ]
        )
        return bool(rows)

    async def end_cancelled(self, task_id: str, attempt: int) -> bool:
        """Say that the run has ended as cancelled."""
        return await self._made(statements.END_CANCELLED, task_id, attempt, self._now())

    async def revive(self, task_id: str, at: dt.datetime) -> TaskItem | None:
        """Have a dead task tried again, as if it had never failed, not before that time. It is unsent: send it, and `mark_sent`.

        Returns:
            The task; None where none of that id is dead.
        """
        row = await self._one(statements.REVIVE, task_id, microseconds(at), self._now())
        return None if row is None else statements.task_item(row)

    async def discard(self, task_id: str) -> bool:
        """Remove a dead task from the list. Its run stays in the log."""
        rows, _ = await self._log.transact([Statement(statements.DISCARD, (task_id,)), statements.tidying([task_id])])
        return bool(rows)

    async def cancel(self, task_id: str) -> TaskItem | None:
        """Call a task off. One that was never begun is cancelled with it. Of another it is noted that it is to be: the next worker that has
        it ends its run; where it waits, or waits for its time, it is queued for one at once and unsent: send it, and `mark_sent`.

        Returns:
            The task as it is now: it has ended where it had before; None where there is none of that id.
        """
        row = await self._one(statements.CANCEL, task_id, self._now())
        return await self.get(task_id) if row is None else statements.task_item(row)

    async def awaken(self, at: dt.datetime | None = None, limit: int = statements.LONGEST_LIST) -> tuple[TaskItem, ...]:
        """Queue the tasks that waited and need to no longer: their runs have new letters, or their time has come. They are unsent.

        Args:
            at: now; default by the clock.
            limit: at most so many.
        """
        now = self._now() if at is None else microseconds(at)
        ids = [task_id for (task_id,) in await self._read(statements.AWAKENED, now, _bounded(limit))]
        if not ids:
            return ()
        rows, _ = await self._log.transact([statements.awakening(ids, now), statements.tidying(ids)])
        return statements.in_order(rows)

    async def unsent(self, before: dt.datetime, limit: int = statements.LONGEST_LIST) -> tuple[TaskItem, ...]:
        """Queued tasks that the engine was not given although somebody was to send them before then, the oldest first. Now the caller is.

        Of several workers that ask, each is given others, as long as `before` is in the past.
        """
        latest = microseconds(before)
        ids = [task_id for (task_id,) in await self._read(statements.UNSENT, latest, _bounded(limit))]
        if not ids:
            return ()
        (rows,) = await self._log.transact([statements.undertaking(ids, latest, self._now())])
        return statements.in_order(rows)

    def marking_sent(self, ids: Sequence[str]) -> Statement:
        """The statement that notes that the engine has these tasks, 1,000 at most, for the transaction that sends them."""
        return statements.marking_sent(ids)

    async def mark_sent(self, ids: Iterable[str]) -> None:
        """Note that the engine has them."""
        if marking := [statements.marking_sent(page) for page in _pages([*ids], statements.LONGEST_LIST)]:
            await self._log.transact(marking)

    async def purge(self, ended_before: dt.datetime, limit: int = statements.LONGEST_LIST) -> int:
        """Remove completed and cancelled tasks from the list, the longest ended first, and say how many. Their runs stay in the log.

        Args:
            ended_before: only those that ended before then. Forgets workers that were last alive before then as well.
            limit: at most so many in one transaction; repeat it until it says 0.
        """
        ids = [task_id for (task_id,) in await self._read(statements.ENDED, microseconds(ended_before), _bounded(limit))]
        removing = [statements.purging(ids), statements.tidying(ids)] if ids else []
        *removed, _ = await self._log.transact([*removing, presences.long_gone(ended_before)])
        return len(removed[0]) if removed else 0

    async def stats(self, at: dt.datetime | None = None) -> tuple[QueueStats, ...]:
        """How many tasks each queue has in each state, in the order of their names. Counts an index: a tenth of a second per million tasks.

        Args:
            at: now; default by the clock.
        """
        now = self._clock.now() if at is None else at
        counts: dict[str, dict[str, int]] = {}
        for queue, state, count in await self._read(statements.COUNTS):
            counts.setdefault(queue, {})[state] = count
        due = {queue: await self._oldest_due_s(queue, now) for queue in counts if counts[queue].get("queued")}
        return tuple(msgspec.convert({"queue": each, "oldest_due_s": due.get(each), **counts[each]}, QueueStats) for each in sorted(counts))

    async def _oldest_due_s(self, queue: str, now: dt.datetime) -> float | None:
        ((oldest,),) = await self._read(statements.OLDEST, queue)
        return None if oldest is None or oldest > microseconds(now) else statements.age_s(now, oldest)

    async def here(self, presence: WorkerPresence) -> None:
        """Note that a worker is there."""
        check_name("worker", presence.worker)
        await self._log.transact([presences.here(presence)])

    async def gone(self, worker: str) -> None:
        """Note that it is there no longer."""
        await self._log.transact([presences.gone(worker)])

    async def workers(self) -> tuple[WorkerPresence, ...]:
        """The workers that have not said that they are gone, in the order in which they began."""
        return tuple(map(presences.worker_presence, await self._read(presences.ALL)))

    def _now(self) -> int:
        return microseconds(self._clock.now())

    async def _made(self, sql: str, *parameters: Any) -> bool:
        return await self._one(sql, *parameters) is not None

    async def _one(self, sql: str, *parameters: Any) -> tuple[Any, ...] | None:
        rows = await self._rows(sql, *parameters)
        return rows[0] if rows else None

    async def _read(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        return await self._log.query(Statement(sql, parameters))

    async def _rows(self, sql: str, *parameters: Any) -> Sequence[tuple[Any, ...]]:
        (rows,) = await self._log.transact([Statement(sql, parameters)])
        return rows


def _told(text: str | None) -> str | None:
    return None if text is None else told(text)


def _bounded(limit: int) -> int:
    return min(max(limit, 0), statements.LONGEST_LIST)


def _pages(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]
