"""How long a worker may take what it holds for its own, by its own clock. It knows no engine, and asks nobody.

Whoever lends tasks counts from a beat that it has *seen*; the worker counts from when it *began* to send it, which is earlier, and gives up
a margin before the end. So by the time that others may be lent its tasks it has stopped starting anything, however long it was stopped, or
its machine slept, in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MARGIN = 0.1
"""The part of a lease that is given up at its end: for what happens between a look at the clock and the effect that follows it."""


class WorkerLease:
    """A worker's lease of all that it holds; a `Lease` as runs ask for one.

    A lease that has run out may be had again: the engine is then asked with the next beat whether it has lent anything of it to others. One
    that has ended may not.

    Args:
        reads: seconds that pass while the process is stopped, too: see `clock.unpausing`.
        lease_s: how long it lasts after a beat.
        since: when the beat began that it stands on.
    """

    def __init__(self, reads: Callable[[], float], lease_s: float, since: float) -> None:
        self._reads = reads
        self._for_s = lease_s * (1 - MARGIN)
        self._since = since
        self._ended = False
        self._news = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether it is over for good."""
        return self._ended

    def held(self) -> bool:
        """Whether it lasts."""
        return self.left_s() > 0

    def left_s(self) -> float:
        """Seconds until it runs out if no beat comes; at most 0 where it has."""
        return 0.0 if self._ended else self._since + self._for_s - self._reads()

    def renew(self, since: float) -> None:
        """A beat that began then has come through."""
        self._since = max(self._since, since)
        self._news.set()

    def end(self) -> None:
        """It is over: the engine has lent to others what it was for, or all of it was given back."""
        self._ended = True
        self._news.set()

    async def regained(self) -> bool:
        """Return when it is held, which may be at once, or over for good: whether it is held."""
        while not self.held() and not self._ended:
            self._news.clear()
            await self._news.wait()
        return self.held()
