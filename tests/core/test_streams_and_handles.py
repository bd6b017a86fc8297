"""What consumers of a run get: streams that are driven by their one consumer, handles for any number of them."""

from __future__ import annotations

import asyncio
import gc
import os
from pathlib import Path

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentRunEvent, AgentRunHandle, AgentStreamEvent, Runner
from afk_es.core.handle import STREAM_BUFFER
from afk_es.errors import LLMConfigurationError, UsageError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import ScriptedModel
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, log_of, model_of, says, types

LONG = " ".join(f"word{n}" for n in range(STREAM_BUFFER * 6))
"""A text that is streamed in twice as many pieces as a stream runs ahead."""


async def settled() -> None:
    for _ in range(400):
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------------------------------------- streams


async def test_the_deltas_add_up_to_the_text(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("a streamed answer, word by word")]))
    events = [event async for event in handle]
    deltas = [event.text_delta for event in events if event.type == "text_delta"]
    assert len(deltas) > 1
    assert "".join(delta or "" for delta in deltas) == "a streamed answer, word by word"
    assert handle.done
    assert handle.result.final_text == "a streamed answer, word by word"


ENDINGS = [([says("ok")], "completed", "completed"), ([LLMConfigurationError("down")], "error", "failed")]


@pytest.mark.parametrize(("script", "kind", "state"), ENDINGS)
async def test_exactly_one_last_event_carries_the_result(script: object, kind: str, state: str, runner: Runner) -> None:
    handle = await runner.run_stream(agent(script))
    events: list[AgentStreamEvent] = [event async for event in handle]
    last = [event for event in events if event.type in ("completed", "error")]
    assert last == [events[-1]]
    assert (last[0].type, last[0].state) == (kind, state)
    assert last[0].result is handle.result
    assert last[0].error == handle.result.error


async def test_tools_are_told_with_their_results(runner: Runner) -> None:
    handle = await runner.run_stream(agent([asks(("work", {"n": 2})), says("ok")], Counted(RuntimeError("broke")).tool))
    told = [(event.type, event.tool_call_id, event.tool_success, event.tool_error) async for event in handle if event.tool_name == "work"]
    assert told == [("tool_started", "c1", None, None), ("tool_completed", "c1", False, "RuntimeError: broke")]


async def test_collect_text(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("all of it")]))
    assert await handle.collect_text() == "all of it"


async def test_a_model_that_cannot_stream_is_asked_as_ever(runner: Runner) -> None:
    model = StuckModel("in one piece")
    model.let_go.set()
    handle = await runner.run_stream(agent(model))
    assert [event.type async for event in handle] == ["step_started", "completed"]
    assert handle.result.final_text == "in one piece"


async def test_a_slow_consumer_holds_the_run_back(runner: Runner) -> None:
    sent = 0

    class Chatty(ScriptedModel):
        async def chat_stream(self, request):  # type: ignore[no-untyped-def]
            nonlocal sent
            async for part in super().chat_stream(request):
                sent += 1
                yield part

    handle = await runner.run_stream(agent(Chatty([says(LONG)])))
    await settled()
    assert STREAM_BUFFER - 2 <= sent <= STREAM_BUFFER + 1
    assert await handle.collect_text() == LONG
    assert sent > 2 * STREAM_BUFFER


async def test_leaving_the_stream_early_cancels_the_run(runner: Runner) -> None:
    async with await runner.run_stream(agent([says(LONG)])) as handle:
        async for event in handle:
            if event.type == "text_delta":
                break
    assert handle.result.state == "cancelled"
    events = await log_of(runner, handle.run_id)
    assert types(events)[-1] == "run_cancelled"
    assert events[-1].message == "the consumer left the stream"


async def test_leaving_the_stream_early_without_closing_it_cancels_the_run_too(runner: Runner) -> None:
    stuck = Stuck()
    handle = await runner.run_stream(agent([asks(("stuck", {}))], stuck.tool))
    async for event in handle:
        if event.type == "tool_started":
            break
    gc.collect()
    await settled()
    assert handle.done
    assert handle.result.state == "cancelled"


def test_leaving_the_stream_and_the_program_at_once_cancels_the_run(tmp_path: Path) -> None:
    async def program() -> str:
        handle = await Runner(log=tmp_path / "runs.db").run_stream(agent([says(LONG)]))
        async for _event in handle:
            break
        return handle.run_id

    events = stored(tmp_path, asyncio.run(program()))
    assert types(events)[-2:] == ["control_requested", "run_cancelled"]


def test_a_stream_that_nobody_consumes_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    async def program() -> str:
        handle = await Runner(log=tmp_path / "runs.db").run_stream(agent([says(LONG)]))
        await settled()
        return handle.run_id

    assert types(stored(tmp_path, asyncio.run(asyncio.wait_for(program(), 5))))[-1] == "run_interrupted"


async def test_a_consumer_that_is_cancelled_cancels_the_run(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_stream(agent(stuck))
    consumer = asyncio.create_task(handle.collect_text())
    await settled()
    consumer.cancel()
    with pytest.raises(asyncio.CancelledError):
        await consumer
    assert types(await log_of(runner, handle.run_id))[-1] == "run_cancelled"


async def test_a_stream_is_iterated_once_and_has_no_result_before_its_end(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("ok")]))
    with pytest.raises(UsageError, match="iterate it to its end"):
        _ = handle.result
    await handle.collect_text()
    with pytest.raises(UsageError, match="iterated once"):
        await handle.collect_text()


# ------------------------------------------------------------------------------------------------------------------------- handles


async def _all(handle: AgentRunHandle) -> list[AgentRunEvent]:
    return [event async for event in handle.events]


async def test_three_consumers_one_of_them_late_see_all_events(runner: Runner) -> None:
    stuck = Stuck()
    handle = await runner.run_handle(agent([asks(("stuck", {})), says("ok")], stuck.tool))
    early = [asyncio.create_task(_all(handle)) for _ in range(2)]
    await stuck.begun.wait()
    stuck.let_go.set()
    await handle.await_result()
    in_log = await log_of(runner, handle.run_id)
    assert await asyncio.gather(*early, _all(handle)) == [in_log] * 3


async def test_a_consumer_that_leaves_disturbs_nobody(runner: Runner) -> None:
    handle = await runner.run_handle(agent([asks(("work", {})), says("ok")], Counted().tool))
    async for _event in handle.events:
        break
    assert types(await _all(handle))[-1] == "run_completed"
    assert (await handle.await_result()).state == "completed"


async def test_the_start_is_durable_when_the_handle_is_there(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    assert types(await log_of(runner, handle.run_id))[0] == "run_started"
    await handle.cancel()
    await handle.await_result()


def test_a_handle_that_is_abandoned_when_the_event_loop_ends_is_laid_down_and_can_be_resumed(tmp_path: Path) -> None:
    stuck = Stuck(idempotent=True)
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)

    async def program() -> str:
        handle = await Runner(log=tmp_path / "runs.db").run_handle(described)
        await stuck.begun.wait()
        return handle.run_id

    run_id = asyncio.run(program())
    events = stored(tmp_path, run_id)
    assert types(events)[-2:] == ["control_requested", "run_interrupted"]
    assert events[-1].message == "the event loop that ran it was closed"
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"], "the file is closed: no write-ahead log, no owner"

    async def afterwards() -> str:
        again = agent(model_of(described), Stuck(idempotent=True).tool)
        handle = await Runner(log=tmp_path / "runs.db").resume_handle(again, run_id=run_id)
        await handle.cancel()
        return (await handle.await_result()).state

    assert asyncio.run(afterwards()) == "cancelled"


async def test_the_log_is_open_exactly_while_a_run_goes_on(tmp_path: Path) -> None:
    runner = Runner(log=tmp_path / "runs.db")
    stuck = StuckModel()
    one = await runner.run_handle(agent(stuck))
    two = await runner.run_handle(agent([says("quick")]))
    await two.await_result()
    assert len(await runner.log.read(two.run_id)) == 6
    stuck.let_go.set()
    await one.await_result()
    assert os.listdir(tmp_path) == ["runs.db"]


def stored(directory: Path, run_id: str) -> list[AgentRunEvent]:
    """The run's events, read by somebody else."""

    async def read() -> list[AgentRunEvent]:
        log = SqliteEventLog(directory / "runs.db")
        await log.open()
        try:
            return await log.read(run_id)
        finally:
            await log.close()

    return asyncio.run(read())


def test_one_runner_serves_one_event_loop_after_the_other(tmp_path: Path) -> None:
    runner = Runner(log=tmp_path / "runs.db")
    described: Agent = agent(lambda request: says("ok"))
    assert [runner.run_sync(described).state for _ in range(3)] == ["completed"] * 3


async def test_one_runner_does_not_serve_two_event_loops_at_once(runner: Runner) -> None:
    with pytest.raises(UsageError, match="another event loop"):
        await asyncio.to_thread(runner.run_sync, agent([says("ok")]))
