"""The time of a replay: it stands still while anything goes on, and then jumps to whatever the recording has next.

All runs of a family share one. It knows when somebody is due and whether all of them wait, and nothing of what they wait for; nobody
really waits, and no real time decides anything.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import heapq
import itertools
from collections.abc import Callable
from typing import Protocol

UNRECORDED = 1 << 62
"""The place of what the recording does not have: behind all that it has at the same moment."""


class Waiting(Protocol):
    """A run of the family, as its time sees it."""

    def together(self, seq: int) -> int:
        """The last of the recorded events behind this one that came with nothing in between."""
        ...

    def settled(self) -> bool:
        """Whether it does nothing before somebody who is due here comes, or something from outside."""
        ...

    def stopped_short(self) -> bool:
        """Lay it down where it cannot go on by itself although others are due; whether it was."""
        ...

    def give_up(self) -> bool:
        """Lay it down since nobody is due any more; whether it was."""
        ...


class Due:
    """Somebody or something that comes at a moment: a sleeper that is woken, or a call that is made.

    Attributes:
        run: whose it is.
        seq: its place in the recording of that run, or `UNRECORDED`.
    """

    __slots__ = ("_call", "_sleeper", "cancelled", "run", "seq")

    def __init__(self, run: Waiting, seq: int, call: Callable[[], None], sleeper: asyncio.Future[None] | None = None) -> None:
        self.run: Waiting = run
        self.seq: int = seq
        self.cancelled: bool = False
        self._call = call
        self._sleeper = sleeper

    @property
    def over(self) -> bool:
        """Nobody waits for it any more."""
        return self.cancelled or (self._sleeper is not None and self._sleeper.done())

    def come(self) -> None:
        """Let it come. In the order of these calls, too, is what they do taken in."""
        self._call()
        if self._sleeper is not None:
            self._sleeper.set_result(None)


class VirtualTime:
    """Microseconds since a family's first event.

    Args:
        start: the time of day at which the replay begins.

    Attributes:
        elapsed: microseconds.
        start: as given.
    """

    def __init__(self, start: dt.datetime) -> None:
        self.start = start
        self.elapsed: int = 0
        self._due: list[tuple[int, int, int, Due]] = []
        self._places: dict[tuple[Waiting, int], Due] = {}
        self._order = itertools.count()
        self._runs: dict[str, Waiting] = {}
        self._stirring = False

    def join(self, run_id: str, run: Waiting) -> None:
        """Time goes on only where this run waits, too."""
        self._runs[run_id] = run

    def leave(self, run_id: str) -> None:
        """The run has ended, or its stretch has."""
        self._runs.pop(run_id, None)
        self.stir()

    def lives(self, run_id: str) -> bool:
        """Whether this run goes on."""
        return run_id in self._runs

    def advance_to(self, moment: int) -> None:
        """Let that moment come, where nothing goes on before it."""
        self.elapsed = max(self.elapsed, moment)

    def put(self, moment: int, due: Due) -> Due:
        """Let it come at that moment, or at once where it has passed."""
        heapq.heappush(self._due, (max(moment, self.elapsed), due.seq, next(self._order), due))
        if due.seq != UNRECORDED:
            self._places[due.run, due.seq] = due
        self.stir()
        return due

    async def until(self, moment: int, run: Waiting, seq: int, woken: Callable[[], None]) -> None:
        """Sleep until that moment.

        Args:
            woken: called when it has come, before anybody else runs.
        """
        sleeper: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.put(moment, Due(run, seq, woken, sleeper))
        await sleeper

    def stir(self) -> None:
        """Somebody has come to wait: look whether all do, once whoever can run has run."""
        if not self._stirring:
            self._stirring = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._stirring = False
        runs = list(self._runs.values())
        if not runs or not all(run.settled() for run in runs):
            return
        # The youngest first: a parent goes on when its subagent is laid down.
        if any(run.stopped_short() for run in reversed(runs)) or self._jumped():
            return
        any(run.give_up() for run in reversed(runs))

    def _jumped(self) -> bool:
        first = self._next()
        if first is None:
            return False
        seq, last = first.seq, self._last_with(first)
        self._come(first)
        while seq < last and (following := self._next()) is not None and following.run is first.run and following.seq == seq + 1:
            seq += 1
            self._come(following)
        return True

    def _last_with(self, first: Due) -> int:
        """The last of those that come at once, as they stand in the recording with nothing in between.

        Where one of them is not there yet, it follows from another, and so did not come at once with that.
        """
        if first.seq == UNRECORDED:
            return first.seq
        last = first.run.together(first.seq)
        for seq in range(first.seq + 1, last + 1):
            due = self._places.get((first.run, seq))
            if due is None or due.over:
                return first.seq
        return last

    def _come(self, due: Due) -> None:
        self.elapsed = max(self.elapsed, heapq.heappop(self._due)[0])
        self._places.pop((due.run, due.seq), None)
        due.come()

    def _next(self) -> Due | None:
        while self._due and self._due[0][3].over:
            heapq.heappop(self._due)
        return self._due[0][3] if self._due else None


class RunTime:
    """The clock of one run of the family: the family's time, and within a moment the times that the recording has.

    Args:
        recorded: the microsecond at which the recording has what this run appends next, or None where that does not say.
    """

    def __init__(self, time: VirtualTime, recorded: Callable[[], int | None]) -> None:
        self._time = time
        self._recorded = recorded

    def now(self) -> dt.datetime:
        """The time of day."""
        return self._time.start + dt.timedelta(microseconds=self._moment())

    def monotonic(self) -> float:
        """Seconds since the family's first event."""
        return self._moment() / 1e6

    def _moment(self) -> int:
        recorded = self._recorded()
        return self._time.elapsed if recorded is None else recorded

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps by this clock: a replay's waits are those of its `Playback`."""
        raise NotImplementedError("a replay waits by VirtualTime.until")
