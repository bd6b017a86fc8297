"""Pause, resume, cancel, interrupt: what they stop, what they let finish, and what they leave in the log."""

from __future__ import annotations

import asyncio

import pytest

from afk_es.agents import FailSafeConfig
from afk_es.clock import SimulatedClock
from afk_es.core import AgentRunHandle, Runner
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, log_of, model_of, only, says, types


async def seen(handle: AgentRunHandle, kind: str) -> None:
    """Wait until the run has appended an event of that type."""
    async for event in handle.events:
        if event.type == kind:
            return


async def settled() -> None:
    """Let everything that can go on by itself go on."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_nothing_starts_while_paused_and_what_is_under_way_finishes(runner: Runner) -> None:
    stuck, work = Stuck(), Counted()
    described = agent([asks(("stuck", {}), ("work", {})), says("done")], stuck.tool, work.tool, tool_parallelism=1)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.pause()
    await seen(handle, "control_requested")
    stuck.let_go.set()
    await seen(handle, "tool_completed")
    await settled()
    assert (work.ran, len(model_of(described).requests), handle.done) == (0, 1, False)
    assert (await log_of(runner, handle.run_id))[-1].state == "paused"

    await handle.resume()
    result = await handle.await_result()
    assert (result.state, work.ran, stuck.cancelled) == ("completed", 1, False)


async def test_wall_time_excludes_the_pause() -> None:
    clock = SimulatedClock()
    async with Runner(log=":memory:", clock=clock) as runner:
        stuck = StuckModel()
        handle = await runner.run_handle(agent(stuck, fail_safe=FailSafeConfig(max_wall_time_s=10)))
        await stuck.asked.wait()
        clock.advance(4)
        await handle.pause()
        await seen(handle, "control_requested")
        await settled()
        clock.advance(3600)
        await settled()
        assert not handle.done
        await handle.resume()
        await settled()
        clock.advance(5)
        await settled()
        assert not handle.done
        clock.advance(1.5)
        result = await handle.await_result()
        assert result.state == "interrupted"
        assert result.state_snapshot.elapsed_s == pytest.approx(10.5)


async def test_cancel_cuts_the_tool_in_flight_and_reports_it(runner: Runner) -> None:
    stuck = Stuck()
    handle = await runner.run_handle(agent([asks(("stuck", {}))], stuck.tool))
    await stuck.begun.wait()
    await handle.cancel("changed my mind")
    result = await handle.await_result()
    assert (result.state, result.error, stuck.cancelled) == ("cancelled", "changed my mind", True)
    events = await log_of(runner, handle.run_id)
    assert types(events)[-3:] == ["control_requested", "tool_completed", "run_cancelled"]
    assert (events[-2].data["outcome"], events[-2].data["success"]) == ("cancelled", False)


async def test_cancel_cuts_the_model_in_flight(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    await stuck.asked.wait()
    await handle.cancel()
    result = await handle.await_result()
    assert (result.state, result.final_text, result.llm_response) == ("cancelled", "", None)


async def test_a_paused_run_can_be_cancelled(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    await handle.pause()
    await handle.cancel()
    assert (await handle.await_result()).state == "cancelled"


async def test_a_tool_that_ignores_its_cancellation_does_not_hold_the_run_up(runner: Runner) -> None:
    begun, let_go = asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return "done regardless"

    handle = await runner.run_handle(agent([asks(("stubborn", {}))], stubborn))
    await begun.wait()
    await handle.cancel()
    assert (await asyncio.wait_for(handle.await_result(), 5)).state == "cancelled"
    let_go.set()
    await settled()


async def test_interrupt_then_resume(runner: Runner) -> None:
    stuck = Stuck(idempotent=True)
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.interrupt("the shop closes")
    result = await handle.await_result()
    assert (result.state, result.error, stuck.cancelled) == ("interrupted", "the shop closes", True)

    stuck.let_go.set()
    again = await runner.resume(described, run_id=handle.run_id)
    assert (again.state, again.final_text, stuck.ran) == ("completed", "done", 2)
    events = await log_of(runner, handle.run_id)
    (doubt,) = only(events, "effect_in_doubt")
    assert doubt.data["resolution"] == "run_again"
    keys = {event.data["idempotency_key"] for event in only(events, "tool_started")}
    assert len(keys) == 1
    assert [event.data["resumed"] for event in only(events, "run_started")] == [False, True]


async def test_a_tool_that_may_not_be_repeated_is_reported_to_the_model_after_an_interrupt(runner: Runner) -> None:
    stuck = Stuck()
    described = agent([asks(("stuck", {})), says("I see")], stuck.tool)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    again = await runner.resume(described, run_id=handle.run_id)
    assert (again.state, stuck.ran) == ("completed", 1)
    assert "outcome of this call is unknown" in model_of(described).requests[1].messages[-1].content


async def test_control_after_the_end_does_nothing(runner: Runner) -> None:
    handle = await runner.run_handle(agent([says("done")]))
    await handle.await_result()
    before = await log_of(runner, handle.run_id)
    await handle.pause()
    await handle.resume()
    await handle.cancel()
    await handle.interrupt()
    await settled()
    assert handle.done
    assert await log_of(runner, handle.run_id) == before


async def test_cancel_at_the_very_moment_of_completion_gives_one_ending(runner: Runner) -> None:
    for delay in range(12):
        handle = await runner.run_handle(agent([asks(("work", {})), says("done")], Counted().tool))
        for _ in range(delay):
            await asyncio.sleep(0)
        await handle.cancel()
        result = await handle.await_result()
        events = await log_of(runner, handle.run_id)
        assert result.state in ("completed", "cancelled")
        assert [kind for kind in types(events) if kind.startswith("run_") and kind != "run_started"] == [f"run_{result.state}"]


# ------------------------------------------------------------------------------------------- cancelling whoever waits for the run


async def test_cancelling_the_task_that_awaits_run_cancels_the_run_durably(runner: Runner) -> None:
    stuck = Stuck()
    task = asyncio.create_task(runner.run(agent([asks(("stuck", {}))], stuck.tool), thread_id="t"))
    await stuck.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (head,) = await runner.log.thread("t")
    assert (head.last_type, stuck.cancelled) == ("run_cancelled", True)


async def test_a_run_under_a_timeout_is_cancelled(runner: Runner) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await runner.run(agent(StuckModel()), thread_id="t")
    assert [head.last_type for head in await runner.log.thread("t")] == ["run_cancelled"]


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("steps", range(8))
async def test_cancelling_a_start_halfway_leaves_no_run_that_nobody_drives(steps: int, times: int, runner: Runner) -> None:
    task = asyncio.create_task(runner.run(agent(StuckModel()), thread_id="t"))
    for _ in range(steps):
        await asyncio.sleep(0)
    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    await settled()
    assert {head.last_type for head in await runner.log.thread("t")} <= {"run_cancelled"}
    assert (await runner.run(agent([says("the runner is as good as before")]))).state == "completed"


async def test_cancelling_await_result_leaves_the_run_alone(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    waiting = asyncio.create_task(handle.await_result())
    await stuck.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    stuck.let_go.set()
    assert (await handle.await_result()).final_text == "late"
