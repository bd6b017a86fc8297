"""Tells whoever watches a run of this Runner that something has happened, so that nobody has to look at the log again and again."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import stored

_KEPT = 1_000
"""How many transient events wait for one watcher; the oldest are let go, as nobody was promised them."""


class Watcher:
    """One who watches a run: woken when it has a new event, and handed those that are not stored."""

    def __init__(self) -> None:
        self.transient: deque[AgentRunEvent] = deque(maxlen=_KEPT)
        self._news = asyncio.Event()

    def tell(self, event: AgentRunEvent) -> None:
        """The run has this event; a stored one is in the log by now."""
        if not stored(event.type):
            self.transient.append(event)
        self._news.set()

    def wake(self) -> None:
        """The run may have grown: another process drives it, and the log has told us."""
        self._news.set()

    async def wait(self, timeout_s: float) -> None:
        """Return when there is news, or after so many seconds of real time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()


class News:
    """The watchers of the runs that one Runner drives."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[Watcher]] = {}

    def publish(self, event: AgentRunEvent) -> None:
        """Tell those who watch its run. It costs a look into an empty dict where nobody watches anything."""
        if self._watchers:
            for watcher in self._watchers.get(event.run_id, ()):
                watcher.tell(event)

    @contextmanager
    def watching(self, run_id: str) -> Iterator[Watcher]:
        """Watch a run, whoever drives it: of one that another process drives there is no news."""
        watcher = Watcher()
        watchers = self._watchers.setdefault(run_id, [])
        watchers.append(watcher)
        try:
            yield watcher
        finally:
            watchers.remove(watcher)
            if not watchers:
                self._watchers.pop(run_id, None)
