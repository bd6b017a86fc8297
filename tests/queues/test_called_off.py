"""Goal: a task that is called off ends, at whatever moment that is said, and holds up nobody behind it. Method: workers of this process, and one
that is hung.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.clock import SimulatedClock
from afk_es.core import Runner
from afk_es.queues import RetryPolicy, TaskQueue, Worker
from afk_es.queues.records import TaskRecords
from tests.core.scenario import Counted, Stuck, limits
from tests.queues.test_records import a_task
from tests.queues.working import ByTheBook, task_in, task_when


def clerk(*tools: Any) -> Agent:
    """An agent that calls each of its tools once."""
    return Agent(name="clerk", model=ByTheBook(*[(each.name, {}) for each in tools]), tools=tools, fail_safe=limits())


async def test_what_is_called_off_before_its_time_does_not_hold_up_its_lane_until_then(database_url: str) -> None:
    work = Counted()
    async with TaskQueue(database_url, handlers=[work.tool]) as queue, Worker(queue):
        later = await queue.push_job("work", lane="x", delay_s=3_600.0)
        behind = await queue.push_job("work", lane="x")
        assert (await queue.cancel(later.id)).state == "cancelled"
        await task_in(queue, behind.id, "completed")
    assert work.ran == 1


async def test_what_is_called_off_between_two_attempts_ends_before_its_pause_is_over_in_a_lane_too(database_url: str) -> None:
    work = Counted(ConnectionError("away"))
    async with TaskQueue(database_url, handlers=[work.tool], retry=RetryPolicy(base_s=500.0)) as queue, Worker(queue):
        task = await queue.push_job("work", lane="x")
        await task_when(queue, task.id, lambda item: item.failures == 1)
        await queue.cancel(task.id)
        await task_in(queue, task.id, "cancelled")
    assert work.ran == 1


async def test_what_is_called_off_before_its_run_is_in_the_log_ends_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No letter can tell a run that is not there yet."""
    stuck = Stuck()
    async with TaskQueue(tmp_path / "runs.db") as queue:
        run_once = Runner.run_once

        async def called_off_meanwhile(runner: Runner, *arguments: Any, **options: Any) -> Any:
            assert (await queue.cancel(options["run_id"])).state == "running"
            return await run_once(runner, *arguments, **options)

        monkeypatch.setattr(Runner, "run_once", called_off_meanwhile)
        async with Worker(queue, agents=[clerk(stuck.tool)]):
            task = await queue.push_chat("clerk", "please")
            await stuck.begun.wait()
            try:
                await task_in(queue, task.id, "cancelled")
            finally:
                stuck.let_go.set()


async def test_one_that_waits_since_is_awakened_to_end(records: TaskRecords, clock: SimulatedClock) -> None:
    await records.add([a_task()], sent=True)
    began = await records.begin("a", "w", clock.now())
    assert began is not None
    await records.cancel("a")
    await records.wait("a", began.attempt, "approval", 0)
    assert [each.id for each in await records.awaken()] == ["a"]


async def test_the_run_of_a_hung_worker_is_taken_from_it_to_be_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its log it lives, and letters are not taken in."""
    stuck = Stuck()
    path = tmp_path / "runs.db"
    agent = clerk(stuck.tool)
    async with TaskQueue(path) as queue, Runner(log=path, config=queue.config) as hung:
        monkeypatch.setattr(hung._inbox, "_deliver", lambda letter: None)
        task = await queue.push_chat("clerk", "please")
        await queue.records.begin(task.id, "hung", queue.clock.now())
        await hung.run_once(agent, run_id=task.id, by="hung", user_message="please")
        await stuck.begun.wait()
        await queue.cancel(task.id)
        try:
            async with Worker(queue, agents=[agent]):
                assert (await task_in(queue, task.id, "cancelled")).attempts == 2
        finally:
            stuck.let_go.set()


async def test_the_run_of_a_hung_worker_is_taken_over_also_after_an_attempt_that_did_not_come_to_it(tmp_path: Path) -> None:
    """A worker that does not know the agent is given the task in between."""
    stuck = Stuck()
    path = tmp_path / "runs.db"
    async with TaskQueue(path) as queue, Runner(log=path, config=queue.config) as hung:
        task = await queue.push_chat("clerk", "please")
        await queue.records.begin(task.id, "hung", queue.clock.now())
        await hung.run_once(clerk(stuck.tool), run_id=task.id, by="hung", user_message="please")
        await stuck.begun.wait()
        async with Worker(queue):
            await task_when(queue, task.id, lambda item: item.error_type == "UnregisteredError")
        done = Agent(name="clerk", model=ByTheBook(), tools=[stuck.tool], fail_safe=limits())
        try:
            async with Worker(queue, agents=[done]):
                assert (await task_in(queue, task.id, "completed")).attempts == 3
        finally:
            stuck.let_go.set()
