"""Where one promise is tried: a directory with one log, and the stores that were opened on it."""

from __future__ import annotations

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
        """Close every store and clear the log away."""
        try:
            for store in self._stores:
                await store.close()
        finally:
            await self.subject.discard(self.directory)
