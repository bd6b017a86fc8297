"""How many subagents work at once in one Runner: places, and a queue for those who wait for one.

A subagent that waits for its own subagents does no work, so it lends its place out meanwhile and takes one again before it goes on. Whoever
holds a place can therefore always come to its end, and no nesting can lock itself up, however few places there are.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class CrowdedError(Exception):
    """Too many wait for a place already. The message is what the model is told."""


class Places:
    """The places of a Runner.

    Args:
        most: subagents at work at once.
        most_per_target: of them, those of one agent, by its name.
        most_waiting: for a first place; whoever comes beyond that is refused. Those who come back for theirs are always let in.
    """

    def __init__(self, most: int, most_per_target: int, most_waiting: int) -> None:
        self._most = most
        self._most_per_target = most_per_target
        self._most_waiting = most_waiting
        self._taken: Counter[str] = Counter()
        self._returning: deque[tuple[str, asyncio.Future[None]]] = deque()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def taken(self) -> int:
        """How many are at work."""
        return self._taken.total()

    async def take(self, target: str) -> Place:
        """A place for a subagent of that name, as soon as there is one.

        Raises:
            CrowdedError: too many are waiting already.
        """
        if not self._has_room(target) and len(self._waiting) >= self._most_waiting:
            raise CrowdedError(
                f"{len(self._waiting)} subagents are waiting for a place already, which is subagent_queue_backpressure_limit; "
                "ask again later, or raise the limit"
            )
        await self._wait(target, self._waiting)
        return Place(self, target)

    def give(self, target: str) -> None:
        """Let go of a place of that name."""
        self._taken[target] -= 1
        for queue in (self._returning, self._waiting):
            for waiter in [*queue]:
                name, granted = waiter
                if self._has_room(name) and not granted.done():
                    queue.remove(waiter)
                    self._taken[name] += 1
                    granted.set_result(None)

    async def take_back(self, target: str) -> None:
        """A place again, before all who wait for their first."""
        await self._wait(target, self._returning)

    async def _wait(self, target: str, queue: deque[tuple[str, asyncio.Future[None]]]) -> None:
        # Whenever a place is given up, all who can have it get one; so if there is room now, nobody who waits could use it.
        if self._has_room(target):
            self._taken[target] += 1
            return
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (target, granted)
        queue.append(waiter)
        try:
            await granted
        except asyncio.CancelledError:
            if waiter in queue:
                queue.remove(waiter)
            else:
                self.give(target)
            raise

    def _has_room(self, target: str) -> bool:
        return self._taken.total() < self._most and self._taken[target] < self._most_per_target


class Place:
    """A subagent's place: its own while it works, lent out while it waits for subagents of its own."""

    def __init__(self, places: Places, target: str) -> None:
        self._places = places
        self._target = target
        self._held = True
        self._closed = False
        self._away = 0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[None]:
        """Without the place inside; with it again afterwards, once nothing else is being waited for."""
        self._away += 1
        self._let_go()
        try:
            yield
        finally:
            self._away -= 1
        # Not where it was cut: whoever cuts it is about to close the place.
        await self._back()

    async def _back(self) -> None:
        async with self._turn:
            if self._held or self._idle():
                return
            await self._places.take_back(self._target)
            self._held = True
        if self._idle():
            self._let_go()

    def _idle(self) -> bool:
        """Whether it waits for somebody again, or is done; both may have come about while it waited for its place."""
        return self._away > 0 or self._closed

    def close(self) -> None:
        """The subagent is done with it."""
        self._closed = True
        self._let_go()

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._places.give(self._target)
