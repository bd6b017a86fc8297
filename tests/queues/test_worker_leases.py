"""Goal: a worker that is not sure of its tasks any more starts nothing, and none of them is lost or done twice. Method: an engine, a log and a
clock that fail when they are told to.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.clock import SimulatedClock, SystemClock
from afk_es.core import Runner
from afk_es.errors import LogUnavailableError
from afk_es.log import DatabaseLog, EventLog, Statement, open_log
from afk_es.queues import Consumer, Delivery, Dispatcher, Parcel, RetryPolicy, TableDispatcher, TaskQueue, Worker
from afk_es.tools import tool
from tests.core.scenario import Counted, Stuck, limits
from tests.queues.working import PATIENCE_S, ByTheBook, seen, task_in, task_in_time, task_when

AT_ONCE = RetryPolicy(base_s=0.0, cap_s=0.0)


class Moody:
    """An engine with whims, and consumers with the same.

    Attributes:
        away: nothing of it can be reached.
        forgets: the next beat says that others have been given all.
        sends_twice: each parcel is sent twice.
    """

    def __init__(self, engine: Dispatcher) -> None:
        self._engine = engine
        self.away = False
        self.forgets = False
        self.sends_twice = False
        self.beats = 0
        self.done: list[str] = []

    def check(self) -> None:
        if self.away:
            raise LogUnavailableError("the engine is away")

    async def open(self) -> None:
        await self._engine.open()

    async def close(self) -> None:
        await self._engine.close()

    def sending(self, parcels: Sequence[Parcel]) -> Sequence[Statement] | None:
        return self._engine.sending([*parcels, *parcels] if self.sends_twice else parcels)

    async def send(self, parcels: Sequence[Parcel]) -> None:
        self.check()
        await self._engine.send(parcels)

    async def hasten(self, task_ids: Collection[str]) -> None:
        self.check()
        await self._engine.hasten(task_ids)

    async def join(self, worker: str, lease_s: float) -> Consumer:
        self.check()
        return MoodyConsumer(self, await self._engine.join(worker, lease_s))


class MoodyConsumer:
    """A consumer of a `Moody`."""

    def __init__(self, engine: Moody, consumer: Consumer) -> None:
        self._engine = engine
        self._consumer = consumer

    async def take(self, queues: Collection[str], limit: int) -> list[Delivery]:
        self._engine.check()
        return await self._consumer.take(queues, limit)

    async def wait(self, timeout_s: float) -> None:
        self._engine.check()
        await self._consumer.wait(min(timeout_s, 0.02))

    def holding(self, delivery: Delivery, first: int) -> Statement | None:
        return self._consumer.holding(delivery, first)

    async def beat(self) -> bool:
        self._engine.check()
        self._engine.beats += 1
        if self._engine.forgets:
            self._engine.forgets = False
            # As where its lease had run out, and others have recovered what it held.
            await self._consumer.leave()
        return await self._consumer.beat()

    async def done(self, delivery: Delivery) -> None:
        self._engine.check()
        self._engine.done.append(delivery.task_id)
        await self._consumer.done(delivery)

    async def again(self, delivery: Delivery, at: dt.datetime | None = None) -> None:
        self._engine.check()
        await self._consumer.again(delivery, at)

    async def recover(self) -> int:
        self._engine.check()
        return await self._consumer.recover()

    async def leave(self) -> None:
        self._engine.check()
        await self._consumer.leave()


class Stopped:
    """The machine's clock, on which time passes for whoever measures how long it was stopped, and for nobody else."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._stopped_s = 0.0

    def stop_for(self, seconds: float) -> None:
        self._stopped_s += seconds

    def now(self) -> dt.datetime:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic() + self._stopped_s

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)


@asynccontextmanager
async def moody_queue(path: Path, **options: Any) -> AsyncIterator[tuple[TaskQueue, Moody]]:
    """A queue on a log of its own, with an engine of moods."""
    log = open_log(str(path / "runs.db"))
    assert isinstance(log, EventLog)
    assert isinstance(log, DatabaseLog)
    moody = Moody(TableDispatcher(log, clock=options.get("clock")))
    await log.open()
    try:
        async with TaskQueue(log, dispatcher=moody, **options) as queue:
            yield queue, moody
    finally:
        await log.close()


def clerk(*tools: Any) -> Agent:
    """An agent that calls each of its tools once."""
    return Agent(name="clerk", model=ByTheBook(*[(each.name, {}) for each in tools]), tools=tools, fail_safe=limits())


async def test_a_worker_whose_tasks_were_given_to_others_drops_them_and_takes_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stuck = Stuck(idempotent=True)
    async with (
        moody_queue(tmp_path) as (queue, moody),
        Worker(queue, agents=[clerk(stuck.tool)], lease_s=0.3) as worker,
    ):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        moody.forgets = True
        await seen(lambda: stuck.cancelled)
        stuck.let_go.set()
        item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures, item.crashes) == (2, 0, 1)
        assert stuck.ran == 2
    assert worker.metrics().leases_lost == 1
    assert f"task {task.id} (runs stuck)" in caplog.text


async def test_while_its_lease_has_run_out_a_worker_starts_nothing_and_then_goes_on(tmp_path: Path) -> None:
    """It cannot be sure of its tasks for a while. Nobody has been given them, as it is told then."""
    clock = Stopped()
    stuck, work = Stuck(), Counted()
    async with (
        moody_queue(tmp_path, clock=clock) as (queue, moody),
        Worker(queue, agents=[clerk(stuck.tool, work.tool)], lease_s=1.5) as worker,
    ):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        moody.away = True
        clock.stop_for(10.0)
        assert not worker.metrics().held
        stuck.let_go.set()
        later = await queue.push_chat("clerk", "me too")
        assert (await events_after(queue, task.id, "tool_completed"))[-1] == "tool_completed"
        assert (work.ran, stuck.ran) == (0, 1)
        assert (await queue.get(later.id)).attempts == 0
        moody.away = False
        assert (await task_in(queue, task.id, "completed")).attempts == 1
        await task_in(queue, later.id, "completed")
    assert (work.ran, stuck.ran, worker.metrics().leases_lost) == (2, 2, 0)


async def events_after(queue: TaskQueue, run_id: str, kind: str) -> list[str]:
    """The types of the run's events, once it has one of this kind."""
    async with asyncio.timeout(PATIENCE_S):
        while kind not in (found := [event.type for event in await queue.log.read(run_id)]):  # noqa: ASYNC110 - the worker writes them
            await asyncio.sleep(0.005)
    return found


async def test_a_worker_survives_an_engine_that_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stuck = Stuck()
    async with (
        moody_queue(tmp_path) as (queue, moody),
        Worker(queue, agents=[clerk(stuck.tool)], lease_s=3.0) as worker,
    ):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        moody.away = True
        await seen(lambda: worker.metrics().outages == 1)
        stuck.let_go.set()
        # What its run came to is in the log meanwhile, and what it says to the engine waits.
        await task_in(queue, task.id, "completed")
        assert moody.done == []
        moody.away = False
        later = await queue.push_chat("clerk", "me too")
        await task_in(queue, later.id, "completed")
        await seen(lambda: task.id in moody.done)
    assert caplog.text.count("cannot reach its tasks") == 1
    assert caplog.text.count("reaches its tasks again") == 1


async def test_a_log_that_is_away_for_a_while_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In mid-run: the run goes on where it was, in the same attempt."""
    stuck, work = Stuck(), Counted()
    async with (
        moody_queue(tmp_path) as (queue, _moody),
        Worker(queue, agents=[clerk(stuck.tool, work.tool)]),
    ):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        refused = 0
        append = queue.log.append

        async def away(*arguments: Any, **options: Any) -> None:
            nonlocal refused
            refused += 1
            if refused > 1:
                monkeypatch.setattr(queue.log, "append", append)
            raise LogUnavailableError("no room on the disk")

        monkeypatch.setattr(queue.log, "append", away)
        stuck.let_go.set()
        item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures, item.crashes) == (1, 0, 0)
        assert (refused, work.ran) == (2, 1)


async def test_a_task_that_was_sent_twice_is_done_once(tmp_path: Path) -> None:
    stuck = Stuck()
    async with (
        moody_queue(tmp_path) as (queue, moody),
        Worker(queue, agents=[clerk(stuck.tool)]) as worker,
    ):
        moody.sends_twice = True
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        await seen(lambda: worker.metrics().taken == 2)
        stuck.let_go.set()
        assert (await task_in(queue, task.id, "completed")).attempts == 1
    assert stuck.ran == 1


async def test_what_was_pushed_and_not_sent_is_sent_by_a_worker(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with moody_queue(tmp_path, clock=clock) as (queue, moody):
        task = await queue.push_chat("clerk", "please")
        await queue.database.transact([Statement("DELETE FROM deliveries"), Statement("UPDATE tasks SET sent = 0")])
        clock.advance(10.0)
        async with Worker(queue, agents=[clerk()]):
            item = await task_in_time(queue, clock, task.id, lambda item: item.state == "completed")
    assert (item.attempts, moody.done) == (1, [task.id])


async def test_a_task_over_which_too_many_workers_died_is_dead_and_its_run_untouched(tmp_path: Path) -> None:
    work = Counted()
    async with moody_queue(tmp_path, retry=RetryPolicy(max_crashes=2)) as (queue, _moody):
        task = await queue.push_chat(clerk(work.tool), "please")
        for _ in range(3):
            await queue.records.begin(task.id, "one that died", queue.clock.now())
        async with Worker(queue, agents=[clerk(work.tool)]):
            item = await task_in(queue, task.id, "dead")
    assert (item.crashes, item.error_type, work.ran) == (3, "WorkerLost", 0)
    assert "3 workers died over it" in (item.error or "")


async def test_a_task_over_which_a_worker_died_at_the_very_end_is_done(tmp_path: Path) -> None:
    """Its run had come to its end: it is dangerous no more."""
    work = Counted()
    async with moody_queue(tmp_path, retry=RetryPolicy(max_crashes=0)) as (queue, _moody):
        task = await queue.push_chat(clerk(work.tool), "please")
        await queue.records.begin(task.id, "one that died", queue.clock.now())
        async with Runner(log=queue.log, config=queue.config) as runner:
            await runner.resume(clerk(work.tool), run_id=task.id)
        async with Worker(queue, agents=[clerk(work.tool)]):
            assert (await task_in(queue, task.id, "completed")).result == "done"
    assert work.ran == 1


async def test_what_a_run_failed_by_before_its_worker_died_counts_once(tmp_path: Path) -> None:
    work = Counted(ConnectionError("away"))
    async with moody_queue(tmp_path, retry=AT_ONCE, handlers=[work.tool]) as (queue, _moody):
        task = await queue.push_job("work")
        await queue.records.begin(task.id, "one that died", queue.clock.now())
        wanted = queue.known.contract(task.contract).request(task.payload, queue.known)
        async with Runner(log=queue.log, config=queue.config) as runner:
            assert (await runner.resume(wanted.agent, run_id=task.id)).state == "failed"
        async with Worker(queue):
            item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures, item.crashes) == (3, 1, 1)
    assert work.ran == 2


async def test_code_that_blocks_the_event_loop_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    @tool(idempotent=True)
    async def blocks() -> str:
        """Block."""
        time.sleep(0.45)  # noqa: ASYNC251 - that is what it is about
        return "blocked"

    async with (
        moody_queue(tmp_path) as (queue, _moody),
        Worker(queue, agents=[clerk(blocks)], lease_s=0.3),
    ):
        task = await queue.push_chat("clerk", "please")
        await task_when(queue, task.id, lambda item: item.attempts > 0 and item.state != "running")
        await seen(lambda: "stood still" in caplog.text)
    assert f"task {task.id} (runs blocks)" in caplog.text


async def test_a_stopping_worker_does_not_wait_for_a_log_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    async with moody_queue(tmp_path) as (queue, _moody):
        worker = Worker(queue, agents=[clerk(stuck.tool)], drain_s=0.1)
        working = asyncio.create_task(worker.run())
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()

        async def away(*_arguments: Any, **_options: Any) -> None:
            raise LogUnavailableError("no room on the disk")

        with monkeypatch.context() as broken:
            broken.setattr(queue.log, "append", away)
            stuck.let_go.set()
            await asyncio.sleep(0)
            worker.drain()
            async with asyncio.timeout(5.0):
                await working
        # What could not be said of it is found by whoever comes next.
        async with Worker(queue, agents=[clerk(stuck.tool)]):
            assert (await task_in(queue, task.id, "completed")).failures == 0


async def test_a_task_that_another_has_begun_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    """As where an engine delivers a task twice, to two workers: the run has one owner, and the first says nothing more of it."""
    stuck, work = Stuck(idempotent=True), Counted()
    async with (
        moody_queue(tmp_path) as (queue, moody),
        Worker(queue, agents=[clerk(stuck.tool, work.tool)], max_concurrency=1) as first,
    ):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        async with Worker(queue, agents=[clerk(stuck.tool, work.tool)]) as second:
            stuck.begun.clear()
            await moody.send([Parcel(task.id, "default")])
            await stuck.begun.wait()
            stuck.let_go.set()
            item = await task_in(queue, task.id, "completed")
            assert (item.attempts, item.worker in (first.name, second.name)) == (2, True)
            await seen(lambda: moody.done.count(task.id) == 2)
    assert work.ran == 1


async def test_a_run_whose_loop_broke_can_be_gone_on_with_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its log it would still be driven by the process in which it broke, and which lives."""
    work = Counted()
    async with (
        moody_queue(tmp_path, retry=AT_ONCE) as (queue, _moody),
        Worker(queue, agents=[clerk(work.tool)]),
    ):
        append = queue.log.append

        async def breaks(events: Sequence[Any], **options: Any) -> None:
            if events[0].type == "tool_completed":
                monkeypatch.setattr(queue.log, "append", append)
                raise RuntimeError("a bug")
            await append(events, **options)

        monkeypatch.setattr(queue.log, "append", breaks)
        task = await queue.push_chat("clerk", "please")
        item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures) == (2, 1)
        events = [event.type for event in await queue.log.read(task.id)]
        assert events.index("run_interrupted") < events.index("effect_in_doubt")
