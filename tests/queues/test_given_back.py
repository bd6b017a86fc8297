"""Goal: what a worker gives back, and takes again before it has heard that it gave it back, is not thrown away as sent twice."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Collection
from pathlib import Path

import pytest

from afk_es.queues import Delivery, RetryPolicy, TaskQueue, Worker
from afk_es.queues.tables import TableConsumer
from afk_es.tools import tool


async def test_a_task_that_is_taken_again_before_its_attempt_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, taken = asyncio.Event(), asyncio.Event()
    times = 0
    again, take = TableConsumer.again, TableConsumer.take

    async def late_again(self: TableConsumer, delivery: Delivery, at: dt.datetime | None = None) -> None:
        await again(self, delivery, at)
        if not given.is_set():
            given.set()
            await taken.wait()

    async def seen_take(self: TableConsumer, queues: Collection[str], limit: int) -> list[Delivery]:
        deliveries = await take(self, queues, limit)
        if given.is_set() and deliveries:
            taken.set()
        return deliveries

    monkeypatch.setattr(TableConsumer, "again", late_again)
    monkeypatch.setattr(TableConsumer, "take", seen_take)

    @tool
    async def flaky() -> str:
        """Fail the first time."""
        nonlocal times
        times += 1
        if times == 1:
            raise ConnectionError("not now")
        return "done"

    async with TaskQueue(tmp_path / "runs.db", handlers=[flaky], retry=RetryPolicy(base_s=0.0, cap_s=0.0)) as queue, Worker(queue):
        item = await queue.push_job("flaky")
        assert await queue.result(item.id, timeout_s=10) == "done"
    assert (taken.is_set(), times) == (True, 2)
