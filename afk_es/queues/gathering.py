"""Pushes that come at the same time are written in one transaction: a server that pushes for many callers pays for one commit, not for many.

What is written alone would take a commit each, one after the other; while one is under way, those who come meanwhile gather for the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from afk_es.errors import LogError, LogUnavailableError
from afk_es.log import DatabaseLog, Statement

AT_ONCE = 200
"""Pushes of one transaction."""


class _Waiting(NamedTuple):
    statements: Sequence[Statement]
    done: asyncio.Future[None]


class Gathering:
    """Those who write through one log."""

    def __init__(self, log: DatabaseLog) -> None:
        self._log = log
        self._waiting: list[_Waiting] = []
        self._writing: asyncio.Task[None] | None = None

    async def write(self, statements: Sequence[Statement]) -> None:
        """Run the statements, all or none, durable on return. They land even if the waiting is cancelled.

        Raises:
            ClashError, LogError: as `DatabaseLog.transact`, for these statements alone.
        """
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(statements, done))
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), name="afk_es queue pushes")
        await done

    async def _write_all(self) -> None:
        # Whoever pushes in this turn of the event loop comes along.
        await asyncio.sleep(0)
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
                try:
                    await self._write(group)
                except BaseException as error:
                    for waiting in group:
                        _fail(waiting, error)
                    raise
        finally:
            for waiting in self._waiting:
                waiting.done.cancel()
            self._waiting = []

    async def _write(self, group: Sequence[_Waiting]) -> None:
        try:
            await self._log.transact([each for waiting in group for each in waiting.statements])
        except LogUnavailableError as error:
            # Whether it was written may not be known, so nothing of it is written again.
            for waiting in group:
                _fail(waiting, error)
        except LogError as error:
            if len(group) == 1:
                _fail(group[0], error)
                return
            # One of them is refused: alone, each gets what it deserves.
            for waiting in group:
                await self._write([waiting])
        else:
            for waiting in group:
                if not waiting.done.done():
                    waiting.done.set_result(None)


def _fail(waiting: _Waiting, error: BaseException) -> None:
    if waiting.done.done():
        return
    if isinstance(error, Exception):
        waiting.done.set_exception(error)
    else:
        waiting.done.cancel()
