"""A queue's log, tables and engine, open for exactly as long as somebody uses them."""

from __future__ import annotations

import asyncio
from types import TracebackType

from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.queues.dispatch import Dispatcher
from afk_es.queues.records import TaskRecords


class Opened:
    """Opens them for the first user, and closes them after the last. A user is whoever is inside `async with`.

    Args:
        owned: whether the log is ours to close.
    """

    def __init__(self, log: EventLog, records: TaskRecords, dispatcher: Dispatcher, *, owned: bool) -> None:
        self._log = log
        self._records = records
        self._dispatcher = dispatcher
        self._owned = owned
        self._users = 0
        self._ready = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Lock | None = None

    async def __aenter__(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._users:
                raise UsageError("this TaskQueue is in use in another event loop; make one TaskQueue per event loop or thread")
            self._loop, self._turn = loop, asyncio.Lock()
        assert self._turn is not None
        self._users += 1
        try:
            async with self._turn:
                if not self._ready:
                    await self._open()
        except BaseException:
            self._users -= 1
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._turn is not None
        self._users -= 1
        async with self._turn:
            if self._ready and not self._users:
                self._ready = False
                await self._dispatcher.close()
                await self._close_log()

    async def _open(self) -> None:
        try:
            await self._log.open()
            await self._records.open()
            await self._dispatcher.open()
        except BaseException:
            await self._close_log()
            raise
        self._ready = True

    async def _close_log(self) -> None:
        if self._owned:
            await self._log.close()
