"""Goal: a job that is tried again asks for its call again, also where the attempt that reopened its run was cut before it came to that."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.core import Runner
from afk_es.errors import LeaseLostError
from afk_es.queues import RetryPolicy, TaskQueue, Worker
from afk_es.queues.contracts import JOB
from afk_es.tools import tool


class Over:
    """A lease that runs out as soon as the run is claimed."""

    def __init__(self) -> None:
        self._asked = 0

    def held(self) -> bool:
        """The first time it is."""
        self._asked += 1
        return self._asked == 1


@pytest.mark.parametrize("cut", [1, 2])
async def test_an_attempt_that_was_cut_when_it_had_reopened_the_run(tmp_path: Path, cut: int) -> None:
    times = 0

    @tool
    async def flaky() -> str:
        """Fail the first time."""
        nonlocal times
        times += 1
        if times == 1:
            raise ConnectionError("not now")
        return "done"

    async with TaskQueue(tmp_path / "runs.db", handlers=[flaky]) as queue, Runner(log=queue.log, config=queue.config) as runner:
        item = await queue.push_job("flaky")
        wanted = queue.known.contract(JOB).request(item.payload, queue.known)

        async def attempt(lease: Over | None) -> str:
            began = await queue.records.begin(item.id, "a worker that dies", queue.clock.now())
            assert began is not None
            run = await runner.run_once(
                wanted.agent,
                run_id=item.id,
                by="a worker that dies",
                user_message=wanted.user_message,
                reopen=lease is not None,
                lease=lease,
            )
            assert run.stretch is not None
            return (await run.stretch).state

        assert await attempt(None) == "failed"
        for _ in range(cut):
            with pytest.raises(LeaseLostError):
                await attempt(Over())
        async with Worker(queue):
            assert await queue.result(item.id, timeout_s=20) == "done"
    assert times == 2


@pytest.mark.parametrize("counted", [True, False])
async def test_a_failure_is_counted_once_however_often_the_attempt_after_it_is_cut(tmp_path: Path, counted: bool) -> None:
    times = 0

    @tool
    async def flaky() -> str:
        """Fail the first time."""
        nonlocal times
        times += 1
        if times == 1:
            raise ConnectionError("not now")
        return "done"

    async with TaskQueue(tmp_path / "runs.db", handlers=[flaky]) as queue, Runner(log=queue.log, config=queue.config) as runner:
        item = await queue.push_job("flaky", max_attempts=3)
        wanted = queue.known.contract(JOB).request(item.payload, queue.known)
        began = await queue.records.begin(item.id, "one that dies", queue.clock.now())
        assert began is not None
        run = await runner.run_once(wanted.agent, run_id=item.id, by="one that dies", user_message=wanted.user_message)
        assert run.stretch is not None
        assert (await run.stretch).state == "failed"
        if counted:
            assert await queue.records.again(item.id, began.attempt, queue.clock.now(), "not now", "ToolFailed")
        for _ in range(3):
            await queue.records.begin(item.id, "one that dies", queue.clock.now())
        async with Worker(queue, retry=RetryPolicy(base_s=0.0, cap_s=0.0)):
            assert await queue.result(item.id, timeout_s=20) == "done"
        ended = await queue.get(item.id)
    assert (times, ended.failures) == (2, 1)
