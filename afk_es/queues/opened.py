"""A queue's log, tables and engine, open for exactly as long as somebody uses them."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Protocol

from afk_es.errors import UsageError


class Opening(Protocol):
    """What is opened before use, and closed after it."""

    async def open(self) -> None:
        """Make it usable."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Opened:
    """Opens what it is given, in this order, for the first user, and closes it in the other after the last. A user is whoever is inside
    `async with`. It belongs to one event loop at a time.
    """

    def __init__(self, *parts: Opening) -> None:
        self._parts = parts
        self._users = 0
        self._open: list[Opening] = []
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
                if not self._open:
                    await self._open_all()
        except BaseException:
            self._users -= 1
            raise

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._turn is not None
        self._users -= 1
        async with self._turn:
            if not self._users:
                await self._close_all()

    async def _open_all(self) -> None:
        for part in self._parts:
            try:
                await part.open()
            except BaseException:
                await self._close_all()
                raise
            self._open.append(part)

    async def _close_all(self) -> None:
        while self._open:
            await self._open.pop().close()
