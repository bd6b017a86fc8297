"""A log that is open exactly while somebody uses it, so that a program that ends, ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType

from afk_es.errors import UsageError
from afk_es.log import EventLog


class Session:
    """Opens the log for its first user and closes it after its last. A user is whoever is inside `async with session:`.

    Args:
        owned: whether the log is ours to close; one that the caller made is the caller's to close, who alone knows when.
        idle: awaited when no user is left, after the log is closed.
    """

    def __init__(self, log: EventLog, *, owned: bool, idle: Callable[[], Awaitable[object]] | None = None) -> None:
        self.log = log
        self._owned = owned
        self._idle = idle
        self._users = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Lock | None = None

    @property
    def used(self) -> bool:
        """Whether somebody uses it."""
        return self._users > 0

    async def __aenter__(self) -> EventLog:
        """The open log.

        Raises:
            UsageError: it is in use in another event loop.
            LogError: it cannot be opened.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._users:
                raise UsageError("this Runner is in use in another event loop; make one Runner per event loop or thread")
            self._loop = loop
            self._turn = asyncio.Lock()
        assert self._turn is not None
        self._users += 1
        try:
            async with self._turn:
                await self.log.open()
        except BaseException:
            self._users -= 1
            raise
        return self.log

    def share(self) -> None:
        """Become a user at a moment when there is one, so that the log is open; to be followed by `leave`."""
        self._users += 1

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Done with it. The last one out closes the log."""
        assert self._turn is not None
        self._users -= 1
        async with self._turn:
            if self._users:
                return
            if self._owned:
                await self.log.close()
        if self._idle is not None:
            await self._idle()

    async def end(self) -> None:
        """The event loop is about to end, and with it what a log has in it: close the log, whoever made it, unless somebody uses it."""
        if not self._users:
            await self.log.close()
