"""Goal: a replay takes no time and keeps the recording's: delays, terms, deadlines and who came first are what they were.

Method: runs under a simulated clock that last for hours, and their replays, event by event at the same moments.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from afk_es.agents import Agent, DelegationNode, DelegationPlan, RouterInput
from afk_es.clock import SimulatedClock
from afk_es.core import AgentRunHandle, Runner, RunnerConfig
from afk_es.errors import LLMRetryableError
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, ToolDeferredHandle, tool
from tests.core.replayed import assert_same
from tests.core.scenario import Counted, Stuck, agent, asks, limits, log_of, only, says, types


def slow(clock: SimulatedClock, name: str, seconds: float, **options: Any) -> Tool[..., Any]:
    """A tool that takes that long by this clock."""

    @tool(name=name, **options)
    async def work() -> str:
        """Work."""
        await clock.sleep(seconds)
        return name

    return work


async def test_hours_of_retries_and_waits_take_no_time(runner: Runner, clock: SimulatedClock) -> None:
    script = [LLMRetryableError("overloaded", status_code=503)] * 2 + [asks(("slow", {})), says("ok")]
    described = agent(script, slow(clock, "slow", 7_200.0))
    result = await runner.run(described, user_message="go")
    began = time.perf_counter()
    replayed = await assert_same(runner, described, result.run_id)
    assert time.perf_counter() - began < 5.0
    assert replayed.result.state_snapshot.elapsed_s == result.state_snapshot.elapsed_s > 7_200


async def test_a_retry_comes_when_it_came_though_its_delay_is_drawn_by_the_run(runner: Runner) -> None:
    work = Counted(ConnectionError("down"), ConnectionError("down"), read_only=True)
    described = agent([asks(("work", {})), says("ok")], work.tool, fail_safe=limits(tool_failure_policy="retry_then_continue"))
    result = await runner.run(described, user_message="go")
    replayed = await assert_same(runner, described, result.run_id)
    assert types(await log_of(runner, replayed.run_id)).count("timer_fired") == 2
    assert work.ran == 3


async def test_parallel_tools_end_in_the_recorded_order(runner: Runner, clock: SimulatedClock) -> None:
    tools = [slow(clock, "third", 30.0), slow(clock, "first", 10.0), slow(clock, "second", 20.0)]
    described = agent([asks(("third", {}), ("first", {}), ("second", {})), says("ok")], *tools)
    result = await runner.run(described, user_message="go")
    replayed = await assert_same(runner, described, result.run_id)
    ended = [event.data["tool_name"] for event in only(await log_of(runner, replayed.run_id), "tool_completed")]
    assert ended == ["first", "second", "third"]


async def test_results_of_one_moment_keep_their_order(runner: Runner) -> None:
    work = Counted()
    described = agent([asks(*[("work", {"n": n}) for n in range(8)]), says("ok")], work.tool, tool_parallelism=3)
    result = await runner.run(described, user_message="go")
    await assert_same(runner, described, result.run_id)


async def test_a_tool_that_was_not_done_in_time(runner: Runner) -> None:
    described = agent([asks(("stuck", {})), says("ok")], Stuck(timeout=0.05).tool)
    result = await runner.run(described, user_message="go")
    replayed = await assert_same(runner, described, result.run_id)
    (failed,) = only(await log_of(runner, replayed.run_id), "tool_failed")
    assert failed.data["error_type"] == "ToolTimeoutError"


async def test_a_deadline_cuts_a_batch_where_it_did(runner: Runner, clock: SimulatedClock) -> None:
    tools = [slow(clock, "quick", 10.0), slow(clock, "endless", 1e6)]
    described = agent([asks(("quick", {}), ("endless", {})), says("ok")], *tools, fail_safe=limits(max_wall_time_s=60.0))
    result = await runner.run(described, user_message="go")
    assert result.state == "interrupted"
    await assert_same(runner, described, result.run_id)


async def test_a_deadline_of_today_that_is_shorter_comes_when_it_is_due(runner: Runner, clock: SimulatedClock) -> None:
    def described(deadline_s: float) -> Agent:
        tools = [slow(clock, "quick", 10.0), slow(clock, "late", 30.0)]
        return agent([asks(("quick", {}), ("late", {})), says("ok")], *tools, fail_safe=limits(max_wall_time_s=deadline_s))

    result = await runner.run(described(60.0), user_message="go")
    replayed = await runner.replay(described(20.0), run_id=result.run_id)
    events = await log_of(runner, replayed.run_id)
    (fired,) = only(events, "timer_fired")
    assert (fired.at - events[0].at).total_seconds() == 20.0
    assert [left.what for left in replayed.leftovers] == ["model scripted-1"]
    longer = await runner.replay(described(600.0), run_id=result.run_id)
    assert (longer.result.state, longer.leftovers) == ("completed", ())


async def test_a_pause_lasts_as_long_as_it_did(runner: Runner, clock: SimulatedClock) -> None:
    stuck = Stuck()
    described = agent([asks(("stuck", {})), says("ok")], stuck.tool, fail_safe=limits(max_wall_time_s=100.0))
    handle = await runner.run_handle(described, user_message="go")
    await stuck.begun.wait()
    await handle.pause()
    await seen(handle, "control_requested")
    stuck.let_go.set()
    await seen(handle, "tool_completed")
    clock.advance(5_000.0)
    await handle.resume()
    result = await handle.await_result()
    assert result.state == "completed"
    replayed = await assert_same(runner, described, result.run_id)
    assert replayed.result.state_snapshot.elapsed_s == result.state_snapshot.elapsed_s < 100


async def seen(handle: AgentRunHandle, kind: str) -> None:
    """Wait for an event of that type."""
    async for event in handle.events:
        if event.type == kind:
            return


async def test_a_run_that_was_cancelled_in_a_tool_is_cancelled_in_it(runner: Runner) -> None:
    stuck = Stuck()
    described = agent([asks(("stuck", {})), says("ok")], stuck.tool)
    handle = await runner.run_handle(described, user_message="go")
    await stuck.begun.wait()
    await handle.cancel("enough")
    result = await handle.await_result()
    replayed = await assert_same(runner, described, result.run_id)
    assert (replayed.result.state, replayed.result.error, stuck.ran) == ("cancelled", "enough", 1)


async def test_a_run_that_was_laid_down_and_resumed_twice(runner: Runner, clock: SimulatedClock) -> None:
    stuck = Stuck(read_only=True)
    described = agent([asks(("stuck", {})), says("ok")], stuck.tool)
    handle = await runner.run_handle(described, user_message="go")
    for _ in range(2):
        await stuck.begun.wait()
        stuck.begun.clear()
        await handle.interrupt("later")
        await handle.await_result()
        clock.advance(3_600.0)
        handle = await runner.resume_handle(described, run_id=handle.run_id)
    stuck.let_go.set()
    result = await handle.await_result()
    assert result.state == "completed"
    replayed = await assert_same(runner, described, result.run_id)
    assert types(await log_of(runner, replayed.run_id)).count("run_started") == 3
    assert stuck.ran == 3


async def test_a_ticket_ends_when_it_did_and_expires_when_it_did(clock: SimulatedClock) -> None:
    @tool
    async def order(ticket: str) -> ToolDeferredHandle:
        """Order."""
        return ToolDeferredHandle(ticket_id=ticket, expires_in_s=500.0)

    script = [asks(("order", {"ticket": "a"}), ("order", {"ticket": "b"})), says("waiting"), says("one is here"), says("one is gone")]
    described = agent(script, order)
    config = RunnerConfig(background_tool_poll_interval_s=60)
    async with Runner(log=":memory:", clock=clock, config=config) as runner:
        handle = await runner.run_handle(described, user_message="go")
        async for event in handle.events:
            if event.type == "llm_completed" and event.data["text"] == "waiting":
                await runner.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="b", output="here")
                break
        result = await handle.await_result()
        assert result.state == "completed"
        replayed = await assert_same(runner, described, result.run_id)
        events = await log_of(runner, replayed.run_id)
    assert "letter" not in only(events, "tool_background_resolved")[0].data
    assert [event.data["ticket_id"] for event in only(events, "tool_background_failed")] == ["a"]


async def test_subagents_side_by_side_come_back_in_the_recorded_order(runner: Runner, clock: SimulatedClock) -> None:
    lows = [
        agent(ScriptedModel([asks(("work", {})), says(f"low {name}")]), slow(clock, "work", seconds), name=name)
        for name, seconds in (("one", 50.0), ("two", 20.0), ("three", 30.0))
    ]
    script = [asks(*[(f"transfer_to_{low.name}", {"task": "Go."}) for low in lows]), says("ok")]
    boss = agent(script, name="boss", subagents=lows)
    result = await runner.run(boss, user_message="go")
    replayed = await assert_same(runner, boss, result.run_id)
    assert [each.subagent_name for each in replayed.result.subagent_executions] == ["two", "three", "one"]


async def test_more_subagents_than_there_are_places_need_none_in_a_replay(clock: SimulatedClock) -> None:
    config = RunnerConfig(max_parallel_subagents_global=1)
    lows = [agent([asks(("work", {})), says("low")], slow(clock, "work", 10.0), name=name) for name in ("one", "two")]
    boss = agent(
        [asks(("transfer_to_one", {"task": "Go."}), ("transfer_to_two", {"task": "Go."})), says("ok")], name="boss", subagents=lows
    )
    async with Runner(log=":memory:", clock=clock, config=config) as runner:
        result = await runner.run(boss, user_message="go")
        await asyncio.wait_for(assert_same(runner, boss, result.run_id), 10)


async def test_a_parent_hears_of_a_subagent_when_it_ended_today(runner: Runner, clock: SimulatedClock) -> None:
    def boss(work_s: float | None) -> Agent:
        low = agent([asks(("work", {})), says("low")], slow(clock, "work", 100.0), name="low", fail_safe=limits(max_wall_time_s=work_s))
        script = [asks(("transfer_to_low", {"task": "Go."})), says("ok")]
        return agent(script, name="boss", subagents=[low], fail_safe=limits(max_wall_time_s=200.0 if work_s is None else 50.0))

    result = await runner.run(boss(None), user_message="go")
    replayed = await asyncio.wait_for(runner.replay(boss(30.0), run_id=result.run_id), 10)
    events = await log_of(runner, replayed.run_id)
    (heard,) = only(events, "subagent_completed")
    assert 30.0 <= (heard.at - events[0].at).total_seconds() < 30.001
    assert heard.data["success"] is False
    for what in ("limit_reached", "run_interrupted"):
        (said,) = only(events, what)
        assert (said.at - events[0].at).total_seconds() == 50.0


async def test_a_time_limit_of_todays_plan_that_is_shorter_cuts_a_subagent(runner: Runner, clock: SimulatedClock) -> None:
    def boss(timeout_s: float) -> Agent:
        low = agent([asks(("work", {})), says("low")], slow(clock, "work", 100.0), name="low")

        def router(given: RouterInput) -> DelegationPlan:
            return DelegationPlan(nodes=(DelegationNode(id="a", subagent="low", task="Go.", timeout_s=timeout_s),))

        return agent([says("ok")], name="boss", subagents=[low], subagent_router=router)

    result = await runner.run(boss(500.0), user_message="go")
    await assert_same(runner, boss(500.0), result.run_id)
    replayed = await runner.replay(boss(5.0), run_id=result.run_id)
    events = await log_of(runner, replayed.run_id)
    (fired,) = only(events, "timer_fired")
    (heard,) = only(events, "subagent_completed")
    assert (fired.at - only(events, "subagent_started")[0].at).total_seconds() == 5.0
    assert (heard.data["success"], heard.data["error"]) == (False, "it did not answer in time")
    await assert_same(runner, boss(5.0), replayed.run_id)
