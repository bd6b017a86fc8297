"""Goal: a key whose dead task was discarded can be pushed again, and is then tried: its run is reopened, and not told dead once more."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es import tool
from afk_es.errors import RunFailedError, ToolError
from afk_es.queues import TaskQueue, Worker


async def test_what_was_discarded_and_pushed_again_is_tried_again(tmp_path: Path) -> None:
    tries: list[int] = []

    @tool(idempotent=True)
    def work(n: int) -> str:
        """Fail the first time."""
        tries.append(n)
        if len(tries) == 1:
            raise ToolError("not like this")
        return "done"

    async with TaskQueue(tmp_path / "runs.db", handlers=[work]) as queue, Worker(queue):
        first = await queue.push_job("work", {"n": 1}, key="k", max_attempts=1)
        with pytest.raises(RunFailedError, match="not like this"):
            await queue.result(first.id, timeout_s=20)
        await queue.discard(first.id)
        again = await queue.push_job("work", {"n": 1}, key="k", max_attempts=1)
        assert again.id == first.id
        assert await queue.result(again.id, timeout_s=20) == "done"
    assert tries == [1, 1]
