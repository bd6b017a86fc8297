"""Where one promise is tried: a directory with one log, and the stores that were opened on it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

from afk_es.log.port import EventLog
from afk_es.testing.log_contract.subject import StoreSubject


class Bench:
    """The stores on one log. Whatever it opened it closes.

    Attributes:
        subject: the store under test.
        directory: where its log is, empty at first.
    """

    def __init__(self, subject: StoreSubject, directory: Path) -> None:
        self.subject = subject
        self.directory = directory
        self._stores: list[EventLog] = []

    def made(self) -> EventLog:
        """A new store, not opened."""
        store = self.subject.new_log(self.directory)
        self._stores.append(store)
        return store

    async def store(self) -> EventLog:
        """A new store, open."""
        store = self.made()
        await store.open()
        return store

    async def clear(self) -> None:
        """Close every store and clear the log away, even where one of them cannot be closed."""
        async with AsyncExitStack() as clearing:
            clearing.push_async_callback(self.subject.discard, self.directory)
            for store in self._stores:
                clearing.push_async_callback(store.close)
