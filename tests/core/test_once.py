"""A run under an id of the caller's own happens, and happens once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import ConfigurationError, RunExistsError
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool


def asks(name: str, **arguments: object) -> LLMResponse:
    return LLMResponse(tool_calls=(ToolCall("c1", name, dict(arguments)),))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


async def test_a_run_has_the_id_that_was_asked_for(log: Path) -> None:
    result = await Runner(log=log).run(Agent(model=ScriptedModel(["hello"])), user_message="hi", run_id="order-17")
    assert (result.run_id, result.final_text) == ("order-17", "hello")


@pytest.mark.parametrize("start", ["run", "run_handle", "run_stream"])
async def test_an_id_that_is_taken_is_refused_and_nothing_is_written(log: Path, start: str) -> None:
    runner = Runner(log=log)
    await runner.run(Agent(model=ScriptedModel(["hello"])), run_id="order-17")
    with pytest.raises(RunExistsError, match="order-17"):
        await getattr(runner, start)(Agent(model=ScriptedModel(["hello"])), run_id="order-17")
    async with runner:
        assert len(await runner.log.runs()) == 1


@pytest.mark.parametrize("run_id", ["", "a b", "../x", "x" * 129, ".x", 7])
async def test_an_id_that_could_not_be_told_on_a_command_line_is_refused(log: Path, run_id: str) -> None:
    with pytest.raises(ConfigurationError, match="run_id is of 1 to 128"):
        await Runner(log=log).run(Agent(model=ScriptedModel(["hello"])), run_id=run_id)


async def test_asking_twice_runs_once(log: Path) -> None:
    runner = Runner(log=log)
    agent = Agent(model=ScriptedModel(["hello"]))
    async with runner:
        for _ in range(2):
            run = await runner.run_once(agent, run_id="order-17", by="test", user_message="hi")
            assert (await run.await_result()).final_text == "hello"


async def test_many_who_ask_at_once_get_one_run(log: Path) -> None:
    calls = 0

    @tool
    async def work() -> str:
        """Work."""
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return "done"

    agent = Agent(model=ScriptedModel([asks("work"), "hello"]), tools=[work])
    runners = [Runner(log=log) for _ in range(4)]

    async def asked(runner: Runner) -> str:
        async with runner:
            return (await (await runner.run_once(agent, run_id="order-17", by="test")).await_result()).final_text

    assert await asyncio.gather(*map(asked, runners)) == ["hello"] * 4
    assert calls == 1


async def test_a_run_that_was_laid_down_goes_on(log: Path) -> None:
    started = asyncio.Event()
    go = asyncio.Event()

    @tool(read_only=True)
    async def work() -> str:
        """Work."""
        started.set()
        await go.wait()
        return "done"

    agent = Agent(model=ScriptedModel([asks("work"), "hello"]), tools=[work])
    runner = Runner(log=log)
    async with runner:
        handle = await runner.run_handle(agent, run_id="order-17")
        await started.wait()
        await handle.interrupt()
        assert (await handle.await_result()).state == "interrupted"
        go.set()
        run = await runner.run_once(agent, run_id="order-17", by="test")
        assert (await run.await_result()).final_text == "hello"


@pytest.mark.parametrize(
    ("what", "message", "thread"),
    [("message", "something else", None), ("thread", "hi", "another-thread")],
)
async def test_an_id_stands_for_one_request(log: Path, what: str, message: str, thread: str | None) -> None:
    runner = Runner(log=log)
    async with runner:
        await (await runner.run_once(Agent(model=ScriptedModel(["hello"])), run_id="order-17", by="test", user_message="hi")).await_result()
        with pytest.raises(RunExistsError, match=f"another {what}"):
            await runner.run_once(
                Agent(model=ScriptedModel(["hello"])), run_id="order-17", by="test", user_message=message, thread_id=thread
            )


async def test_live_has_the_progress_of_tools_and_the_log_has_not(log: Path) -> None:
    @tool
    def work(ctx: ToolContext) -> str:
        """Work."""
        ctx.report_progress(1, 2, "half of it")
        return "done"

    agent = Agent(model=ScriptedModel([asks("work"), "hello"]), tools=[work])
    runner = Runner(log=log)
    async with runner:
        run = await runner.run_once(agent, run_id="order-17", by="test", streamed=True)
        seen: list[AgentRunEvent] = [event async for event in run.live()]
        stored = [event async for event in run.events]
    (told,) = [event for event in seen if event.type == "tool_progress"]
    assert told.data == {"tool_name": "work", "tool_call_id": "c1", "progress": 1.0, "total": 2}
    assert told.message == "half of it"
    assert "text_delta" in {event.type for event in seen}
    assert {event.type for event in seen} - {event.type for event in stored} == {"tool_progress", "text_delta"}


async def test_events_after_a_seq_are_the_rest(log: Path) -> None:
    runner = Runner(log=log)
    async with runner:
        run = await runner.run_once(Agent(model=ScriptedModel(["hello"])), run_id="order-17", by="test")
        whole = [event async for event in run.events]
        for after in range(len(whole) + 1):
            assert [event async for event in run.live(after=after) if event.type != "text_delta"] == whole[after:]


async def test_what_is_left_out_is_not_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A watcher that comes again after each of many stops would otherwise read a long run as often."""
    runner = Runner(log=log)
    async with runner:
        run = await runner.run_once(Agent(model=ScriptedModel(["hello"])), run_id="order-17", by="test")
        await run.await_result()
        head = await runner.log.head("order-17")
        assert head is not None
        read, behind = runner.log.read, []

        async def noted(run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
            behind.append(after)
            return await read(run_id, after=after, limit=limit)

        monkeypatch.setattr(runner.log, "read", noted)
        assert [event.type async for event in run.live(after=head.seq - 1)] == ["run_completed"]
    assert min(behind) == head.seq - 1


async def test_a_run_is_driven_elsewhere_where_another_runner_drives_it(log: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    @tool
    async def work() -> str:
        """Work."""
        begun.set()
        await go.wait()
        return "done"

    agent = Agent(model=ScriptedModel([asks("work"), "hello"]), tools=[work])
    async with Runner(log=log) as here, Runner(log=log) as there:
        own = await here.run_once(agent, run_id="order-17", by="test")
        await begun.wait()
        joined = await there.attach(run_id="order-17", by="test")
        assert [await run.driven_elsewhere() for run in (own, joined)] == [False, True]
        go.set()
        await own.await_result()
        assert [await run.driven_elsewhere() for run in (own, joined)] == [False, False]


async def test_live_misses_nothing_of_a_run_that_is_over_before_anybody_looks(log: Path) -> None:
    @tool
    async def work(ctx: ToolContext) -> str:
        """Work."""
        ctx.report_progress(1)
        return "done"

    runner = Runner(log=log)
    async with runner:
        agent = Agent(model=ScriptedModel([asks("work"), "hello"]), tools=[work])
        run = await runner.run_once(agent, run_id="order-17", by="test", streamed=True)
        await run.await_result()
        first = [event.type async for event in run.live()]
        again = [event.type async for event in run.live()]
    assert {"tool_progress", "text_delta"} <= set(first)
    assert [kind for kind in first if kind not in ("tool_progress", "text_delta")] == again


async def test_nobody_is_told_of_a_run_that_nobody_watches_any_more(log: Path) -> None:
    runner = Runner(log=log)
    async with runner:
        for number in range(3):
            run = await runner.run_once(Agent(model=ScriptedModel(["hello"])), run_id=f"order-{number}", by="test")
            await run.await_result()
            del run
        assert not runner._news._watchers
