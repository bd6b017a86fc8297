"""Time and identity: the one door through which they enter.

No other module may read a clock, draw a random number or make an id; a linter checks it. The seeded twins make a run repeatable to the
byte, and are public because users' tests want that as well.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import math
import os
import random
import time
from collections.abc import Callable
from functools import partial
from typing import Protocol

_TURNS = 100
"""Turns of the event loop that a simulated clock leaves to everybody else before it jumps."""


class Clock(Protocol):
    """Where time comes from."""

    def now(self) -> dt.datetime:
        """The time of day, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long; cancellable."""
        ...


class Ids(Protocol):
    """Where identities come from. Only runs, threads and owners need one: all else is derived from (run_id, seq)."""

    def new(self, kind: str) -> str:
        """A fresh id, led by its kind: `run_...`, `thread_...`, `owner_...`."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now(self) -> dt.datetime:
        """The time of day in UTC. It may jump; a run reads it once a stretch and then goes by `monotonic`."""
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        """`time.monotonic()`."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """`asyncio.sleep`."""
        await asyncio.sleep(seconds)


def unpausing(clock: Clock) -> Callable[[], float]:
    """Seconds since some fixed moment that pass while the process is stopped and while the machine sleeps, too.

    A lease is judged by them: whoever lends one counts those seconds. Of the machine's clock it is CLOCK_BOOTTIME where there is such a clock
    (Linux), else `time.monotonic()`, which some systems halt while they sleep; of any other clock its own `monotonic`.
    """
    if isinstance(clock, SystemClock) and _BOOT_TIME is not None:
        return partial(time.clock_gettime, _BOOT_TIME)
    return clock.monotonic


_BOOT_TIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)


class RandomIds:
    """Ids that sort by the time they were made: 48 bits of milliseconds and 80 random bits, as ULIDs are, in hexadecimal."""

    __slots__ = ()

    def new(self, kind: str) -> str:
        """A fresh id such as `run_0192f3a1b2c3d4e5f60718293a4b5c6d`."""
        return f"{kind}_{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


class SimulatedClock:
    """A clock that only moves when it is told to, or jumps to the next sleeper when everybody waits: waiting costs no real time.

    Args:
        start: the first time of day; default 2026-01-01 00:00 UTC.
        tick: seconds that pass at every reading; default 0, so that equal runs have equal times.
        autojump_threshold_s: when the earliest sleeper has waited for this many real seconds, and nobody was woken by such a jump
            meanwhile, time jumps to it, as with trio's MockClock; None (the default) leaves time to `advance`.
    """

    def __init__(
        self,
        start: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        *,
        tick: float = 0.0,
        autojump_threshold_s: float | None = None,
    ) -> None:
        self._start = start
        self._elapsed = 0.0
        self._tick = tick
        self._threshold = autojump_threshold_s
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0
        self._jumped_at = -math.inf

    def now(self) -> dt.datetime:
        """The simulated time of day."""
        return self._start + dt.timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Simulated seconds since the start."""
        self._elapsed += self._tick
        return self._elapsed

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass, waking whoever sleeps in between, in order."""
        target = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _order, sleeper = heapq.heappop(self._sleepers)
            self._elapsed = max(self._elapsed, due)
            if not sleeper.done():
                sleeper.set_result(None)
        self._elapsed = max(self._elapsed, target)

    async def sleep(self, seconds: float) -> None:
        """Wait until simulated time has come that far."""
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[None] = loop.create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._elapsed + max(seconds, 0.0), self._order, sleeper))
        if self._threshold is not None:
            loop.call_later(self._threshold, self._jump_to, sleeper)
        await sleeper

    def _jump_to(self, sleeper: asyncio.Future[None], turns: int = _TURNS) -> None:
        if sleeper.done():
            return
        loop = asyncio.get_running_loop()
        if self._threshold is not None and loop.time() - self._jumped_at < self._threshold:
            # Whoever the last jump woke may have something to do before the next.
            loop.call_later(self._threshold, self._jump_to, sleeper)
            return
        if turns:
            # On a busy machine the threshold may have passed while nobody got a turn.
            loop.call_soon(self._jump_to, sleeper, turns - 1)
            return
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if self._sleepers[0][2] is sleeper:
            self._jumped_at = loop.time()
            self.advance(self._sleepers[0][0] - self._elapsed)
        elif self._threshold is not None:
            loop.call_later(self._threshold, self._jump_to, sleeper)


class SeededIds:
    """Ids drawn from a seed: the same seed gives the same ids in the same order."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def new(self, kind: str) -> str:
        """The next id of the sequence."""
        return f"{kind}_{self._random.getrandbits(128):032x}"


class SeededChance:
    """Chance drawn from a seed: the same seed falls the same way."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def integer(self, lowest: int, highest: int) -> int:
        """One of the integers from `lowest` to `highest`, both included."""
        return self._random.randint(lowest, highest)


def fresh_seed() -> int:
    """A seed of 32 bits that nobody could foretell."""
    return int.from_bytes(os.urandom(4), "big")
