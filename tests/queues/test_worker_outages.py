"""Goal: a server whose connections are cut, or that is gone for longer than a lease, loses no task. Method: a real one, on PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from afk_es.queues import NewTask, RetryPolicy, TaskItem, TaskQueue, Worker
from afk_es.tools import tool
from tests.queues.working import seen, task_in
from tests.support.postgres import Server

_TASKS = 30
_CUTS = 2
_CUT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of this test's own."""
    server = Server(Path(tempfile.mkdtemp(prefix="afk-pg-own-", dir="/tmp")))
    try:
        server.make()
        server.start(fsync="off")
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.directory, ignore_errors=True)


@asynccontextmanager
async def at_work(server: Server, ran: Counter[int], lease_s: float) -> AsyncIterator[tuple[TaskQueue, Worker, list[TaskItem]]]:
    """A worker with many small jobs before it."""

    @tool(idempotent=True)
    async def work(n: int) -> int:
        """Work."""
        ran[n] += 1
        await asyncio.sleep(0.02)
        return n

    async with TaskQueue(server.url, handlers=[work], retry=RetryPolicy(base_s=0.0, cap_s=0.0)) as queue:
        new = [NewTask(contract="job.dispatch.v1", payload={"handler": "work", "payload": {"n": n}}) for n in range(_TASKS)]
        tasks = await queue.push_many(new)
        async with Worker(queue, max_concurrency=4, lease_s=lease_s) as worker:
            yield queue, worker, tasks


async def all_done(queue: TaskQueue, tasks: list[TaskItem]) -> None:
    """Each of them comes to what it should."""
    for n, task in enumerate(tasks):
        item = await task_in(queue, task.id, "completed")
        assert (item.failures, item.result) == (0, n)


async def test_tasks_go_through_cut_connections_and_nothing_is_done_twice(server: Server) -> None:
    ran: Counter[int] = Counter()
    operator = await asyncpg.connect(server.url)
    try:
        async with at_work(server, ran, 30.0) as (queue, worker, tasks):
            for cut in range(_CUTS):
                await seen(lambda cut=cut: worker.metrics().completed >= cut * 3)  # type: ignore[misc]
                await operator.execute(_CUT)
            await all_done(queue, tasks)
    finally:
        await operator.close()
    assert ran == Counter(range(_TASKS))


async def test_tasks_go_on_when_a_server_is_back_that_was_gone_for_longer_than_a_lease(server: Server) -> None:
    ran: Counter[int] = Counter()
    async with at_work(server, ran, 1.0) as (queue, worker, tasks):
        await seen(lambda: worker.metrics().completed >= 3)
        await asyncio.to_thread(server.stop)
        await seen(lambda: not worker.metrics().held)
        begun = ran.total()
        await asyncio.to_thread(server.start, fsync="off")
        assert ran.total() == begun
        await all_done(queue, tasks)
        assert worker.metrics().outages + worker.metrics().leases_lost >= 1
    assert set(ran) == set(range(_TASKS))
