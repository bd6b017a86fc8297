"""Goal: time in a simulation costs nothing and goes in order, and a program that never waits is found out."""

from __future__ import annotations

import asyncio
import time

import pytest

from afk_es.testing.simulation.virtual_loop import START, HungError, LoopClock, VirtualTimeLoop


def test_hours_pass_at_once_and_in_order() -> None:
    loop, woken = VirtualTimeLoop(), []

    async def sleeper(seconds: float) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, loop.time()))

    tasks = [loop.create_task(sleeper(seconds)) for seconds in (7200.0, 60.0, 3600.0)]
    began = time.monotonic()
    loop.settle()
    assert (woken, loop.time(), loop.next_timer()) == ([], 0.0, 60.0)
    loop.settle(3600.0)
    assert woken == [(60.0, 60.0), (3600.0, 3600.0)]
    loop.settle(10_000.0)
    assert woken[-1] == (7200.0, 7200.0)
    assert loop.time() == 10_000.0
    assert time.monotonic() - began < 5.0
    assert all(task.done() for task in tasks)
    loop.close()


def test_a_timeout_counts_virtual_seconds() -> None:
    loop = VirtualTimeLoop(5.0)

    async def cut() -> str:
        try:
            async with asyncio.timeout(30.0):
                await asyncio.sleep(31.0)
        except TimeoutError:
            return f"cut at {loop.time():g}"
        return "never cut"

    task = loop.create_task(cut())
    loop.settle(100.0)
    assert task.result() == "cut at 35"
    loop.close()


def test_what_would_run_in_a_thread_runs_at_once() -> None:
    loop = VirtualTimeLoop()

    async def threaded() -> tuple[int, str]:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(sum, [1, 2]), "here"

    task = loop.create_task(threaded())
    loop.settle()
    assert task.result() == (3, "here")
    loop.close()


def test_a_program_that_never_waits_is_found_out() -> None:
    loop = VirtualTimeLoop()

    async def round_and_round() -> None:
        while True:  # noqa: ASYNC110 - it waits for nothing, on purpose
            await asyncio.sleep(0)

    task = loop.create_task(round_and_round())
    with pytest.raises(HungError, match="goes round without waiting"):
        loop.settle()
    task.cancel()
    loop.settle()
    loop.close()


def test_its_clock_is_the_loops() -> None:
    loop = VirtualTimeLoop(90.0)
    clock = LoopClock(loop)
    assert (clock.now() - START).total_seconds() == clock.monotonic() == 90.0
    task = loop.create_task(clock.sleep(10.0))
    loop.settle(95.0)
    assert not task.done()
    loop.settle(100.0)
    assert task.done()
    loop.close()
