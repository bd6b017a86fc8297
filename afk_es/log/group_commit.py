"""Group commit over all runs of a process: every append queues its batch, and one task takes all that is queued at each turn.

What arrives while the store is busy shares the next transaction. The head of each run that is being driven is remembered, so no read
precedes an append. A head that turns out to be old does no harm: the row that would follow it exists already, and the tables refuse a
second. It knows no database: a store gives it its `Rows`.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from afk_es.errors import ClashError, LogClosedError, LogError, LogUnavailableError
from afk_es.log.batch import Base, Batch, Head, base_head, chained, conflict, refusal
from afk_es.log.port import Statement
from afk_es.log.shared_transactions import SharedTransactions

EVENTS_IN_A_GROUP = 4_000
"""Events of one transaction, save that a single larger batch is never split."""
HEADS_KEPT = 20_000
"""Heads that are remembered, about 300 bytes each. A run beyond them costs a read at its next append."""
PARTS_KNOWN = 4_096
"""Digests of parts that are known to be stored. One that was forgotten is offered again, and ignored."""


class Waiting(NamedTuple):
    """A batch in the queue, and whoever waits for it. The statements are others', for the same transaction."""

    batch: Batch
    done: asyncio.Future[None]
    statements: Sequence[Statement] = ()


class Tail(NamedTuple):
    """The end of a run in the store: its integer key, and its head."""

    key: int
    head: Head


class Fork(NamedTuple):
    """What the first batch of a fork follows: the integer key of the run that has the last event which is shared, and that as a head."""

    key: int
    head: Head


class Placed(NamedTuple):
    """A batch with its place. `key` is None while the run has no row yet; `fork` is there where it begins one."""

    waiting: Waiting
    key: int | None
    hashes: list[bytes]
    head: Head
    fork: Fork | None = None

    def rows(self, keys: dict[str, int]) -> list[tuple[Any, ...]]:
        """The rows of its events: the run's key, the columns and the hash of each."""
        run = keys[self.waiting.batch.run_id] if self.key is None else self.key
        return [(run, *event.columns, link) for event, link in zip(self.waiting.batch.events, self.hashes, strict=True)]


class UncertainError(Exception):
    """Whether the group was written is not known, as where a connection is lost on the way. The rows tell, once they can be read again."""


class UndoneError(UncertainError):
    """The connection was lost, and nothing was written."""


class Rows(Protocol):
    """What a group commit needs of the tables. Each method raises a `LogError` in the store's words for what it cannot help."""

    async def tails(self, run_ids: list[str]) -> dict[str, Tail]:
        """The ends of those of the runs that are there."""
        ...

    async def base(self, base: Base) -> tuple[int, int, int, bytes] | None:
        """Key of the run that has it, seq, epoch and hash of the event that a fork leaves from; None where there is no such event."""
        ...

    async def has(self, batch: Batch) -> bool:
        """Whether the batch's first event is there, which is to say all of them."""
        ...

    async def write(self, placed: list[Placed], new_runs: dict[str, str], new_parts: dict[str, str]) -> dict[str, int]:
        """Write a group in one transaction, durable when it returns, and give the keys of the new runs.

        Args:
            new_runs: thread ids by run id, of the runs that have no row yet.
            new_parts: JSON texts by digest, of parts that may be new.

        Raises:
            ClashError: a row is there already, or does not follow its run's head; or a table refused a statement; nothing was written.
            UncertainError: it cannot be told; `restore`, then ask `has`.
        """
        ...

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """Run statements that are others' in one transaction, durable when it returns, and give the rows of each.

        Raises:
            ClashError: a table refused one of them; nothing was written.
            UncertainError: as for `write`.
        """
        ...

    async def restore(self) -> None:
        """Make the tables usable again after an `UncertainError`, or raise the `LogError` that says why they are not."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class GroupCommit:
    """Appends batches through the rows of one store.

    Args:
        rows: the tables; closed by `close`.
        place: the log, for messages.
        before_first: called once, before the first append; raises if nothing may be written.
        after_write: called with the run ids of each group that was written. It must not raise.
    """

    def __init__(
        self,
        rows: Rows,
        place: str,
        before_first: Callable[[], None] | None = None,
        after_write: Callable[[Iterable[str]], None] | None = None,
    ) -> None:
        self._rows = rows
        self._place_name = place
        self._before_first = before_first
        self._after_write = after_write
        self._queue: deque[Waiting] = deque()
        self._draining: asyncio.Task[None] | None = None
        self._shared = SharedTransactions(self._transact)
        self._tails: OrderedDict[str, Tail] = OrderedDict()
        self._parts: OrderedDict[str, None] = OrderedDict()
        self._closed = False
        # What else is written through the same connection must not fall into somebody's transaction, which may be rolled back.
        self.turn: asyncio.Lock = asyncio.Lock()

    async def append(self, batch: Batch, statements: Sequence[Statement] = ()) -> None:
        """Append a batch and wait until it is durable. It lands even if the waiting is cancelled."""
        self.check_open()
        done = asyncio.get_running_loop().create_future()
        self._queue.append(Waiting(batch, done, statements))
        if self._draining is None or self._draining.done():
            self._start()
        await done

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """Run statements that are others' in one transaction. They land even if the waiting is cancelled.

        Statements that come at the same time share one, see `SharedTransactions`.
        """
        self.check_open()
        try:
            return await self._shared.transact(statements)
        except UncertainError as error:
            raise LogUnavailableError(
                f"the log {self._place_name}: the connection was lost while statements were run, and whether they wrote is not known; "
                "look before you run them again"
            ) from error

    async def _transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        async with self.turn:
            while True:
                await self._rows.restore()
                try:
                    return await self._rows.transact(statements)
                except UndoneError:
                    continue

    def check_open(self) -> None:
        """Raise a `LogClosedError` where it is closed."""
        if self._closed:
            raise LogClosedError(f"the log {self._place_name} is closed")

    def forget(self, run_id: str) -> None:
        """Drop what is remembered of a run that is no longer driven."""
        self._tails.pop(run_id, None)

    async def close(self) -> None:
        """Write what is queued, then close the connection."""
        self._closed = True
        try:
            if self._draining is not None:
                await asyncio.wait([self._draining])
            # An event loop that ends cancels that task too, perhaps before its first step.
            await self._drain()
            await self._shared.finish()
        finally:
            for waiting in self._queue:
                waiting.done.cancel()
            async with self.turn:
                await self._rows.close()

    def _start(self) -> None:
        self._draining = asyncio.create_task(self._drain(), name="afk_es log writer")
        self._draining.add_done_callback(self._go_on)

    def _go_on(self, ended: asyncio.Task[None]) -> None:
        """What was queued while a cancelled task came to its end does not wait for the next append, which may never come."""
        if self._queue and not self._closed and (self._draining is None or self._draining.done()):
            self._start()

    async def _drain(self) -> None:
        try:
            while self._queue:
                async with self.turn:
                    await self._settle(self._next_group())
        finally:
            self._draining = None

    def _next_group(self) -> list[Waiting]:
        queue = self._queue
        group = [queue.popleft()]
        size = len(group[0].batch.events)
        # Statements of others may be slow, or refused: batches without any do not share their transaction.
        alone = not group[0].statements
        while queue and size + len(queue[0].batch.events) <= EVENTS_IN_A_GROUP and alone is not bool(queue[0].statements):
            group.append(queue.popleft())
            size += len(group[-1].batch.events)
        return group

    async def _settle(self, group: list[Waiting]) -> None:
        """Write a group; every waiting append gets its result or its error."""
        try:
            self._claim_owner()
            await self._write_to_the_end(group)
        except asyncio.CancelledError:
            # An event loop that ends cancels this task with all others. The runs that wait here are about to lay themselves down behind
            # what they have appended, so it lands all the same.
            await self._write_to_the_end(await self._left_of(group))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it, and the writer go on
            _fail(group, error)
        finally:
            # Left over only where the event loop is being shut down: nobody may wait for ever.
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.cancel()

    async def _write_to_the_end(self, group: list[Waiting]) -> None:
        """Write a group, again and again where the connection is lost on the way, until the rows say that they cannot be restored."""
        while group:
            try:
                await self._write(group)
                return
            except UncertainError:
                group = await self._left_of(group)

    async def _left_of(self, group: list[Waiting]) -> list[Waiting]:
        """Those batches of a group that have no answer yet and are not in the store."""
        while True:
            await self._rows.restore()
            try:
                return await self._not_landed([waiting for waiting in group if not _is_answered(waiting)])
            except UncertainError:
                continue

    async def _not_landed(self, group: list[Waiting]) -> list[Waiting]:
        """Those batches of a write that did not come to its end that are not in the store. What was sent is executed or rolled back."""
        self._forget_all(group)
        missing = []
        landed: set[tuple[str, int]] = set()
        for waiting in group:
            place = waiting.batch.run_id, waiting.batch.first_seq
            # Two may want one place with the same event. It was given to the first.
            if place in landed or not await self._rows.has(waiting.batch):
                missing.append(waiting)
                continue
            landed.add(place)
            if not waiting.done.done():
                waiting.done.set_result(None)
        return missing

    def _claim_owner(self) -> None:
        if self._before_first is not None:
            self._before_first()
            self._before_first = None

    async def _write(self, group: list[Waiting]) -> None:
        placed: list[Placed] = []
        behind: list[Waiting] = []
        try:
            placed, behind = await self._place(group)
            if placed:
                await self._commit(placed)
        except LogError as error:
            self._forget_all(group)
            clash = isinstance(error, ClashError)
            if not placed or not (clash or placed[0].waiting.statements):
                _fail(group, error)
                return
            # Somebody else wrote to one of these runs, or a statement cannot be run. Alone, behind a fresh head, each gets what it deserves.
            if len(placed) > 1:
                for item in placed:
                    await self._write([item.waiting])
            else:
                _fail([placed[0].waiting], await self._conflict(placed[0].waiting, error) if clash else error)
        if behind:
            await self._write(behind)

    def _forget_all(self, group: Iterable[Waiting]) -> None:
        for waiting in group:
            self._tails.pop(waiting.batch.run_id, None)

    async def _conflict(self, waiting: Waiting, error: LogError) -> LogError:
        batch = waiting.batch
        tail = (await self._rows.tails([batch.run_id])).get(batch.run_id)
        head = tail.head if tail is not None else None
        fork = await self._fork_of(batch)
        found = refusal(batch, head, fork.head if fork is not None else None)
        if found is None and waiting.statements:
            return error  # The events would follow, so it was one of the statements that a table refused.
        found = found or conflict(batch, head.seq if head else 0, head.epoch if head else 0)
        found.__cause__ = error.__cause__
        return found

    async def _place(self, group: list[Waiting]) -> tuple[list[Placed], list[Waiting]]:
        """Give each batch its place behind its run's head; those that have none are told so.

        Returns:
            Those that have a place; and those that another of this group is in the way of. They are told when that is in the store, and
            not before: whoever is refused looks who was faster, and must find them.
        """
        tails = await self._known_tails(group)
        placed: list[Placed] = []
        behind: list[Waiting] = []
        for waiting in group:
            batch = waiting.batch
            key, head = tails.get(batch.run_id, (None, None))
            fork = await self._fork_of(batch) if batch.base is not None else None
            base = fork.head if fork is not None else None
            error = refusal(batch, head, base)
            if error is not None and any(item.waiting.batch.run_id == batch.run_id for item in placed):
                behind.append(waiting)
                continue
            if error is not None and batch.run_id in self._tails:
                self._tails.pop(batch.run_id)
                key, head = (await self._rows.tails([batch.run_id])).get(batch.run_id, (None, None))
                error = refusal(batch, head, base)
            if error is not None:
                _fail([waiting], error)
                continue
            hashes, new_head = chained(batch, head if base is None else base)
            tails[batch.run_id] = (key, new_head)
            placed.append(Placed(waiting, key, hashes, new_head, fork))
        return placed, behind

    async def _fork_of(self, batch: Batch) -> Fork | None:
        """Where the fork that this batch begins leaves the other run; None where it begins none, or the store has no such event."""
        found = await self._rows.base(batch.base) if batch.base is not None else None
        if found is None:
            return None
        key, seq, epoch, link = found
        return Fork(key, base_head(batch, seq, epoch, link))

    async def _known_tails(self, group: list[Waiting]) -> dict[str, tuple[int | None, Head | None]]:
        tails: dict[str, tuple[int | None, Head | None]] = {}
        unknown = []
        for waiting in group:
            run_id = waiting.batch.run_id
            tail = self._tails.get(run_id)
            if tail is not None:
                tails[run_id] = tail
            elif waiting.batch.first_seq > 1:
                unknown.append(run_id)
        if unknown:
            tails.update(await self._rows.tails(unknown))
        return tails

    async def _commit(self, placed: list[Placed]) -> None:
        new_runs = {item.waiting.batch.run_id: item.waiting.batch.thread_id for item in placed if item.key is None}
        new_parts = {key: text for item in placed for key, text in item.waiting.batch.parts.items() if key not in self._parts}
        keys = await self._rows.write(placed, new_runs, new_parts)
        self._remember(placed, keys, new_parts)
        if self._after_write is not None:
            self._after_write(item.waiting.batch.run_id for item in placed)

    def _remember(self, placed: list[Placed], keys: dict[str, int], new_parts: dict[str, str]) -> None:
        for waiting, key, _, head, _fork in placed:
            run_id = waiting.batch.run_id
            self._tails[run_id] = Tail(keys[run_id] if key is None else key, head)
            self._tails.move_to_end(run_id)
            if not waiting.done.done():
                waiting.done.set_result(None)
        self._parts.update(dict.fromkeys(new_parts))
        _shrink(self._tails, HEADS_KEPT)
        _shrink(self._parts, PARTS_KNOWN)


def _is_answered(waiting: Waiting) -> bool:
    """Whether it landed or was refused. One that nobody waits for any more lands all the same."""
    return waiting.done.done() and not waiting.done.cancelled()


def _shrink(remembered: OrderedDict[str, Any], bound: int) -> None:
    while len(remembered) > bound:
        remembered.popitem(last=False)


def _fail(group: Iterable[Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.done.done():
            waiting.done.set_exception(error)
