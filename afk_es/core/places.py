"""How many subagents work at once in one Runner: places, and a queue for those who wait for one.

A subagent that waits for its own subagents does no work, so it lends its place out meanwhile and takes one again before it goes on. Whoever
holds a place can therefore always come to its end, and no nesting can lock itself up, however few places there are.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable
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
        self._all_taken = 0
        self._returning = _Queue()
        self._waiting = _Queue()

    @property
    def taken(self) -> int:
        """How many are at work."""
        return self._all_taken

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
        self._all_taken -= 1
        # Nobody who waits could use what was free before, so one place that comes free is of use to one of them at most.
        for queue in (self._returning, self._waiting):
            chosen = queue.first(self._has_room)
            if chosen is not None:
                name, granted = chosen
                self._taken_by(name)
                granted.set_result(None)
                return

    async def take_back(self, target: str) -> None:
        """A place again, before all who wait for their first."""
        await self._wait(target, self._returning)

    async def _wait(self, target: str, queue: _Queue) -> None:
        # Whenever a place is given up, whoever can have it gets it; so if there is room now, nobody who waits could use it.
        if self._has_room(target):
            self._taken_by(target)
            return
        ticket, granted = queue.join(target)
        try:
            await granted
        except asyncio.CancelledError:
            if not queue.leave(target, ticket):
                self.give(target)
            raise

    def _taken_by(self, target: str) -> None:
        self._taken[target] += 1
        self._all_taken += 1

    def _has_room(self, target: str) -> bool:
        return self._all_taken < self._most and self._taken[target] < self._most_per_target


class _Queue:
    """Who waits, by name in the order of coming. However many wait, finding the next costs a look at each name only."""

    def __init__(self) -> None:
        self._lines: dict[str, OrderedDict[int, asyncio.Future[None]]] = {}
        self._length = 0
        self._tickets = itertools.count()

    def __len__(self) -> int:
        return self._length

    def join(self, name: str) -> tuple[int, asyncio.Future[None]]:
        """A ticket, and what is done when its turn has come."""
        ticket = next(self._tickets)
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lines.setdefault(name, OrderedDict())[ticket] = granted
        self._length += 1
        return ticket, granted

    def leave(self, name: str, ticket: int) -> bool:
        """Go away; False if the turn had come."""
        line = self._lines.get(name)
        if line is None or line.pop(ticket, None) is None:
            return False
        self._length -= 1
        if not line:
            del self._lines[name]
        return True

    def first(self, can_go: Callable[[str], bool]) -> tuple[str, asyncio.Future[None]] | None:
        """Take out whoever has waited longest of those whose name can go, or None."""
        fronts = [(front, name) for name in self._lines if can_go(name) and (front := self._front(name)) is not None]
        if not fronts:
            return None
        ticket, name = min(fronts)
        granted = self._lines[name][ticket]
        self.leave(name, ticket)
        return name, granted

    def _front(self, name: str) -> int | None:
        # One that was cancelled stands there until its task has come to notice.
        return next((ticket for ticket, granted in self._lines[name].items() if not granted.done()), None)


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
