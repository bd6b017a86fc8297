"""Goal: a worker's process may be asked to stop, killed or stopped for a while, and its tasks come to their end elsewhere. Method: real ones."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from afk_es.queues import TaskQueue, Worker
from tests.queues.worker_program import clerk
from tests.queues.working import PATIENCE_S, seen, task_in

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """Where tools note what they do."""
    file = tmp_path / "noted"
    file.touch()
    return file


@pytest_asyncio.fixture
async def start(database_url: str, noted: Path) -> AsyncIterator[Start]:
    """Starts a worker, which is gone when the test is over."""
    started: list[asyncio.subprocess.Process] = []

    async def begun(**options: float) -> asyncio.subprocess.Process:
        words = [f"{key}={value}" for key, value in options.items()]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.queues.worker_program", database_url, str(noted), *words
        )
        started.append(process)
        return process

    yield begun
    for process in started:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()


def lines(noted: Path, what: str) -> list[str]:
    """What tools noted of this kind."""
    return [line for line in noted.read_text().splitlines() if line.startswith(what)]


async def ended(process: asyncio.subprocess.Process) -> int:
    """What it ended with."""
    async with asyncio.timeout(PATIENCE_S):
        return await process.wait()


async def test_sigterm_lets_a_worker_end_what_it_has(database_url: str, noted: Path, start: Start) -> None:
    async with TaskQueue(database_url) as queue:
        task = await queue.push_chat("clerk", "please")
        process = await start(takes_s=0.3)
        await seen(lambda: bool(lines(noted, "begins")))
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
        assert (await queue.get(task.id)).state == "completed"
        assert await queue.workers() == ()
    assert len(lines(noted, "ends")) == 1


async def test_a_second_signal_hurries_it_and_its_task_goes_on_elsewhere(database_url: str, noted: Path, start: Start) -> None:
    async with TaskQueue(database_url) as queue:
        task = await queue.push_chat("clerk", "please")
        process = await start(takes_s=3600.0)
        await seen(lambda: bool(lines(noted, "begins")))
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert await ended(process) == 0
        item = await queue.get(task.id)
        assert (item.state, item.failures, item.crashes) == ("queued", 0, 0)
        async with Worker(queue, agents=[clerk(noted)]):
            assert (await task_in(queue, task.id, "completed")).attempts == 2


async def test_the_task_of_a_worker_that_was_killed_goes_on_elsewhere(database_url: str, noted: Path, start: Start) -> None:
    async with TaskQueue(database_url) as queue:
        task = await queue.push_chat("clerk", "please")
        process = await start(takes_s=3600.0, lease_s=1.0)
        await seen(lambda: bool(lines(noted, "begins")))
        process.kill()
        await ended(process)
        async with Worker(queue, agents=[clerk(noted)], lease_s=1.0) as worker:
            item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures, item.crashes) == (2, 0, 1)
        assert worker.metrics().recovered == 1


async def test_a_worker_that_was_stopped_past_its_lease_starts_nothing_more(database_url: str, noted: Path, start: Start) -> None:
    """It has taken a task of two calls, and is stopped in the first. Another does both; then it goes on, and finds that it may not."""
    async with TaskQueue(database_url) as queue:
        task = await queue.push_chat("clerk", "please")
        process = await start(takes_s=0.5, calls=2, lease_s=1.0)
        await seen(lambda: bool(lines(noted, "begins")))
        process.send_signal(signal.SIGSTOP)
        async with Worker(queue, agents=[clerk(noted, calls=2)], lease_s=1.0):
            item = await task_in(queue, task.id, "completed")
            assert (item.attempts, item.crashes) == (2, 1)
            process.send_signal(signal.SIGCONT)
            # It is well again: it does the next.
            other = await queue.push_chat("clerk", "me too")
            await task_in(queue, other.id, "completed")
        process.send_signal(signal.SIGTERM)
        assert await ended(process) == 0
    of_it = [line for line in lines(noted, "begins") if task.id in line and str(process.pid) in line]
    assert len(of_it) == 1


async def test_a_task_that_kills_its_worker_is_dead_before_it_has_killed_them_all(tmp_path: Path, noted: Path) -> None:
    path = str(tmp_path / "tasks.db")
    async with TaskQueue(path) as queue:
        task = await queue.push_chat("clerk", "please")
        for _ in range(11):
            # Each begins, and dies of it: what the engine does meanwhile is another test's affair.
            await queue.records.begin(task.id, "one that died", queue.clock.now())
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.queues.worker_program", path, str(noted), "dies=1", "lease_s=1"
        )
        try:
            assert (await task_in(queue, task.id, "dead")).crashes == 11
            process.terminate()
            assert await ended(process) == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert lines(noted, "begins") == []
