"""Goal: work that a tool moves to the background comes back to its run, whoever has the result and whether or not anybody runs the run.

Method: real runs on a real log. Results come from tasks of this process, from another Runner on the same file, and from nobody in time.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.clock import SimulatedClock, SystemClock
from afk_es.core import AgentResult, AgentRunHandle, Runner, RunnerConfig
from afk_es.errors import ConfigurationError, RunNotFoundError, UsageError
from afk_es.llms import LLMRequest
from afk_es.log import Letter
from afk_es.machine import Draft
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, ToolContext, ToolDeferredHandle, tool
from afk_es.views.verification import problems
from tests.core.scenario import agent, asks, assert_legal, limits, log_of, only, types

FAST = 0.01


def order(*, after: Callable[[ToolContext], Any] | None = None, **handle: Any) -> Tool[..., Any]:
    """A tool that goes on in the background under the ticket that its argument names."""

    @tool(name="order")
    async def ordered(ticket: str, ctx: ToolContext) -> ToolDeferredHandle:
        """Order something that takes long."""
        if after is not None:
            after(ctx)
        return ToolDeferredHandle(ticket_id=ticket, **{"summary": "ordered", **handle})

    return ordered


def ordering(*tickets: str) -> Any:
    """A model that orders these, and then says what it was told last."""

    def answer(request: LLMRequest) -> Any:
        assert_legal(request)
        if len(request.messages) == 1:
            return asks(*(("order", {"ticket": ticket}) for ticket in tickets))
        return request.messages[-1].content.splitlines()[-1]

    return ScriptedModel(answer)


def clerk(*tickets: str, **fields: Any) -> Agent:
    return agent(ordering(*tickets), fields.pop("order", None) or order(), **fields)


def configured(**settings: Any) -> RunnerConfig:
    return RunnerConfig(background_tool_poll_interval_s=FAST, **settings)


async def answered(handle: AgentRunHandle, times: int = 2) -> None:
    """Wait until the model of the run has answered that often."""
    async for event in handle.events:
        times -= event.type == "llm_completed"
        if not times:
            return


async def waiting(runner: Runner, *tickets: str, **fields: Any) -> AgentRunHandle:
    """A run that has answered and waits for these tickets."""
    handle = await runner.run_handle(clerk(*tickets, **fields), user_message="go")
    await answered(handle)
    return handle


def named(handle: AgentRunHandle | AgentResult, ticket_id: str) -> dict[str, str]:
    return {"thread_id": handle.thread_id, "run_id": handle.run_id, "ticket_id": ticket_id}


# ------------------------------------------------------------------------------------------------------------------ results come back


async def test_a_run_waits_for_its_ticket_and_goes_on_when_another_runner_resolves_it(tmp_path: Path) -> None:
    async with Runner(log=tmp_path / "runs.db", config=configured()) as runner, Runner(log=tmp_path / "runs.db") as other:
        handle = await waiting(runner, "t1")
        (pending,) = await other.list_background_tools(thread_id=handle.thread_id, run_id=handle.run_id)
        await other.resolve_background_tool(**named(handle, "t1"), output={"parcel": 7})
        result = await handle.await_result()
        events = await log_of(runner, handle.run_id)
    assert (result.state, result.final_text) == ("completed", '{"parcel":7}')
    assert {key: pending[key] for key in ("ticket_id", "tool_name", "tool_call_id", "run_id", "status", "summary", "taken_in")} == {
        "ticket_id": "t1",
        "tool_name": "order",
        "tool_call_id": "c1",
        "run_id": handle.run_id,
        "status": "pending",
        "summary": "ordered",
        "taken_in": True,
    }
    assert pending["expires_at"] > pending["deferred_at"]
    assert only(events, "tool_background_resolved")[0].data["letter"] == 1
    assert not list(problems(events))


@pytest.mark.parametrize("itself", [True, False], ids=["through the same Runner", "through another store"])
async def test_whoever_does_the_work_may_be_faster_than_the_tool_returns(tmp_path: Path, itself: bool) -> None:
    """The result may be there before the run has written down that there is a ticket."""
    tasks: list[asyncio.Task[None]] = []

    def begin(ctx: ToolContext) -> None:
        by = runner if itself else other
        ended = by.resolve_background_tool(thread_id=ctx.thread_id, run_id=ctx.run_id, ticket_id="t1", output="here")
        tasks.append(asyncio.create_task(ended))

    async with Runner(log=tmp_path / "runs.db", config=configured()) as runner, Runner(log=tmp_path / "runs.db") as other:
        result = await runner.run(clerk("t1", order=order(after=begin)), user_message="go")
        await asyncio.gather(*tasks)
    assert (result.state, result.final_text) == ("completed", "here")


async def test_what_is_resolved_while_nobody_runs_the_run_is_there_when_it_is_resumed(tmp_path: Path) -> None:
    parked = configured(background_tool_at_end="park")
    described = clerk("t1", "t2")
    result = await Runner(log=tmp_path / "runs.db", config=parked).run(described, user_message="go")
    assert (result.state, result.error) == ("interrupted", "waits for background tools: order (ticket t1), order (ticket t2)")
    assert result.state_snapshot.open_tickets == 2
    other = Runner(log=tmp_path / "runs.db")
    await other.fail_background_tool(**named(result, "t1"), error="sold out")
    (posted,) = [one for one in await listed(other, result, include_resolved=True) if one["status"] == "failed"]
    assert (posted["error"], posted["taken_in"]) == ("sold out", False)
    again = await Runner(log=tmp_path / "runs.db", config=parked).resume(described, run_id=result.run_id)
    assert (again.state, "sold out" in again.final_text) == ("interrupted", True)
    await other.resolve_background_tool(**named(result, "t2"), output="here")
    last = await Runner(log=tmp_path / "runs.db", config=parked).resume(described, run_id=result.run_id)
    assert (last.state, last.final_text) == ("completed", "here")
    records = [(record.tool_call_id, record.success, record.output, record.error) for record in last.tool_executions]
    assert records == [("c1", False, None, "sold out"), ("c2", True, "here", None)]


async def listed(runner: Runner, run: AgentRunHandle | AgentResult, **more: Any) -> list[dict[str, Any]]:
    return await runner.list_background_tools(thread_id=run.thread_id, run_id=run.run_id, **more)


async def test_a_run_may_end_and_say_what_had_not_ended_and_its_thread_remembers() -> None:
    model = ScriptedModel([asks(("order", {"ticket": "t1"})), "ordered it", "hello again"])
    described = agent(model, order())
    async with Runner(log=":memory:", config=configured(background_tool_at_end="report")) as runner:
        result = await runner.run(described, user_message="go")
        assert (result.state, result.error) == ("degraded", "background tool order (ticket t1) had not ended")
        await runner.run(described, user_message="and now?", thread_id=result.thread_id)
        (gone,) = await listed(runner, result, include_resolved=True)
        assert await listed(runner, result) == []
        with pytest.raises(UsageError, match=r"has ended \(degraded\)"):
            await runner.resolve_background_tool(**named(result, "t1"))
    assert gone["status"] == "abandoned"
    assert "(ticket t1) had not ended when this run did" in model.requests[-1].messages[-2].content


@pytest.mark.parametrize(("at_once", "asked"), [(True, 4), (False, 3)])
async def test_it_goes_on_with_the_first_result_or_with_the_last(at_once: bool, asked: int) -> None:
    described = clerk("t1", "t2")
    async with Runner(log=":memory:", config=configured(background_tool_interrupt_on_resolve=at_once)) as runner:
        handle = await runner.run_handle(described, user_message="go")
        await answered(handle)
        await runner.resolve_background_tool(**named(handle, "t1"), output="one")
        if at_once:
            await answered(handle, 3)
        await runner.resolve_background_tool(**named(handle, "t2"), output="two")
        result = await handle.await_result()
    assert isinstance(described.model, ScriptedModel)
    assert (result.final_text, len(described.model.requests)) == ("two", asked)


async def test_a_result_within_the_grace_is_in_the_next_request() -> None:
    described = clerk("t1")
    async with Runner(log=":memory:", config=configured(background_tool_default_grace_s=60)) as runner:
        handle = await runner.run_handle(described, user_message="go")
        async for event in handle.events:
            if event.type == "tool_deferred":
                await runner.resolve_background_tool(**named(handle, "t1"), output="here")
        result = await handle.await_result()
    assert isinstance(described.model, ScriptedModel)
    assert (result.final_text, len(described.model.requests)) == ("here", 2)


async def test_a_grace_that_passes_without_a_result_lets_the_run_go_on() -> None:
    clock = SimulatedClock()
    config = configured(background_tool_default_grace_s=60, background_tool_at_end="report")
    async with Runner(log=":memory:", config=config, clock=clock) as runner:
        handle = await runner.run_handle(clerk("t1"), user_message="go")
        result = await in_time(clock, handle)
        events = await log_of(runner, result.run_id)
    assert result.state == "degraded"
    assert [event.data["timer"].split(":")[0] for event in only(events, "timer_fired")] == ["grace"]
    assert 60 <= (only(events, "step_started")[1].at - only(events, "tool_deferred")[0].at).total_seconds() < 70


async def test_under_a_simulated_clock_a_worker_may_take_its_time() -> None:
    """Time jumps to the worker's end, and not beyond it to the ticket's before the worker has said a word."""
    clock = SimulatedClock(autojump_threshold_s=0.2)
    work: list[asyncio.Task[None]] = []

    async def worker(ctx: ToolContext) -> None:
        await clock.sleep(600)
        await asyncio.sleep(0.02)  # What it does then takes a moment of real time.
        await runner.resolve_background_tool(thread_id=ctx.thread_id, run_id=ctx.run_id, ticket_id="t1", output="here")

    async with Runner(log=":memory:", config=configured(), clock=clock) as runner:
        by_worker = order(after=lambda ctx: work.append(asyncio.create_task(worker(ctx))))
        result = await runner.run(clerk("t1", order=by_worker), user_message="go")
    assert (result.final_text, clock.monotonic()) == ("here", 600)


async def in_time(clock: SimulatedClock, handle: AgentRunHandle) -> AgentResult:
    """The result, with a tenth of a second for every turn of the event loop: whoever has something to do comes to it."""
    while not handle.done:
        clock.advance(0.1)
        await asyncio.sleep(0)
    return await handle.await_result()


# ---------------------------------------------------------------------------------------------------------------------------- expiry


@pytest.mark.parametrize(("term", "ttl_s", "waited_s"), [(None, 90.0, 90), (30.0, 90.0, 30)])
async def test_what_nobody_resolves_expires_and_the_model_is_told(term: float | None, ttl_s: float, waited_s: float) -> None:
    clock = SimulatedClock(autojump_threshold_s=0.02)
    async with Runner(log=":memory:", config=configured(background_tool_result_ttl_s=ttl_s), clock=clock) as runner:
        result = await runner.run(clerk("t1", order=order(expires_in_s=term)), user_message="go")
        (record,) = await listed(runner, result, include_resolved=True)
    assert (result.state, record["status"], clock.monotonic()) == ("completed", "expired", waited_s)
    assert f"no result came within {waited_s:g} s" in result.final_text
    assert [(one.success, one.error, one.latency_ms) for one in result.tool_executions] == [(False, record["error"], waited_s * 1000)]


async def test_what_expired_while_nobody_ran_the_run_is_found_by_the_next_owner(tmp_path: Path) -> None:
    clock = SimulatedClock()
    config = configured(background_tool_at_end="park")
    runner = Runner(log=tmp_path / "runs.db", config=config, clock=clock)
    described = clerk("t1")
    result = await runner.run(described, user_message="go")
    clock.advance(3600)
    result = await Runner(log=tmp_path / "runs.db", config=config, clock=clock).resume(described, run_id=result.run_id)
    assert (result.state, "it expired" in result.final_text) == ("completed", True)


async def test_waiting_is_running_time() -> None:
    clock = SimulatedClock()
    async with Runner(log=":memory:", config=configured(), clock=clock) as runner:
        handle = await runner.run_handle(clerk("t1", fail_safe=limits(max_wall_time_s=60)), user_message="go")
        result = await in_time(clock, handle)
    assert result.state == "interrupted"
    assert result.state_snapshot.elapsed_s == pytest.approx(60, abs=1)


# ------------------------------------------------------------------------------------------------------------------------ the maximum


async def test_of_many_deferrals_at_once_exactly_as_many_as_may_be_are_taken() -> None:
    tickets = [f"t{number}" for number in range(12)]
    config = configured(background_tool_max_pending=5, background_tool_at_end="report")
    async with Runner(log=":memory:", config=config) as runner:
        result = await runner.run(clerk(*tickets), user_message="go")
        events = await log_of(runner, result.run_id)
        records = await listed(runner, result, include_resolved=True)
    assert (result.state_snapshot.open_tickets, len(records)) == (5, 5)
    assert len(only(events, "tool_deferred")) == 12, "they did defer, and the log says so"
    refused = [record for record in result.tool_executions if not record.success]
    assert len(refused) == len(result.tool_executions) == 7
    assert {record.error for record in refused} == {
        "background_tool_max_pending reached: 5 results are waited for; this call's will not be taken"
    }
    assert not list(problems(events))


async def test_an_id_that_is_taken_is_refused_and_the_first_call_keeps_its_ticket() -> None:
    async with Runner(log=":memory:", config=configured()) as runner:
        handle = await waiting(runner, "same", "same")
        await runner.resolve_background_tool(**named(handle, "same"), output="first")
        result = await handle.await_result()
    assert [(record.tool_call_id, record.success) for record in result.tool_executions] == [("c2", False), ("c1", True)]
    assert "ticket 'same' is open already" in (result.tool_executions[0].error or "")


async def test_where_background_tools_are_not_enabled_the_model_is_told() -> None:
    async with Runner(log=":memory:", config=configured(background_tools_enabled=False)) as runner:
        result = await runner.run(clerk("t1"), user_message="go")
    assert (result.state, "background_tools_enabled" in result.final_text) == ("completed", True)


async def test_five_hundred_tickets_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFK_ES_ALWAYS_REPLAY")  # A fold from zero after every write is quadratic.
    tickets = [f"t{number}" for number in range(500)]
    config = configured(background_tool_max_pending=500, background_tool_interrupt_on_resolve=False, durability="normal")
    async with Runner(log=tmp_path / "runs.db", config=config) as runner:
        handle = await waiting(runner, *tickets, fail_safe=limits(max_tool_calls=500))
        assert len(await listed(runner, handle)) == 500
        await asyncio.gather(*(runner.resolve_background_tool(**named(handle, ticket), output=ticket) for ticket in tickets))
        result = await handle.await_result()
        events = await log_of(runner, handle.run_id)
    assert (result.state, len(result.tool_executions), result.state_snapshot.open_tickets) == ("completed", 500, 0)
    assert sorted(record.output for record in result.tool_executions) == sorted(tickets)
    assert not only(events, "warning")
    assert not list(problems(events))


# ------------------------------------------------------------------------------------------------------------------- what goes wrong


async def test_wrong_use_says_so_and_posts_nothing() -> None:
    async with Runner(log=":memory:", config=configured()) as runner:
        handle = await waiting(runner, "t1", "t2")
        wrong: tuple[tuple[type[Exception], str, dict[str, Any]], ...] = (
            (UsageError, r"has no ticket 't9'; open are: 't1', 't2'", {"ticket_id": "t9"}),
            (UsageError, "belongs to thread", {"thread_id": "thread_of_others"}),
            (RunNotFoundError, "has no run", {"run_id": "run_nowhere"}),
            (ConfigurationError, "ticket_id is a non-empty string", {"ticket_id": ""}),
            (ConfigurationError, "cannot be rendered as JSON", {"output": object()}),
        )
        for error, match, arguments in wrong:
            with pytest.raises(error, match=match):
                await runner.resolve_background_tool(**{**named(handle, "t1"), **arguments})
        with pytest.raises(ConfigurationError, match="error is a non-empty string"):
            await runner.fail_background_tool(**named(handle, "t1"), error="")
        with pytest.raises(UsageError, match="belongs to thread"):
            await runner.list_background_tools(thread_id="thread_of_others", run_id=handle.run_id)
        assert await runner.log.posted() == 0
        await handle.cancel()
        await handle.await_result()
        with pytest.raises(UsageError, match=r"has ended \(cancelled\)"):
            await runner.fail_background_tool(**named(handle, "t1"), error="late")


async def test_the_first_word_on_a_ticket_holds() -> None:
    async with Runner(log=":memory:", config=configured(background_tool_interrupt_on_resolve=False)) as runner:
        handle = await waiting(runner, "t1", "t2")
        ends = [runner.resolve_background_tool(**named(handle, "t1"), output=number) for number in range(5)]
        told = await asyncio.gather(*ends, return_exceptions=True)
        with pytest.raises(UsageError, match="has ended: resolved"):
            await runner.fail_background_tool(**named(handle, "t1"), error="no")
        await runner.resolve_background_tool(**named(handle, "t2"), output="two")
        result = await handle.await_result()
        events = await log_of(runner, handle.run_id)
    assert sum(one is None for one in told) == 1
    assert all(one is None or "ended by somebody else" in str(one) or "has ended: resolved" in str(one) for one in told)
    assert result.tool_executions[0].output == told.index(None)
    assert len(only(events, "tool_background_resolved")) == 2


async def test_whoever_is_overtaken_between_looking_and_posting_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Runner(log=":memory:", config=configured()) as runner:
        handle = await waiting(runner, "t1")
        post = runner.log.post

        async def overtaken(run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
            await post(run_id, Draft(draft.type, {**draft.data, "output": "quicker"}), at=at)
            return await post(run_id, draft, at=at)

        monkeypatch.setattr(runner.log, "post", overtaken)
        with pytest.raises(UsageError, match="was ended by somebody else at this moment: resolved"):
            await runner.resolve_background_tool(**named(handle, "t1"), output="slower")
        result = await handle.await_result()
    assert result.final_text == "quicker"


async def test_what_is_kept_of_runs_is_bounded_and_read_again_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.core.tickets._KEPT", 1)
    async with Runner(log=":memory:", config=configured()) as runner:
        handles = [await waiting(runner, "t1", "t2") for _ in range(3)]
        for ticket in ("t1", "t2"):
            for handle in handles:
                await runner.resolve_background_tool(**named(handle, ticket), output=handle.run_id)
        results = [await handle.await_result() for handle in handles]
    assert [result.final_text for result in results] == [handle.run_id for handle in handles]


async def test_a_letter_that_comes_too_late_is_a_warning() -> None:
    async with Runner(log=":memory:", config=configured()) as runner:
        handle = await waiting(runner, "t1", "t2")
        data = {"tool_name": "order", "tool_call_id": "c1", "ticket_id": "t1", "output": "twice"}
        for _ in range(2):
            await runner.log.post(handle.run_id, Draft("tool_background_resolved", data), at=SystemClock().now())
        await runner.resolve_background_tool(**named(handle, "t2"), output="two")
        result = await handle.await_result()
        events = await log_of(runner, handle.run_id)
    assert result.state == "completed"
    assert "ticket 't1' is not open" in only(events, "warning")[0].message
    assert len(result.tool_executions) == 2


async def test_a_ticket_that_is_not_opened_after_all_is_no_ticket() -> None:
    """The tool that was about to return fails instead."""
    told: list[BaseException | None] = []
    task: list[asyncio.Task[None]] = []
    begun = asyncio.Event()

    async def resolve(ctx: ToolContext) -> None:
        begun.set()
        try:
            await runner.resolve_background_tool(thread_id=ctx.thread_id, run_id=ctx.run_id, ticket_id="t1", output="here")
        except UsageError as error:
            told.append(error)

    @tool(name="order")
    async def failing(ticket: str, ctx: ToolContext) -> str:
        """Begins, and then fails."""
        task.append(asyncio.create_task(resolve(ctx)))
        await begun.wait()
        raise ValueError("no stock")

    async with Runner(log=":memory:", config=configured()) as runner:
        result = await runner.run(clerk("t1", order=failing), user_message="go")
        await task[0]
    assert result.state == "completed"
    assert len(told) == 1


# ------------------------------------------------------------------------------------------------------------------------- what is seen


async def test_a_stream_tells_of_tickets() -> None:
    async with Runner(log=":memory:", config=configured()) as runner:
        stream = await runner.run_stream(clerk("t1", "t2"), user_message="go")
        seen = []
        async for event in stream:
            if event.type.startswith(("tool_background", "tool_deferred")):
                seen.append((event.type, event.ticket_id, event.tool_success, event.tool_output, event.tool_error))
            if event.type == "tool_deferred" and len(seen) == 2:
                ids = {"thread_id": stream.thread_id, "run_id": stream.run_id}
                await runner.resolve_background_tool(**ids, ticket_id="t1", output=1)
                await runner.fail_background_tool(**ids, ticket_id="t2", error="no")
    assert seen[:2] == [("tool_deferred", "t1", None, None, None), ("tool_deferred", "t2", None, None, None)]
    assert seen[2:] == [("tool_background_resolved", "t1", True, 1, None), ("tool_background_failed", "t2", False, None, "no")]
    assert stream.result.state == "completed"


async def test_a_run_that_waits_can_be_paused_interrupted_and_resumed(tmp_path: Path) -> None:
    described = clerk("t1")
    async with Runner(log=tmp_path / "runs.db", config=configured()) as runner:
        handle = await runner.run_handle(described, user_message="go")
        await answered(handle)
        await handle.pause()
        await runner.resolve_background_tool(**named(handle, "t1"), output="here")
        async for event in handle.events:
            if event.type == "tool_background_resolved":
                break
        await handle.interrupt()
        assert (await handle.await_result()).state == "interrupted"
        result = await runner.resume(described, run_id=handle.run_id)
        events = await log_of(runner, handle.run_id)
    assert (result.state, result.final_text) == ("completed", "here")
    assert types(events).count("llm_called") == 3
