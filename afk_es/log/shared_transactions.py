"""Statements that come at the same time share a transaction: most of what one costs is to make it durable. It knows no database.

Whoever comes while a transaction is under way waits for the next, with all others who do. Where one's statements are refused, each of that
transaction is run alone, so nobody fails for another's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from afk_es.errors import LogError, LogReadOnlyError, LogUnavailableError
from afk_es.log.port import Statement

STATEMENTS_AT_ONCE = 200
"""Of one transaction, save that a single one's are never split."""

Rows = list[list[tuple[Any, ...]]]


class _Waiting(NamedTuple):
    statements: Sequence[Statement]
    done: asyncio.Future[Rows]


class SharedTransactions:
    """Those who write statements of their own through one connection.

    Args:
        run: runs statements in one transaction and gives the rows of each. With a `LogError` nothing was written.
    """

    def __init__(self, run: Callable[[Sequence[Statement]], Awaitable[Rows]]) -> None:
        self._run = run
        self._waiting: deque[_Waiting] = deque()
        self._running: asyncio.Task[None] | None = None

    async def transact(self, statements: Sequence[Statement]) -> Rows:
        """Run them, all or none, and give the rows of each. They land even if the waiting is cancelled. Raises what `run` does."""
        done: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(statements, done))
        if self._running is None or self._running.done():
            self._start()
        return await done

    async def finish(self) -> None:
        """Return when all are run."""
        while self._waiting or (self._running is not None and not self._running.done()):
            if self._running is None or self._running.done():
                self._start()
            else:
                await asyncio.wait([self._running])

    def _start(self) -> None:
        self._running = asyncio.create_task(self._run_all(), name="afk_es log statements")
        self._running.add_done_callback(self._go_on)

    def _go_on(self, _ended: asyncio.Task[None]) -> None:
        """An event loop that ends cancels that task with all others. Who comes while they end, as to give back what it holds, is served."""
        if any(not waiting.done.done() for waiting in self._waiting):
            self._start()

    async def _run_all(self) -> None:
        group: list[_Waiting] = []
        try:
            while self._waiting:
                group = self._next()
                await self._run_together(group)
        finally:
            # Where this was cancelled: what of these was written nobody knows.
            for waiting in group:
                waiting.done.cancel()

    def _next(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        size = len(group[0].statements)
        while self._waiting and size + len(self._waiting[0].statements) <= STATEMENTS_AT_ONCE:
            group.append(self._waiting.popleft())
            size += len(group[-1].statements)
        return group

    async def _run_together(self, group: Sequence[_Waiting]) -> None:
        try:
            rows = await self._run([statement for waiting in group for statement in waiting.statements])
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait for it are told, and the next have their turn
            if len(group) == 1 or not _is_ones_own(error):
                for waiting in group:
                    if not waiting.done.done():
                        waiting.done.set_exception(error)
                return
            for waiting in group:
                await self._run_together([waiting])
            return
        for waiting in group:
            of_this, rows = rows[: len(waiting.statements)], rows[len(waiting.statements) :]
            if not waiting.done.done():
                waiting.done.set_result(of_this)


def _is_ones_own(error: Exception) -> bool:
    """Whether it may be that only one's statements were refused: the others are not kept waiting for a log that is not there."""
    return isinstance(error, LogError) and (isinstance(error, LogReadOnlyError) or not isinstance(error, LogUnavailableError))
