"""Tells whoever watches a run of this Runner that something has happened, so that nobody has to look at the log again and again."""

from __future__ import annotations

import asyncio
from collections import deque
from weakref import ref

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
    """The watchers of the runs that one Runner drives. A watcher watches for as long as somebody holds it."""

    def __init__(self) -> None:
        self._watchers: dict[str, list[ref[Watcher]]] = {}

    def publish(self, event: AgentRunEvent) -> None:
        """Tell those who watch its run. It costs a look into an empty dict where nobody watches anything."""
        if self._watchers:
            for known in self._watchers.get(event.run_id, ()):
                watcher = known()
                if watcher is not None:
                    watcher.tell(event)

    def watch(self, run_id: str) -> Watcher:
        """A watcher of a run that goes on or is about to, whoever drives it: of one that another process drives there is no news."""

        def gone(known: ref[Watcher]) -> None:
            left = [each for each in self._watchers.get(run_id, ()) if each is not known]
            if left:
                self._watchers[run_id] = left
            else:
                self._watchers.pop(run_id, None)

        watcher = Watcher()
        self._watchers[run_id] = [*self._watchers.get(run_id, ()), ref(watcher, gone)]
        return watcher
