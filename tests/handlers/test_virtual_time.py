"""Goal: time stands still while anybody does something, and what came together comes together. Method: runs made of a list of who is due."""

from __future__ import annotations

import asyncio
import datetime as dt

from afk_es.handlers.virtual_time import UNRECORDED, Due, RunTime, VirtualTime

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Listed:
    """A run that notes who came and when, and waits unless it is told to be busy."""

    def __init__(self, time: VirtualTime, together: dict[int, int] | None = None) -> None:
        self.came: list[tuple[int, int]] = []
        self.busy = False
        self.given_up = 0
        self._time = time
        self._together = together or {}

    def due(self, moment: int, seq: int) -> Due:
        return self._time.put(moment, Due(self, seq, lambda: self.came.append((seq, self._time.elapsed))))

    def together(self, seq: int) -> int:
        return self._together.get(seq, seq)

    def settled(self) -> bool:
        return not self.busy

    def stopped_short(self) -> bool:
        return False

    def give_up(self) -> bool:
        self.given_up += 1
        return True


async def looked(time: VirtualTime, times: int = 1) -> None:
    """Let the time look round so often."""
    for _ in range(times):
        time.stir()
        await asyncio.sleep(0)
        await asyncio.sleep(0)


async def test_the_earliest_comes_first_and_of_one_moment_the_first_in_the_recording() -> None:
    time = VirtualTime(START)
    run = Listed(time)
    time.join("run", run)
    for moment, seq in ((30, 4), (10, UNRECORDED), (10, 3), (20, 9)):
        run.due(moment, seq)
    await looked(time, 5)
    assert run.came == [(3, 10), (UNRECORDED, 10), (9, 20), (4, 30)]


async def test_nobody_comes_while_one_of_the_family_does_something() -> None:
    time = VirtualTime(START)
    one, other = Listed(time), Listed(time)
    time.join("one", one)
    time.join("other", other)
    other.busy = True
    one.due(10, 1)
    await looked(time, 3)
    assert (one.came, time.elapsed) == ([], 0)
    time.leave("other")
    await looked(time)
    assert one.came == [(1, 10)]


async def test_what_came_together_comes_together_once_all_of_it_is_there() -> None:
    time = VirtualTime(START)
    run = Listed(time, together={1: 3, 2: 3})
    time.join("run", run)
    run.due(10, 1)
    run.due(10, 2)
    await looked(time)
    assert run.came == [(1, 10)], "3 is not there, so it follows from 1 or 2"
    run.due(20, 3)
    await looked(time)
    assert run.came == [(1, 10), (2, 10), (3, 20)]


async def test_who_is_cancelled_does_not_come_and_a_moment_that_has_passed_is_now() -> None:
    time = VirtualTime(START)
    run = Listed(time)
    time.join("run", run)
    run.due(10, 1).cancelled = True
    time.advance_to(50)
    run.due(10, 2)
    await looked(time)
    assert run.came == [(2, 50)]
    sleeping = asyncio.create_task(time.until(90, run, 3, lambda: None))
    await asyncio.sleep(0)
    sleeping.cancel()
    await looked(time, 2)
    assert time.elapsed == 50
    assert run.given_up > 0, "nobody is due any more"


async def test_a_run_reads_the_moment_that_the_recording_has() -> None:
    time = VirtualTime(START)
    recorded: list[int | None] = [None, 7, None]
    clock = RunTime(time, lambda: recorded.pop(0))
    assert (clock.monotonic(), clock.monotonic()) == (0.0, 7e-6)
    time.advance_to(2_000_000)
    assert clock.now() == START + dt.timedelta(seconds=2)
