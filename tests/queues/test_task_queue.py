"""The queue as whoever pushes sees it: what is asked is durable or refused, what was asked twice is asked once, what came of it can be waited for."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pydantic import BaseModel

from afk_es import Agent, Runner, tool
from afk_es.clock import SimulatedClock
from afk_es.errors import (
    ConfigurationError,
    LogUnavailableError,
    PayloadError,
    RunCancelledError,
    RunFailedError,
    TaskExistsError,
    TaskNotFoundError,
    TaskStateError,
    ToolError,
    UnregisteredError,
    UsageError,
)
from afk_es.log import EventLog, Statement, open_log
from afk_es.log.shared_transactions import Rows, SharedTransactions
from afk_es.queues import Contract, NewTask, Parcel, RunRequest, TaskItem, TaskQueue, Worker, contract
from afk_es.queues.dispatch import Consumer
from afk_es.testing import ScriptedModel

SUPPORT = Agent(name="support", model=ScriptedModel(lambda request: f"You said: {request.messages[-1].content}"))


@tool
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@tool
def refuse(why: str) -> None:
    """Refuse for good."""
    raise ToolError(why)


@contract("greetings.v1")
def greeting(payload: dict[str, Any]) -> RunRequest:
    return RunRequest(agent="support", user_message=f"Hello {payload['name']}")


@pytest_asyncio.fixture
async def queue(database_url: str) -> AsyncIterator[TaskQueue]:
    """On each store, open, with an agent and two handlers."""
    async with TaskQueue(database_url, agents=[SUPPORT], handlers=[double, refuse], contracts=[greeting]) as queue:
        yield queue


async def worked(queue: TaskQueue, *task_ids: str) -> list[TaskItem]:
    """The tasks, once a worker has ended them."""
    async with Worker(queue):
        for task_id in task_ids:
            async with asyncio.timeout(20):
                async for _item in queue.watch(task_id):
                    pass
    return [await queue.get(task_id) for task_id in task_ids]


async def test_what_is_pushed_is_done_and_its_task_is_the_run_of_the_log(queue: TaskQueue) -> None:
    chat = await queue.push_chat("support", "Hi", context={"user_id": "ann"})
    job = await queue.push_job("double", {"number": 21}, priority=7, key="k")
    own = await queue.push(greeting, {"name": "Ann"})
    assert (job.state, job.priority, job.contract, job.attempts) == ("queued", 7, "job.dispatch.v1", 0)
    async with Worker(queue):
        assert await queue.result(chat.id, timeout_s=20) == "You said: Hi"
        assert await queue.result(job.id, timeout_s=20) == 42
        assert await queue.result(own.id, timeout_s=20) == "You said: Hello Ann"
    first = (await queue.log.read(chat.id, limit=1))[0]
    assert (first.data["agent_name"], first.data["context"]) == ("support", {"user_id": "ann"})
    assert [item.id for item in await queue.list()] == [own.id, job.id, chat.id]
    assert [item.id for item in await queue.list(contract="greetings.v1", state="completed")] == [own.id]
    (stats,) = await queue.stats()
    assert (stats.queue, stats.completed, stats.queued) == ("default", 3, 0)
    assert await queue.progress(job.id) == (await queue.get(job.id)).progress


async def test_a_run_that_the_pusher_knows_begins_in_the_log_with_its_task(queue: TaskQueue) -> None:
    known = await queue.push_chat("support", "Hi")
    by_name = await queue.push_chat("other", "Hi")
    threaded = await queue.push_chat(SUPPORT, "Hi", thread_id="t")
    passed = await queue.push_chat(Agent(name="passed", model=ScriptedModel([])), "Hi")
    heads = {item.id: await queue.log.head(item.id) for item in (known, by_name, threaded, passed)}
    assert [heads[item.id] is not None for item in (known, by_name, threaded, passed)] == [True, False, False, True]
    assert (known.lane, threaded.lane) == (None, "t")


async def test_a_key_stands_for_one_task(queue: TaskQueue) -> None:
    first = await queue.push_job("double", {"number": 1}, key="order 7")
    again = await queue.push_job(double, {"number": 1}, key="order 7", priority=3)
    assert again == first
    assert (await queue.push_job("double", {"number": 1}, key="order 7", queue="other")).id != first.id
    with pytest.raises(TaskExistsError, match="another payload"):
        await queue.push_job("double", {"number": 2}, key="order 7")
    with pytest.raises(TaskExistsError, match="another contract"):
        await queue.push(greeting, {"name": "Ann"}, key="order 7")
    (done,) = await worked(queue, first.id)
    assert await queue.push_job("double", {"number": 1}, key="order 7") == done
    assert await queue.purge(older_than_s=0) == 1
    # The list has forgotten it, and the log has not: it comes to what it came to.
    anew = await queue.push_job("double", {"number": 1}, key="order 7")
    (done,) = await worked(queue, anew.id)
    assert (done.id, done.result) == (first.id, 2)
    assert len([event for event in await queue.log.read(first.id) if event.type == "tool_completed"]) == 1


async def test_a_key_pushed_by_many_at_once_is_one_task(database_url: str) -> None:
    async with TaskQueue(database_url, handlers=[double]) as one, TaskQueue(database_url, handlers=[double]) as other:
        items = await asyncio.gather(*(each.push_job("double", {"number": 1}, key="k") for each in (one, other) * 5))
        assert len({item.id for item in items}) == 1
        assert len(await one.list()) == 1


async def test_many_are_pushed_in_one_transaction_or_none(queue: TaskQueue) -> None:
    there = await queue.push_job("double", {"number": 0}, key="0")
    new = [NewTask(contract="job.dispatch.v1", payload={"handler": "double", "payload": {"number": n}}, key=str(n)) for n in (0, 1, 2, 1)]
    items = await queue.push_many(new)
    assert [item.payload["payload"]["number"] for item in items] == [0, 1, 2, 1]
    assert items[0] == there
    assert len(await queue.list()) == 3
    before = await queue.list()
    for wrong, error in (
        (NewTask(contract="job.dispatch.v1", payload={"handler": "double", "payload": {"number": "x"}}), PayloadError),
        (NewTask(contract="none", payload={}), UnregisteredError),
        (NewTask(contract="job.dispatch.v1", payload={"handler": "double", "payload": {"number": 5}}, key="1"), TaskExistsError),
    ):
        with pytest.raises(error):
            await queue.push_many([NewTask(contract=greeting, payload={"name": "Ann"}), wrong])
    assert await queue.list() == before
    assert [item.result for item in await worked(queue, *(item.id for item in items))] == [0, 2, 4, 2]
    assert await queue.push_many([]) == []


class Colour(BaseModel):
    """A payload of a user's own."""

    hue: int


DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"queue": ""}, "a queue is named"),
        ({"queue": "a b"}, "a queue is named"),
        ({"queue": "x" * 41}, "a queue is named"),
        ({"queue": None}, "a queue is named"),
        ({"priority": 2**31}, "32 bits"),
        ({"priority": -(2**31) - 1}, "32 bits"),
        ({"priority": 1.5}, "32 bits"),
        ({"priority": True}, "32 bits"),
        ({"delay_s": -1}, "delay_s"),
        ({"delay_s": math.nan}, "delay_s"),
        ({"delay_s": math.inf}, "delay_s"),
        ({"delay_s": 1e300}, "delay_s"),
        ({"delay_s": "10m"}, "delay_s"),
        ({"at": DAY.replace(tzinfo=None)}, "time zone"),
        ({"at": "2026-01-01"}, "time zone"),
        ({"at": DAY, "delay_s": 1}, "leave one of them out"),
        ({"key": ""}, "key"),
        ({"key": " "}, "key"),
        ({"key": "x" * 501}, "key"),
        ({"key": "a\0b"}, "key"),
        ({"key": "\ud800"}, "key"),
        ({"lane": ""}, "lane"),
        ({"lane": "x" * 501}, "lane"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": 10**9}, "max_attempts"),
        ({"max_attempts": True}, "max_attempts"),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_written(options: dict[str, Any], says: str, tmp_path: Path) -> None:
    queue = TaskQueue(tmp_path / "tasks.db")
    with pytest.raises(ConfigurationError, match=says):
        await queue.push("job.dispatch.v1", {"handler": "double"}, **options)
    assert not (tmp_path / "tasks.db").exists()


@pytest.mark.parametrize(
    ("name", "payload", "error"),
    [
        ("none.v1", {}, UnregisteredError),
        (None, {}, UnregisteredError),
        ("job.dispatch.v1", {"handler": "double", "payload": {"number": "x"}}, PayloadError),
        ("job.dispatch.v1", {"handler": "double", "payload": {"number": math.nan}}, PayloadError),
        ("job.dispatch.v1", [], PayloadError),
        ("job.dispatch.v1", Colour(hue=1), PayloadError),
        ("runner.chat.v1", {"agent": "support", "user_message": "x" * 1_000_001}, PayloadError),
        ("runner.chat.v1", {"agent": "support", "thread_id": "x" * 501}, ConfigurationError),
        ("greetings.v1", {}, PayloadError),
    ],
)
async def test_a_payload_that_cannot_be_is_refused_before_anything_is_written(
    name: Any, payload: Any, error: type[Exception], tmp_path: Path
) -> None:
    queue = TaskQueue(tmp_path / "tasks.db", agents=[SUPPORT], handlers=[double], contracts=[greeting])
    with pytest.raises(error):
        await queue.push(name, payload)
    with pytest.raises(error):
        await queue.push_many([NewTask(contract=name, payload=payload)])
    assert not (tmp_path / "tasks.db").exists()


async def test_wrong_arguments_are_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"in none: name a file, such as TaskQueue\('runs\.db'\)"):
        TaskQueue(":memory:")
    with pytest.raises(ConfigurationError, match="retry is a RetryPolicy"):
        TaskQueue(tmp_path / "tasks.db", retry=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="config is a RunnerConfig"):
        TaskQueue(tmp_path / "tasks.db", config={})  # type: ignore[arg-type]
    queue = TaskQueue(tmp_path / "tasks.db")
    with pytest.raises(ConfigurationError, match="agent is an Agent or the name"):
        await queue.push_chat(7)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="handler is a tool or the name"):
        await queue.push_job(len)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="timeout_s"):
        await queue.result("x", timeout_s=-1)
    with pytest.raises(ConfigurationError, match="older_than_s"):
        await queue.purge(older_than_s=math.nan)
    with pytest.raises(ConfigurationError, match="a queue is named"):
        await queue.list(queue="a b")


async def test_delay_and_time_say_when_it_may_be_taken(tmp_path: Path) -> None:
    clock = SimulatedClock(DAY)
    async with TaskQueue(tmp_path / "tasks.db", clock=clock) as queue:
        later = await queue.push_job("double", {"number": 1}, delay_s=90)
        elsewhere = dt.timezone(dt.timedelta(hours=2))
        at = await queue.push_job("double", {"number": 1}, at=dt.datetime(2026, 1, 2, 2, tzinfo=elsewhere))
        past = await queue.push_job("double", {"number": 1}, at=DAY - dt.timedelta(days=1))
        at_once = await queue.push_job("double", {"number": 1}, delay_s=0)
        assert later.not_before == DAY + dt.timedelta(seconds=90)
        assert at.not_before == DAY + dt.timedelta(days=1)
        assert at_once.not_before is None
        assert [(await queue.get(item.id)).not_before for item in (later, at)] == [later.not_before, at.not_before]
        consumer = await queue.dispatcher.join("w", 30)
        assert {each.task_id for each in await consumer.take(["default"], 10)} == {past.id, at_once.id}


async def test_a_task_that_is_not_there_is_said(queue: TaskQueue) -> None:
    await queue.push_job("double", {"number": 1})
    for call in (queue.get("x"), queue.progress("x"), queue.result("x"), queue.cancel("x"), queue.retry("x"), queue.discard("x")):
        with pytest.raises(TaskNotFoundError, match="no task 'x'"):
            await call
    with pytest.raises(TaskNotFoundError):
        async for _item in queue.watch("x"):
            pass
    with pytest.raises(TaskNotFoundError):
        await queue.list(before="x")


async def test_a_result_is_waited_for_so_long_and_no_longer(queue: TaskQueue) -> None:
    item = await queue.push_job("double", {"number": 1})
    with pytest.raises(TimeoutError, match=rf"task {item.id} is queued after 0\.05 s"):
        await queue.result(item.id, timeout_s=0.05)
    waiting = asyncio.create_task(queue.result(item.id))
    await worked(queue, item.id)
    assert await waiting == 2


async def test_a_result_that_is_too_large_for_the_list_is_read_of_the_run(queue: TaskQueue) -> None:
    @tool
    def large() -> str:
        """Give a lot."""
        return "x" * 1_500_000

    item = await queue.push_job(large)
    async with Worker(queue, handlers=[large]):
        assert await queue.result(item.id, timeout_s=20) == "x" * 1_500_000
    assert (await queue.get(item.id)).result_in_log


async def test_dead_letters_wait_for_an_operator(queue: TaskQueue) -> None:
    failed = await queue.push_job("refuse", {"why": "paid already"})
    other = await queue.push_job("refuse", {"why": "no"})
    await worked(queue, failed.id, other.id)
    assert [item.id for item in await queue.dead()] == [other.id, failed.id]
    with pytest.raises(RunFailedError, match=r"dead after 1 attempts: .*paid already") as caught:
        await queue.result(failed.id)
    assert getattr(caught.value.result, "state", None) == "failed"
    with pytest.raises(TaskStateError, match="retry it or discard it"):
        await queue.cancel(failed.id)
    again = await queue.retry(failed.id)
    assert (again.state, again.failures) == ("queued", 0)
    with pytest.raises(TaskStateError, match="only a dead task is retried"):
        await queue.retry(failed.id)
    (dead,) = await worked(queue, failed.id)
    assert (dead.state, dead.attempts) == ("dead", 2)
    calls = [event for event in await queue.log.read(failed.id) if event.type == "tool_completed"]
    assert len(calls) == 2, "it went on in the same run"
    await queue.discard(failed.id)
    assert [item.id for item in await queue.dead()] == [other.id]
    assert await queue.log.head(failed.id) is not None


async def test_a_task_that_never_began_is_cancelled_at_once_with_its_run(queue: TaskQueue) -> None:
    known, by_name = await queue.push_chat("support", "Hi"), await queue.push_chat("other", "Hi")
    for item in (known, by_name):
        assert (await queue.cancel(item.id, reason="not needed")).state == "cancelled"
        with pytest.raises(RunCancelledError):
            await queue.result(item.id)
        assert (await queue.cancel(item.id)).state == "cancelled", "it is what was asked for"
    assert [event.type for event in await queue.log.read(known.id)][-1] == "run_cancelled"
    async with Worker(queue) as worker:
        done = await queue.push_job("double", {"number": 1})
        assert await queue.result(done.id, timeout_s=20) == 2
    assert worker.metrics().completed == 1
    with pytest.raises(TaskStateError, match="completed already"):
        await queue.cancel(done.id)


async def test_a_task_that_is_under_way_is_cancelled_by_its_worker(queue: TaskQueue) -> None:
    begun = asyncio.Event()

    @tool
    async def wait() -> None:
        """Wait for ever."""
        begun.set()
        await asyncio.Event().wait()

    item = await queue.push_job(wait)
    async with Worker(queue, handlers=[wait]):
        await begun.wait()
        await queue.cancel(item.id, reason="enough", by="ann")
        with pytest.raises(RunCancelledError):
            await queue.result(item.id, timeout_s=20)
    assert (await queue.get(item.id)).state == "cancelled"


async def test_whoever_watches_sees_it_change(queue: TaskQueue) -> None:
    item = await queue.push_job("double", {"number": 1})
    seen = []
    looked = asyncio.Event()

    async def look() -> None:
        async for now in queue.watch(item.id):
            seen.append(now.state)
            looked.set()

    watching = asyncio.create_task(look())
    await looked.wait()
    await worked(queue, item.id)
    await watching
    assert (seen[0], seen[-1]) == ("queued", "completed")
    assert seen == sorted(seen, key=["queued", "running", "completed"].index)


async def test_a_queue_opens_and_closes_its_log_for_each_call(tmp_path: Path) -> None:
    queue = TaskQueue(tmp_path / "tasks.db", handlers=[double])
    item = await queue.push_job("double", {"number": 1})
    assert (await queue.get(item.id)).state == "queued"
    async with queue:
        await asyncio.gather(*(queue.get(item.id) for _ in range(5)))
    assert (await queue.list())[0].id == item.id


async def test_a_log_that_is_handed_in_stays_open(tmp_path: Path) -> None:
    log = open_log(tmp_path / "tasks.db")
    await log.open()
    async with TaskQueue(log, handlers=[double]) as queue:
        item = await queue.push_job("double", {"number": 1})
    assert await log.head(item.id) is not None
    await log.close()


def test_a_queue_belongs_to_one_event_loop_at_a_time(tmp_path: Path) -> None:
    queue = TaskQueue(tmp_path / "tasks.db")

    async def held() -> None:
        async with queue:
            with pytest.raises(UsageError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, queue.list())

    asyncio.run(held())
    assert asyncio.run(queue.list()) == (), "and to another when it is free"


async def test_pushes_of_the_same_moment_share_a_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []
    settle = SharedTransactions.__init__

    def counted(self: SharedTransactions, run: Callable[[Sequence[Statement]], Awaitable[Rows]]) -> None:
        async def counting(statements: Sequence[Statement]) -> Rows:
            ran.append(len(statements))
            return await run(statements)

        settle(self, counting)

    monkeypatch.setattr(SharedTransactions, "__init__", counted)
    async with TaskQueue(tmp_path / "tasks.db") as queue:
        await queue.push_job("double", {"number": 0})
        ran.clear()
        await asyncio.gather(*(queue.push_job("double", {"number": number}) for number in range(50)))
        assert len(await queue.list(limit=100)) == 51
        assert 0 < len(ran) <= 3


async def test_a_push_that_is_refused_refuses_no_other_of_the_same_moment(tmp_path: Path) -> None:
    async with TaskQueue(tmp_path / "tasks.db", handlers=[]) as queue:
        await queue.push_job("double", {"number": 1}, key="k")
        pushing = [queue.push_job("double", {"number": n}, key="k" if n == 2 else None) for n in range(5)]
        found = await asyncio.gather(*pushing, return_exceptions=True)
        assert [type(each).__name__ for each in found] == ["TaskItem", "TaskItem", "TaskExistsError", "TaskItem", "TaskItem"]


async def test_where_it_is_not_known_whether_it_was_written_nothing_is_written_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with TaskQueue(tmp_path / "tasks.db") as queue:
        tries = 0

        async def cut_off(statements: Sequence[Statement]) -> Rows:
            nonlocal tries
            tries += 1
            raise LogUnavailableError("cut off")

        monkeypatch.setattr(queue.database, "transact", cut_off)
        found = await asyncio.gather(*(queue.push_job("double", {}) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [LogUnavailableError] * 3
        assert tries == 3, "one of each push"


class Elsewhere:
    """An engine that is in no database of ours, and may be out of reach."""

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.reachable = True

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    def sending(self, parcels: Sequence[Parcel]) -> None:
        return None

    async def send(self, parcels: Sequence[Parcel]) -> None:
        if not self.reachable:
            raise LogUnavailableError("the engine cannot be reached")
        self.sent += parcels

    async def hasten(self, task_ids: Collection[str]) -> None:
        pass

    async def join(self, worker: str, lease_s: float) -> Consumer:
        raise NotImplementedError


@pytest.mark.parametrize("handlers", [(), (double,)], ids=["by name", "known"])
async def test_a_task_is_pushed_even_where_the_engine_cannot_be_reached(tmp_path: Path, handlers: Collection[Any]) -> None:
    engine = Elsewhere()
    async with TaskQueue(tmp_path / "tasks.db", dispatcher=engine, handlers=handlers) as queue:
        first = await queue.push_job("double", {"number": 1}, priority=2)
        assert engine.sent == [Parcel(first.id, "default", 2)]
        engine.reachable = False
        second = await queue.push_job("double", {"number": 2})
        far = queue.clock.now() + dt.timedelta(hours=1)
        assert [item.id for item in await queue.records.unsent(far)] == [second.id], "whichever worker finds it sends it"


async def test_a_contract_need_not_be_registered_where_it_is_passed(tmp_path: Path) -> None:
    queue = TaskQueue(tmp_path / "tasks.db")
    item = await queue.push(Contract("own.v1", lambda payload: RunRequest(agent="a", thread_id=payload["t"])), {"t": "x"})
    assert (item.contract, item.lane) == ("own.v1", "x")


async def test_a_run_of_a_task_is_a_run_like_any_other(queue: TaskQueue) -> None:
    item = await queue.push_chat("support", "Hi")
    await worked(queue, item.id)
    log = queue.log
    assert isinstance(log, EventLog)
    assert await log.verify(item.id) is None
    result = await (await Runner(log=log).attach(run_id=item.id, by="test")).await_result()
    assert (result.state, result.final_text) == ("completed", "You said: Hi")


async def test_what_is_tried_again_is_sent_and_known_to_be_sent_in_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sent alone it would be sent twice by whoever finds it unsent, and noted later it could pass for another sending."""
    async with TaskQueue(tmp_path / "tasks.db") as queue:
        task = await queue.push_job("double", {"number": 1})
        await queue.records.begin(task.id, "worker", queue.clock.now())
        await queue.records.bury(task.id, 1, "it failed")
        made: list[int] = []
        transact = queue.database.transact

        async def counted(statements: Sequence[Statement]) -> Any:
            made.append(len(statements))
            return await transact(statements)

        monkeypatch.setattr(queue.database, "transact", counted)
        await queue.retry(task.id)
        assert made == [1, 2]
        assert await queue.records.unsent(queue.clock.now() + dt.timedelta(days=1)) == ()


async def test_what_is_due_is_sent_without_a_time_since_the_engines_clock_may_be_behind(tmp_path: Path) -> None:
    engine = Elsewhere()
    async with TaskQueue(tmp_path / "tasks.db", dispatcher=engine) as queue:
        task = await queue.push_job("double", {"number": 1}, delay_s=60.0)
        assert engine.sent == [Parcel(task.id, "default", 0, task.not_before)]
        await queue.records.begin(task.id, "worker", queue.clock.now())
        await queue.records.bury(task.id, 1, "it failed")
        await queue.retry(task.id)
        assert engine.sent[1:] == [Parcel(task.id, "default", 0)]
