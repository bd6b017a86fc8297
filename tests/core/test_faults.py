"""What goes wrong around a run: a log that is full or locked, a handler with a bug, a model that answers rubbish."""

from __future__ import annotations

import asyncio
import math
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es.clock import SystemClock
from afk_es.core import Runner
from afk_es.core.loop import Loop
from afk_es.errors import InvariantError, LogFullError, LogLockedError
from afk_es.handlers import live_handlers
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import Draft, RunState
from afk_es.machine.effects import CallModel, ExecuteTool
from tests.core.scenario import Counted, Stuck, agent, asks, limits, log_of, model_of, only, says, types

# ----------------------------------------------------------------------------------------------------------------------- the loop


async def test_a_coroutine_that_closes_itself_ends_the_loop_and_does_not_hang_it(runner: Runner) -> None:
    async def close() -> None:
        raise GeneratorExit

    with pytest.raises(InvariantError, match="raised GeneratorExit"):
        await asyncio.wait_for(runner.run(agent([asks(("close", {})), says("done")], close)), 10)


# ------------------------------------------------------------------------------------------------------------------------- the log


async def test_a_log_that_is_full_in_the_middle_stops_the_run_which_goes_on_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    work = Counted(idempotent=True)
    script = [asks(("work", {"n": 1}), text="x" * 200_000), asks(("work", {"n": 2}), text="y" * 20_000_000), says("done")]
    described = agent(script, work.tool)
    small = SqliteEventLog(path, max_size_bytes=5_000_000)
    async with Runner(log=small) as runner:
        handle = await runner.run_handle(described)
        with pytest.raises(LogFullError, match=r"runs\.db"):
            await handle.await_result()
        assert [event.seq async for event in handle.events] == list(range(1, 1 + len(await log_of(runner, handle.run_id))))
        assert types(await log_of(runner, handle.run_id))[-1] == "llm_called"
    await small.close()
    assert work.arguments == [1], "what could not be made durable was not acted upon"

    again = agent([asks(("work", {"n": 2})), says("done")], work.tool)
    result = await Runner(log=path).resume(again, run_id=handle.run_id)
    assert (result.state, work.arguments) == ("completed", [1, 2])


async def test_a_log_that_stays_locked_is_an_error_that_names_the_file_and_the_runner_recovers(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    log = SqliteEventLog(path, busy_timeout_s=0.05)
    stuck = Stuck(idempotent=True)
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    async with Runner(log=log) as runner:
        handle = await runner.run_handle(described)
        await stuck.begun.wait()
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        stuck.let_go.set()
        with pytest.raises(LogLockedError, match=r"runs\.db"):
            await asyncio.wait_for(handle.await_result(), 10)
        other.execute("ROLLBACK")
        other.close()
        result = await runner.resume(described, run_id=handle.run_id)
        assert (result.state, stuck.ran) == ("completed", 2), "its result was lost with the log, and it may be repeated"
    await log.close()


# ------------------------------------------------------------------------------------------------------------------ handlers with bugs


async def raising(effect: Any, state: RunState) -> Draft:
    raise KeyError("a bug")


async def confused(effect: Any, state: RunState) -> Draft:
    return Draft("output_validated", {"output": 1})


async def cancelling(effect: Any, state: RunState) -> Draft:
    raise asyncio.CancelledError


BUGS = {raising: "raised KeyError: 'a bug'", confused: "answered output_validated", cancelling: "was cancelled from inside"}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
@pytest.mark.parametrize("kind", [CallModel, ExecuteTool])
async def test_a_handler_with_a_bug_ends_the_loop_and_not_the_run(
    kind: type, bug: Callable[..., Any], runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Counted(idempotent=True)
    described = agent([asks(("work", {})), says("done")], work.tool)
    with monkeypatch.context() as patched:
        patched.setattr(
            "afk_es.core.runner.live_handlers", lambda binding, emit, report: {**live_handlers(binding, emit, report), kind: bug}
        )
        handle = await runner.run_handle(described)
        with pytest.raises(InvariantError) as caught:
            await asyncio.wait_for(handle.await_result(), 5)
    events = await log_of(runner, handle.run_id)
    assert (caught.value.run_id, caught.value.seq) == (handle.run_id, events[-1].seq)
    assert f"the handler of {kind.__name__} {BUGS[bug]}" in str(caught.value)
    assert [event async for event in handle.events] == events, "consumers are not left waiting"
    result = await runner.resume(described, run_id=handle.run_id)
    assert (result.state, work.ran) == ("completed", 1)


async def test_what_finished_beside_a_bug_is_kept_and_not_run_again(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    paid, broken = Counted(name="pay"), Counted(name="broken")
    described = agent([asks(("pay", {}), ("broken", {})), says("done")], paid.tool, broken.tool)

    def handlers(binding: Any, emit: Any, report: Any) -> Any:
        table = live_handlers(binding, emit, report)
        run = table[ExecuteTool]

        async def execute(effect: ExecuteTool, state: RunState) -> Draft:
            if effect.call.tool_name == "broken":
                raise KeyError("a bug")
            return await run(effect, state)

        return {**table, ExecuteTool: execute}

    with monkeypatch.context() as patched:
        patched.setattr("afk_es.core.runner.live_handlers", handlers)
        handle = await runner.run_handle(described)
        with pytest.raises(InvariantError):
            await handle.await_result()
    assert [event.data["tool_name"] for event in only(await log_of(runner, handle.run_id), "tool_completed")] == ["pay"]
    result = await runner.resume(described, run_id=handle.run_id)
    assert (result.state, paid.ran) == ("completed", 1)


async def test_a_state_that_differs_from_its_log_is_found_in_always_replay_mode(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgetful(self: MemoryEventLog, run_id: str, **options: Any) -> Any:
        return (await read(self, run_id, **options))[:-1]

    read = MemoryEventLog.read
    monkeypatch.setattr(MemoryEventLog, "read", forgetful)
    with pytest.raises(InvariantError, match="the state folded from the log is not the live one"):
        await runner.run(agent([says("ok")]))


async def test_a_loop_without_handlers_says_which_one_is_missing() -> None:
    log = MemoryEventLog()
    await log.open()
    async with Runner(log=log) as runner:
        run_id = (await runner.run(agent([says("ok")]))).run_id
        started = (await log.read(run_id))[0]
    loop = Loop(RunState("run_x", "t"), log=log, handlers={}, clock=SystemClock())
    await log.open()
    await loop.open(Draft("run_started", started.data))
    with pytest.raises(InvariantError, match=r"run run_x at seq \d: the handler of EvaluatePolicy raised KeyError"):
        await loop.run()
    await log.close()


# ------------------------------------------------------------------------------------------------------------------------ rubbish


class Rubbish:
    """A model that answers whatever it is given, as an adapter without types would."""

    provider_id = "rubbish"

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)

    async def chat(self, request: Any) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


@pytest.mark.parametrize("answer", [None, {"text": "hi"}, "hi", 7, LLMResponse], ids=repr)
async def test_what_is_no_response_is_a_failed_call(answer: Any, runner: Runner) -> None:
    result = await runner.run(agent(Rubbish(answer, answer, LLMResponse(text="better"))))
    assert (result.state, result.final_text) == ("completed", "better")
    failed = only(await log_of(runner, result.run_id), "llm_failed")
    assert [event.data["error_type"] for event in failed] == ["LLMInvalidResponseError"] * 2
    assert "return an LLMResponse" in failed[0].message


async def test_a_response_that_was_never_validated_is_a_failed_call(runner: Runner) -> None:
    forged = LLMResponse.model_construct(text=None, tool_calls=None)  # type: ignore[arg-type]
    result = await runner.run(agent(Rubbish(forged)))
    assert result.state == "failed"


async def test_an_adapter_that_cancels_itself_is_a_failed_call(runner: Runner) -> None:
    result = await runner.run(agent(Rubbish(asyncio.CancelledError())))
    assert (result.state, result.error) == ("failed", "the model call failed: the model adapter cancelled the call")


@pytest.mark.parametrize("ids", [("", ""), ("x", "x"), ("x", "x_2", "x"), ("", "call_1", "")])
async def test_call_ids_that_are_missing_or_the_same_are_told_apart(ids: tuple[str, ...], runner: Runner) -> None:
    calls = tuple(ToolCall(call_id, "work", {"n": n}) for n, call_id in enumerate(ids))
    work = Counted()
    described = agent([LLMResponse(tool_calls=calls), says("done")], work.tool)
    result = await runner.run(described)
    assert (result.state, sorted(work.arguments)) == ("completed", list(range(len(ids))))
    shown = [message for message in model_of(described).requests[1].messages if message.role == "tool"]
    assert len({message.tool_call_id for message in shown}) == len(ids)
    assert [f"done {n}" in message.content for n, message in enumerate(shown)] == [True] * len(ids)


async def test_text_that_cannot_be_encoded_is_repaired(runner: Runner) -> None:
    call = ToolCall("\ud800id", "wo\udfffrk", {"k\ud800": "v\udfff"})
    described = agent([LLMResponse(text="a\ud800b", tool_calls=(call,)), says("\udfffdone")])
    result = await runner.run(described)
    assert (result.state, result.final_text) == ("completed", "\ufffddone")
    assert only(await log_of(runner, result.run_id), "llm_completed")[0].data["text"] == "a\ufffdb"


@pytest.mark.parametrize("cost", [math.nan, math.inf, -1.0])
async def test_a_price_that_is_none_is_unknown(cost: float, runner: Runner) -> None:
    answer = LLMResponse.model_construct(text="ok", tool_calls=(), cost_usd=cost)
    result = await runner.run(agent(Rubbish(answer)))
    assert (result.state, result.total_cost_usd) == ("completed", None)
    limited = await runner.run(agent(Rubbish(answer), fail_safe=limits(max_total_cost_usd=1)))
    assert limited.state == "failed"
    assert "unknown" in limited.final_text


async def test_usage_below_nothing_is_unknown(runner: Runner) -> None:
    result = await runner.run(agent(Rubbish(LLMResponse(text="ok", usage=Usage(-5, 1, -4)))))
    assert (result.state, result.usage_aggregate) == ("completed", Usage())
    assert only(await log_of(runner, result.run_id), "llm_completed")[0].data["usage"] is None


async def test_ten_megabytes_of_text(runner: Runner) -> None:
    result = await runner.run(agent([says("x" * 10_000_000)]))
    assert (result.state, len(result.final_text)) == ("completed", 10_000_000)


async def test_a_stream_that_ends_without_its_response_is_a_failed_call(runner: Runner) -> None:
    class CutOff:
        provider_id = "cut"

        async def chat(self, request: Any) -> LLMResponse:
            raise AssertionError("it streams")

        async def chat_stream(self, request: Any) -> Any:
            for part in list[str]():
                yield part

    handle = await runner.run_stream(agent(CutOff(), fail_safe=limits(llm_failure_policy="fail")))
    assert "the stream ended without an LLMResponse" in await handle.collect_text()
