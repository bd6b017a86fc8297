"""Goal: a task is done once, whatever becomes of it on the way. Method: workers of this process on a log of each kind, with agents that go by
the book.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.clock import SimulatedClock
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError, RunFailedError, ToolError, UsageError
from afk_es.llms import LLMResponse, ToolCall
from afk_es.queues import RetryPolicy, RunRequest, TaskQueue, Worker, contract
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolDeferredHandle, tool
from tests.core.scenario import Counted, Stuck, always, limits
from tests.queues.working import PATIENCE_S, ByTheBook, seen, task_in, task_in_time, task_when

AT_ONCE = RetryPolicy(base_s=0.0, cap_s=0.0)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def agent(*calls: tuple[str, dict[str, Any]], tools: tuple[Any, ...] = (), **fields: Any) -> Agent:
    return Agent(**{"name": "clerk", "model": ByTheBook(*calls), "tools": tools, "fail_safe": limits(), **fields})


def approved(work: Counted) -> Agent:
    """An agent whose call of the tool a person has to approve."""
    rule = PolicyRule(rule_id="four eyes", action="request_approval", condition=always, subjects=("tool",))
    return agent(("work", {"n": 1}), tools=(work.tool,), policy_engine=PolicyEngine([rule]))


# ---------------------------------------------------------------------------------------------------------------------- what becomes of tasks


@pytest.mark.parametrize("begun", ["where it was pushed", "by the worker"])
async def test_a_chat_comes_to_what_its_run_says(database_url: str, begun: str) -> None:
    work = Counted()
    clerk = agent(("work", {"n": 1}), tools=(work.tool,))
    async with TaskQueue(database_url) as queue, Worker(queue, agents=[clerk]) as worker:
        task = await queue.push_chat(clerk if begun == "where it was pushed" else "clerk", "please")
        assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done"
        item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures, item.worker) == (1, 0, worker.name)
        assert (await queue.log.head(task.id)).last_type == "run_completed"  # type: ignore[union-attr]
    assert work.ran == 1


async def test_a_job_that_fails_is_tried_again_in_the_same_run(database_url: str) -> None:
    work = Counted(ConnectionError("away"), ConnectionError("still away"))
    async with TaskQueue(database_url, handlers=[work.tool], retry=AT_ONCE) as queue, Worker(queue) as worker:
        task = await queue.push_job("work", {"n": 7})
        assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done 7"
        item = await task_in(queue, task.id, "completed")
        assert (item.attempts, item.failures) == (3, 2)
        assert len(await queue.log.runs()) == 1
    assert (work.ran, worker.metrics().retried) == (3, 2)


async def test_a_chat_whose_model_was_away_goes_on_where_it_was(path: str) -> None:
    work = Counted()
    clerk = agent(
        tools=(work.tool,),
        model=ScriptedModel([asks_for("work"), ConnectionError("away"), "done"]),
        fail_safe=limits(llm_failure_policy="fail_fast"),
    )
    async with TaskQueue(path, retry=AT_ONCE) as queue, Worker(queue, agents=[clerk]):
        task = await queue.push_chat("clerk", "please")
        assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done"
    assert work.ran == 1


def asks_for(name: str, **arguments: Any) -> LLMResponse:
    return LLMResponse(tool_calls=(ToolCall("c1", name, arguments),))


async def test_what_fails_as_often_as_it_may_is_dead_until_it_is_retried(path: str) -> None:
    work = Counted(*[ConnectionError(f"away {number}") for number in range(3)])
    async with TaskQueue(path, handlers=[work.tool], retry=AT_ONCE) as queue, Worker(queue) as worker:
        task = await queue.push_job("work", {"n": 7}, max_attempts=3)
        item = await task_in(queue, task.id, "dead")
        assert (item.attempts, item.failures, item.error_type) == (3, 3, "ToolFailed")
        assert "away 2" in (item.error or "")
        await queue.retry(task.id)
        assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done 7"
    assert (worker.metrics().retried, worker.metrics().dead, worker.metrics().completed) == (2, 1, 1)


async def test_what_cannot_pass_is_dead_at_once(path: str) -> None:
    work = Counted(ToolError("there is no such customer"))
    async with TaskQueue(path, handlers=[work.tool], retry=AT_ONCE) as queue, Worker(queue):
        task = await queue.push_job("work")
        assert (await task_in(queue, task.id, "dead")).attempts == 1
        with pytest.raises(RunFailedError, match="no such customer"):
            await queue.result(task.id)
    assert work.ran == 1


async def test_the_second_attempt_waits_for_its_time(path: str) -> None:
    clock = SimulatedClock()
    work = Counted(ConnectionError("away"))
    async with TaskQueue(path, handlers=[work.tool], retry=RetryPolicy(base_s=300.0), clock=clock) as queue, Worker(queue, lease_s=1e6):
        task = await queue.push_job("work")
        await task_in_time(queue, clock, task.id, lambda item: item.failures == 1)
        began = clock.monotonic()
        item = await task_in_time(queue, clock, task.id, lambda item: item.state == "completed", 5.0)
    assert item.attempts == 2
    assert 150.0 <= clock.monotonic() - began < 400.0


async def test_a_payload_that_fits_no_more_is_dead_with_the_reason(path: str) -> None:
    @contract("greet.v1")
    def lenient(payload: dict[str, Any]) -> RunRequest:
        return RunRequest(agent="clerk", user_message="hello")

    @contract("greet.v1")
    def strict(payload: dict[str, Any]) -> RunRequest:
        return RunRequest(agent="clerk", user_message=payload["name"])

    async with TaskQueue(path) as queue:
        task = await queue.push(lenient, {})
        async with Worker(queue, agents=[agent()], contracts=[strict]):
            item = await task_in(queue, task.id, "dead")
    assert (item.error_type, item.attempts) == ("PayloadError", 1)
    assert "KeyError" in (item.error or "")


async def test_a_task_is_left_to_a_worker_that_knows_its_agent(path: str) -> None:
    clock = SimulatedClock()
    async with TaskQueue(path, clock=clock) as queue, Worker(queue, lease_s=1e6) as ignorant:
        task = await queue.push_chat("clerk", "please")
        item = await task_in_time(queue, clock, task.id, lambda item: item.error is not None)
        assert (item.state, item.failures, item.crashes) == ("queued", 0, 0)
        assert "no agent 'clerk' is registered here" in (item.error or "")
        async with Worker(queue, agents=[agent()], lease_s=1e6) as knowing:
            assert (await task_in_time(queue, clock, task.id, lambda item: item.state == "completed", 1.0)).worker == knowing.name
    assert ignorant.metrics().given_back >= 1


async def test_a_task_that_nobody_knows_is_dead_after_an_hour(path: str) -> None:
    clock = SimulatedClock()
    async with TaskQueue(path, clock=clock) as queue, Worker(queue, lease_s=1e6):
        task = await queue.push_job("mystery")
        item = await task_in_time(queue, clock, task.id, lambda item: item.state == "dead", 30.0)
    assert (item.error_type, item.crashes) == ("UnregisteredError", 0)
    assert "no worker that took it in 60 minutes knows it" in (item.error or "")
    assert clock.monotonic() >= 3600


@pytest.mark.parametrize("allowed", [False, True])
async def test_a_run_goes_on_with_another_agent_only_where_that_is_allowed(path: str, allowed: bool) -> None:
    work = Counted()
    async with TaskQueue(path) as queue:
        async with Worker(queue, agents=[approved(work)]):
            task = await queue.push_chat("clerk", "please")
            await task_in(queue, task.id, "waiting")
        await Runner(log=path).approve(run_id=task.id, by="alice")
        # As after a deployment.
        changed = approved(work).model_copy(update={"instructions": "Be brief."})
        async with Worker(queue, agents=[changed], allow_agent_change=allowed):
            item = await task_in(queue, task.id, "dead", "completed")
    if allowed:
        assert (item.state, work.ran) == ("completed", 1)
    else:
        assert (item.state, item.error_type, work.ran) == ("dead", "AgentMismatchError", 0)
        assert "Worker(allow_agent_change=True)" in (item.error or "")


async def test_a_run_that_has_done_nothing_yet_begins_with_the_agent_of_today(path: str) -> None:
    async with TaskQueue(path) as queue:
        task = await queue.push_chat(agent(), "please")
        # Somebody has had it before, and could do nothing with it.
        await queue.records.begin(task.id, "another", queue.clock.now())
        await queue.records.again(task.id, 1, queue.clock.now(), counts=False)
        async with Worker(queue, agents=[agent(instructions="Be brief.")]):
            assert (await task_in(queue, task.id, "completed", "dead")).result == "done"


async def test_a_degraded_run_is_a_completed_task(path: str) -> None:
    clerk = agent(model=ScriptedModel([ConnectionError("away")]), fail_safe=limits(llm_failure_policy="degrade"))
    async with TaskQueue(path) as queue, Worker(queue, agents=[clerk]):
        task = await queue.push_chat("clerk", "please")
        assert (await task_in(queue, task.id, "completed")).failures == 0


# ---------------------------------------------------------------------------------------------------------------------------- people and time


async def test_a_task_that_waits_for_a_person_takes_no_place_and_goes_on_when_one_answers(database_url: str) -> None:
    work = Counted()
    async with TaskQueue(database_url) as queue, Worker(queue, agents=[approved(work)], max_concurrency=1) as worker:
        task = await queue.push_chat("clerk", "please")
        item = await task_in(queue, task.id, "waiting")
        await seen(lambda: worker.metrics().busy == 0)
        assert work.ran == 0
        assert "waits for an answer from outside" in (item.error or "")
        # As from another process.
        asked = time.perf_counter()
        await Runner(log=database_url).approve(run_id=task.id, by="alice")
        item = await task_in(queue, task.id, "completed")
        assert time.perf_counter() - asked < 3.0
        assert (item.result, item.attempts, item.failures, work.ran) == ("done", 2, 0, 1)


async def test_a_task_that_waits_for_a_person_lets_those_behind_it_in_its_lane_go_first(path: str) -> None:
    clerk = approved(Counted())
    async with TaskQueue(path, agents=[clerk, agent(name="other")]) as queue, Worker(queue):
        first = await queue.push_chat("clerk", "please", thread_id="thread")
        second = await queue.push_chat("other", "and then?", thread_id="thread")
        await task_in(queue, second.id, "completed")
        assert (await queue.get(first.id)).state == "waiting"


async def test_a_question_that_nobody_answers_in_its_term_is_answered_by_the_fallback(path: str) -> None:
    clock = SimulatedClock()
    config = RunnerConfig(interaction_mode="external", approval_timeout_s=3600.0)
    work = Counted()
    async with TaskQueue(path, clock=clock, config=config) as queue, Worker(queue, agents=[approved(work)], lease_s=1e6):
        task = await queue.push_chat("clerk", "please")
        await task_in_time(queue, clock, task.id, lambda item: item.state == "waiting")
        item = await task_in_time(queue, clock, task.id, lambda item: item.state == "completed", 60.0)
    assert clock.monotonic() >= 3600
    assert (item.attempts, work.ran) == (2, 0)


async def test_an_answer_to_a_subagent_awakens_the_task_of_its_parent(path: str) -> None:
    work = Counted()
    lead = Agent(name="lead", model=ByTheBook(("transfer_to_clerk", {"task": "do it"})), subagents=[approved(work)], fail_safe=limits())
    async with TaskQueue(path) as queue, Worker(queue, agents=[lead]):
        task = await queue.push_chat("lead", "please")
        await task_in(queue, task.id, "waiting")
        runner = Runner(log=path)
        (request,) = await runner.pending_requests(run_id=task.id)
        assert request.run_id != task.id
        await runner.approve(run_id=request.run_id, by="alice")
        assert (await task_in(queue, task.id, "completed")).result == "done"
    assert work.ran == 1


async def test_a_task_waits_for_a_tool_in_the_background(path: str) -> None:
    @tool
    def later() -> ToolDeferredHandle:
        """Begin it."""
        return ToolDeferredHandle(ticket_id="t1")

    async with TaskQueue(path) as queue, Worker(queue, agents=[agent(("later", {}), tools=(later,))]) as worker:
        task = await queue.push_chat("clerk", "please")
        await task_in(queue, task.id, "waiting")
        await seen(lambda: worker.metrics().busy == 0)
        run = await queue.log.head(task.id)
        assert run is not None
        await Runner(log=path).resolve_background_tool(thread_id=run.thread_id, run_id=task.id, ticket_id="t1", output="it is done")
        assert (await task_in(queue, task.id, "completed")).result == "done"


# ------------------------------------------------------------------------------------------------------------------------------ cancelling


async def test_a_task_under_way_that_is_cancelled_ends_so(path: str) -> None:
    stuck = Stuck()
    async with TaskQueue(path) as queue, Worker(queue, agents=[agent(("stuck", {}), tools=(stuck.tool,))]) as worker:
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        await queue.cancel(task.id, reason="never mind")
        await task_in(queue, task.id, "cancelled")
    assert (stuck.cancelled, worker.metrics().cancelled) == (True, 1)


async def test_a_waiting_task_that_is_cancelled_ends_so(path: str) -> None:
    work = Counted()
    async with TaskQueue(path) as queue, Worker(queue, agents=[approved(work)]):
        task = await queue.push_chat("clerk", "please")
        await task_in(queue, task.id, "waiting")
        await queue.cancel(task.id)
        await task_in(queue, task.id, "cancelled")
        assert (await queue.log.head(task.id)).last_type == "run_cancelled"  # type: ignore[union-attr]
    assert work.ran == 0


async def test_a_task_between_two_attempts_that_is_cancelled_ends_so(path: str) -> None:
    work = Counted(ConnectionError("away"))
    async with TaskQueue(path, handlers=[work.tool], retry=RetryPolicy(base_s=600.0)) as queue, Worker(queue):
        task = await queue.push_job("work")
        await task_when(queue, task.id, lambda item: item.failures == 1)
        await queue.cancel(task.id)
        await task_in(queue, task.id, "cancelled")
    assert work.ran == 1


# ---------------------------------------------------------------------------------------------------------------------------- what people see


async def test_progress_is_told_while_it_goes_on(path: str) -> None:
    let_go = asyncio.Event()

    @tool
    async def work(ctx: ToolContext) -> str:
        """Work."""
        ctx.report_progress(3, 10, "page 3 of 10")
        await let_go.wait()
        return "read"

    async with TaskQueue(path, handlers=[work]) as queue, Worker(queue):
        task = await queue.push_job("work")
        item = await task_when(queue, task.id, lambda item: item.progress.done is not None)
        assert (item.progress.step, item.progress.doing, item.progress.done, item.progress.total) == (1, "page 3 of 10", 3, 10)
        let_go.set()
        await task_in(queue, task.id, "completed")


async def test_a_worker_is_listed_while_it_works(database_url: str) -> None:
    async with TaskQueue(database_url) as queue:
        async with Worker(queue, queues=["mail", "print"], max_concurrency=3, name="desk:1") as worker:
            async with asyncio.timeout(PATIENCE_S):
                while not (listed := await queue.workers()):  # noqa: ASYNC110 - the worker writes it
                    await asyncio.sleep(0.005)
            assert [(each.worker, each.queues, each.slots) for each in listed] == [("desk:1", ("mail", "print"), 3)]
            assert worker.metrics().held
        assert await queue.workers() == ()


async def test_tasks_of_other_queues_are_left_alone(path: str) -> None:
    async with TaskQueue(path) as queue:
        mail = await queue.push_chat(agent(), "please", queue="mail")
        other = await queue.push_chat(agent(), "please", queue="print")
        async with Worker(queue, agents=[agent()], queues="mail"):
            await task_in(queue, mail.id, "completed")
        assert (await queue.get(other.id)).state == "queued"


async def test_no_more_is_under_way_at_once_than_may_be(path: str) -> None:
    at_once = most = 0

    @tool
    async def work() -> None:
        """Work."""
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1

    async with TaskQueue(path, handlers=[work]) as queue:
        tasks = [await queue.push_job("work") for _ in range(9)]
        async with Worker(queue, max_concurrency=3):
            for task in tasks:
                await task_in(queue, task.id, "completed")
    assert most == 3


# ------------------------------------------------------------------------------------------------------------------------------------ stopping


async def test_a_drained_worker_ends_what_it_has_and_takes_nothing_more(path: str) -> None:
    stuck = Stuck()
    async with TaskQueue(path) as queue:
        worker = Worker(queue, agents=[agent(("stuck", {}), tools=(stuck.tool,))])
        working = asyncio.create_task(worker.run())
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        worker.drain()
        later = await queue.push_chat("clerk", "me too")
        stuck.let_go.set()
        await working
        assert (await queue.get(task.id)).state == "completed"
        assert (await queue.get(later.id)).attempts == 0


@pytest.mark.parametrize("how", ["its time is over", "it is to hurry", "its task is cancelled"])
async def test_what_has_not_ended_by_then_is_laid_down_and_given_back(path: str, how: str) -> None:
    stuck = Stuck(idempotent=True)
    clerk = agent(("stuck", {}), tools=(stuck.tool,))
    async with TaskQueue(path) as queue:
        worker = Worker(queue, agents=[clerk], drain_s=0.0 if how == "its time is over" else 3600.0)
        working = asyncio.create_task(worker.run())
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        if how == "its task is cancelled":
            working.cancel()
        else:
            worker.drain()
            worker.drain()
        assert (await asyncio.gather(working, return_exceptions=True))[0] is None or how == "its task is cancelled"
        item = await queue.get(task.id)
        assert (item.state, item.attempts, item.failures, item.crashes) == ("queued", 1, 0, 0)
        assert (await queue.log.head(task.id)).last_type == "run_interrupted"  # type: ignore[union-attr]
        assert await queue.workers() == ()
        stuck.let_go.set()
        async with Worker(queue, agents=[clerk]):
            assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done"


async def test_a_worker_works_once(path: str) -> None:
    queue = TaskQueue(path)
    async with Worker(queue) as worker:
        with pytest.raises(UsageError, match="make another one"):
            await worker.run()


# ------------------------------------------------------------------------------------------------------------------------------- other hands


async def test_a_run_that_a_person_laid_down_stays_so_until_they_say_otherwise(path: str) -> None:
    stuck = Stuck(idempotent=True)
    async with TaskQueue(path) as queue, Worker(queue, agents=[agent(("stuck", {}), tools=(stuck.tool,))]):
        task = await queue.push_chat("clerk", "please")
        await stuck.begun.wait()
        await (await Runner(log=path).attach(run_id=task.id, by="alice")).interrupt("I have to look at this")
        item = await task_in(queue, task.id, "dead")
        assert "I have to look at this" in (item.error or "")
        stuck.let_go.set()
        await queue.retry(task.id)
        assert await queue.result(task.id, timeout_s=PATIENCE_S) == "done"


async def test_a_run_that_somebody_else_drives_is_left_to_them(path: str) -> None:
    clock = SimulatedClock()
    stuck = Stuck()
    clerk = agent(("stuck", {}), tools=(stuck.tool,))
    async with TaskQueue(path, clock=clock) as queue, Runner(log=path) as operator:
        task = await queue.push_chat(clerk, "please")
        handle = await operator.resume_handle(clerk, run_id=task.id)
        await stuck.begun.wait()
        async with Worker(queue, agents=[clerk], lease_s=1e6):
            item = await task_in_time(queue, clock, task.id, lambda item: item.error is not None)
            assert (item.state, item.failures, item.crashes) == ("queued", 0, 0)
            stuck.let_go.set()
            assert (await handle.await_result()).state == "completed"
            assert (await task_in_time(queue, clock, task.id, lambda item: item.state == "completed", 1.0)).result == "done"
    assert stuck.ran == 1


# ---------------------------------------------------------------------------------------------------------------------------------- wrong use


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"queues": ()}, "names of one queue or more"),
        ({"queues": ["a b"]}, "a queue is named by"),
        ({"max_concurrency": 0}, "max_concurrency is a number of tasks from 1"),
        ({"max_concurrency": True}, "max_concurrency is a number of tasks from 1"),
        ({"lease_s": 0}, "lease_s is a number of seconds"),
        ({"lease_s": float("nan")}, "lease_s is a number of seconds"),
        ({"drain_s": -1}, "drain_s is a number of seconds"),
        ({"name": "a b"}, "name is of 1 to 200"),
        ({"agents": ["clerk"]}, "agents"),
    ],
)
def test_what_cannot_be_is_refused_at_once(path: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Worker(TaskQueue(path), **options)


def test_a_worker_needs_a_queue(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write Worker\(TaskQueue"):
        Worker(path)  # type: ignore[arg-type]
