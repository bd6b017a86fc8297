"""contract.md, "Runner": its constructor, the table of methods, and what all of them promise."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from afk_es import Agent, PolicyEngine, PolicyRule, Runner
from afk_es.core import AgentResult, AgentRunEvent, AgentRunHandle, AgentStreamHandle, RunnerConfig
from afk_es.errors import (
    AgentMismatchError,
    RunCancelledError,
    RunDegradedError,
    RunFailedError,
    RunInterruptedError,
    UsageError,
)
from afk_es.log import open_log
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolDeferredHandle
from tests.core.scenario import Counted, Stuck, StuckModel, agent, asks, laid_down, limits, log_of, model_of, only, says, types

REQUIRED = inspect.Parameter.empty

SIGNATURES: dict[str, dict[str, Any]] = {
    "__init__": {"log": None, "interaction_provider": None, "policy_engine": None, "telemetry": None, "config": None},
    "run_sync": {"user_message": None, "context": None, "thread_id": None},
    "run": {"user_message": None, "context": None, "thread_id": None},
    "run_stream": {"user_message": None, "context": None, "thread_id": None},
    "run_handle": {"user_message": None, "context": None, "thread_id": None},
    "resume": {"run_id": REQUIRED, "thread_id": None},
    "resume_handle": {"run_id": REQUIRED, "thread_id": None},
    "list_background_tools": {"thread_id": REQUIRED, "run_id": REQUIRED, "include_resolved": False},
    "resolve_background_tool": {"thread_id": REQUIRED, "run_id": REQUIRED, "ticket_id": REQUIRED},
    "fail_background_tool": {"thread_id": REQUIRED, "run_id": REQUIRED, "ticket_id": REQUIRED},
    "compact_thread": {"thread_id": REQUIRED},
}
"""Keyword-only parameters of each method with their defaults. `fork` comes with a later issue."""

ALSO = {"resolve_background_tool": "output", "fail_background_tool": "error", "compact_thread": "retention"}
"""Keyword-only parameters whose default the contract leaves open (`output=...`)."""


@pytest.mark.parametrize("method", SIGNATURES)
def test_each_method_has_its_signature(method: str) -> None:
    parameters = inspect.signature(getattr(Runner, method)).parameters
    for name, default in SIGNATURES[method].items():
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY, name
        assert parameters[name].default is default, name
    if method in ALSO:
        assert parameters[ALSO[method]].kind is inspect.Parameter.KEYWORD_ONLY
    others = {name for name, found in parameters.items() if name not in {*SIGNATURES[method], ALSO.get(method), "self", "agent"}}
    assert all(parameters[name].default is not REQUIRED for name in others), "what stands beside them is optional"


@pytest.mark.parametrize("method", ["run_sync", "run", "run_stream", "run_handle", "resume", "resume_handle"])
def test_the_agent_comes_first_and_by_position(method: str) -> None:
    _self, first, *_rest = inspect.signature(getattr(Runner, method)).parameters.values()
    assert (first.name, first.kind) == ("agent", inspect.Parameter.POSITIONAL_OR_KEYWORD)


@pytest.mark.parametrize(
    "method",
    [
        "run", "run_stream", "run_handle", "resume", "resume_handle",
        "list_background_tools", "resolve_background_tool", "fail_background_tool", "compact_thread",
    ],
)  # fmt: skip
def test_each_is_awaited_but_run_sync(method: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Runner, method))
    assert not inspect.iscoroutinefunction(Runner.run_sync)


# --------------------------------------------------------------------------------------------------------------------------- log=


def hello() -> Agent:
    return agent(ScriptedModel(lambda request: says("good morning")))


@pytest.mark.parametrize("kind", ["a path", "a str path", "a sqlite:/// URL", "an EventLog"])
async def test_log_is_a_path_a_sqlite_url_or_an_event_log(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    log: Any = {"a path": path, "a str path": str(path), "a sqlite:/// URL": f"sqlite:////{path.relative_to('/')}"}.get(kind)
    log = log or open_log(path)
    result = await Runner(log=log).run(hello(), user_message="Hello")
    if kind == "an EventLog":
        await log.close()
    async with Runner(log=path) as again:
        assert types(await log_of(again, result.run_id))[-1] == "run_completed"


async def test_log_may_be_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with Runner(log=":memory:") as runner:
        result = await runner.run(hello(), user_message="Hello")
        assert types(await log_of(runner, result.run_id))[-1] == "run_completed"
    assert os.listdir(tmp_path) == []


def test_the_default_log_is_overridable_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFK_ES_LOG", str(tmp_path / "mine.db"))
    assert Runner().run_sync(hello(), user_message="Hello").state == "completed"
    assert os.listdir(tmp_path) == ["mine.db"]


@pytest.mark.skipif(sys.platform != "linux", reason="where the state directory is depends on the system")
def test_the_default_log_is_a_sqlite_file_in_the_users_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AFK_ES_LOG")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert Runner().run_sync(hello(), user_message="Hello").state == "completed"
    (made,) = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert made.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("telemetry", ["console", "json"])
async def test_telemetry_is_console_or_json(telemetry: Any, capfd: pytest.CaptureFixture[str]) -> None:
    async with Runner(log=":memory:", telemetry=telemetry) as runner:
        result = await runner.run(hello(), user_message="Hello")
    told = capfd.readouterr()
    assert result.state == "completed"
    assert "run_completed" in told.err + told.out or "completed" in told.err + told.out


async def test_telemetry_is_a_sink() -> None:
    class Sink:
        def __init__(self) -> None:
            self.told: list[str] = []

        def export(self, event: AgentRunEvent) -> None:
            self.told.append(event.type)

        def flush(self) -> None: ...

        def close(self) -> None: ...

    sink: Any = Sink()
    async with Runner(log=":memory:", telemetry=sink) as runner:
        result = await runner.run(hello(), user_message="Hello")
        assert result.state == "completed"
    assert (sink.told[0], sink.told[-1]) == ("run_started", "run_completed")


async def test_the_runners_policy_engine_is_asked_with_the_agents() -> None:
    work = Counted()
    deny = PolicyRule(rule_id="house", action="deny", condition=lambda event: True, subjects=("tool",))
    allow = PolicyRule(rule_id="agent", action="allow", condition=lambda event: True, subjects=("tool",))
    described = agent([asks(("work", {})), says("ok")], work.tool, policy_engine=PolicyEngine([allow]))
    async with Runner(log=":memory:", policy_engine=PolicyEngine([deny])) as runner:
        result = await runner.run(described, user_message="go")
        (decision,) = [event for event in only(await log_of(runner, result.run_id), "policy_decision") if "tool_name" in event.data]
    assert set(decision.data["matched_rules"]) == {"house", "agent"}


# ----------------------------------------------------------------------------------------------------------------------- run_sync


def test_run_sync_blocks_and_gives_the_result() -> None:
    result = Runner(log=":memory:").run_sync(hello(), user_message="Hello", context={"a": 1}, thread_id="t")
    assert isinstance(result, AgentResult)
    assert (result.state, result.final_text, result.thread_id) == ("completed", "good morning", "t")


async def test_run_sync_inside_a_running_loop_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match=r"await runner\.run"):
        Runner(log=":memory:").run_sync(hello(), user_message="Hello")


def test_a_program_that_calls_run_sync_three_times_and_ends_ends(tmp_path: Path) -> None:
    program = """
        from afk_es import Agent, Runner
        from afk_es.testing import ScriptedModel
        agent = Agent(model=ScriptedModel(lambda request: "hi"))
        runner = Runner()
        print([runner.run_sync(agent, user_message="Hello").state for _ in range(3)])
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "AFK_ES_LOG": str(tmp_path / "runs.db"), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("['completed', 'completed', 'completed']\n", "", 0)


# ---------------------------------------------------------------------------------------------------------------------------- run


async def test_run_is_the_same_awaitable(runner: Runner) -> None:
    result = await runner.run(hello(), user_message="Hello", context={"a": 1}, thread_id="t")
    assert (result.state, result.final_text, result.thread_id) == ("completed", "good morning", "t")


async def test_the_same_thread_id_goes_on_with_the_conversation(runner: Runner) -> None:
    described = hello()
    for message in ("Hello", "And again"):
        await runner.run(described, user_message=message, thread_id="t")
    assert [message.content for message in model_of(described).requests[1].messages] == ["Hello", "good morning", "And again"]


async def test_cancelling_the_awaiting_task_cancels_the_run(runner: Runner) -> None:
    stuck = Stuck()
    task = asyncio.create_task(runner.run(agent([asks(("stuck", {}))], stuck.tool), thread_id="t"))
    await stuck.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (head,) = await runner.log.thread("t")
    assert (head.last_type, stuck.cancelled) == ("run_cancelled", True)


# --------------------------------------------------------------------------------------------------------------------- run_stream


async def test_run_stream_gives_a_handle_with_result_done_and_collect_text(runner: Runner) -> None:
    handle = await runner.run_stream(hello(), user_message="Hello")
    assert isinstance(handle, AgentStreamHandle)
    assert not handle.done
    assert await handle.collect_text() == "good morning"
    assert handle.done
    assert handle.result.final_text == "good morning"


async def test_leaving_the_stream_early_cancels_the_run(runner: Runner) -> None:
    handle = await runner.run_stream(agent([says("a long answer " * 200)]), user_message="Hello")
    async with handle:
        async for event in handle:
            if event.type == "text_delta":
                break
    assert handle.result.state == "cancelled"
    assert types(await log_of(runner, handle.run_id))[-1] == "run_cancelled"


async def test_consumption_drives_the_stream(runner: Runner) -> None:
    work = Counted()
    many = ScriptedModel([*[asks(("work", {"n": n})) for n in range(100)], says("done")])
    handle = await runner.run_stream(agent(many, work.tool, max_steps=200, fail_safe=limits(max_steps=200, max_llm_calls=200)))
    for _ in range(2_000):
        await asyncio.sleep(0)
    assert work.ran < 100, "nobody consumes, so it waits"
    assert await handle.collect_text() == "done"
    assert work.ran == 100


# --------------------------------------------------------------------------------------------------------------------- run_handle


async def test_run_handle_has_events_for_any_number_of_consumers(runner: Runner) -> None:
    handle = await runner.run_handle(hello(), user_message="Hello", thread_id="t")
    assert isinstance(handle, AgentRunHandle)

    async def consumed() -> list[AgentRunEvent]:
        return [event async for event in handle.events]

    one, two = await asyncio.gather(consumed(), consumed())
    result = await handle.await_result()
    assert one == two == await consumed() == await log_of(runner, handle.run_id)
    assert (handle.run_id, handle.thread_id) == (result.run_id, "t")


async def test_the_handle_comes_after_run_started_is_durable(runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    assert types(await log_of(runner, handle.run_id))[0] == "run_started"
    await handle.cancel()
    await handle.await_result()


async def test_pause_and_resume(runner: Runner) -> None:
    stuck, work = Stuck(), Counted()
    described = agent([asks(("stuck", {})), asks(("work", {})), says("done")], stuck.tool, work.tool)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.pause()
    async for event in handle.events:
        if event.state == "paused":
            break
    stuck.let_go.set()
    async for event in handle.events:
        if event.type == "tool_completed":
            break
    for _ in range(50):
        await asyncio.sleep(0)
    assert (len(model_of(described).requests), work.ran) == (1, 0), "what was under way has finished, and nothing else was begun"
    await handle.resume()
    assert ((await handle.await_result()).state, work.ran) == ("completed", 1)


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("interrupt", "interrupted")])
async def test_cancel_and_interrupt(verb: str, state: str, runner: Runner) -> None:
    stuck = Stuck()
    handle = await runner.run_handle(agent([asks(("stuck", {}))], stuck.tool))
    await stuck.begun.wait()
    await getattr(handle, verb)()
    assert ((await handle.await_result()).state, stuck.cancelled) == (state, True)


# ------------------------------------------------------------------------------------------------------------------------- resume


async def test_resume_continues_from_the_log_after_an_interrupt(runner: Runner) -> None:
    work, stuck = Counted(), Stuck(read_only=True)
    described = agent([asks(("work", {})), asks(("stuck", {})), says("done")], work.tool, stuck.tool)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    stuck.let_go.set()
    result = await runner.resume(described, run_id=handle.run_id, thread_id=handle.thread_id)
    assert (result.state, result.final_text, work.ran) == ("completed", "done", 1)
    assert [record.tool_name for record in result.tool_executions] == ["work", "stuck"]


def test_resume_continues_after_a_crash(tmp_path: Path) -> None:
    """The process dies within the first tool of three; another one finishes the run without repeating what had returned."""
    program = """
        import asyncio, os, sys
        from afk_es import Agent, Runner, tool
        from afk_es.llms import LLMResponse, ToolCall
        from afk_es.testing import ScriptedModel

        def note(word):
            with open(sys.argv[2], "a") as journal:
                journal.write(word + "\\n")

        @tool
        def first() -> str:
            "First."
            note("first")
            return "1"

        @tool(read_only=True)
        def second() -> str:
            "Second."
            note("second")
            if sys.argv[1] == "die":
                os.kill(os.getpid(), 9)
            return "2"

        def answer(request):
            done = [message for message in request.messages if message.role == "tool"]
            if len(done) == 2:
                return "finished"
            return LLMResponse(tool_calls=(ToolCall("c", ("first", "second")[len(done)], {}),))

        agent = Agent(model=ScriptedModel(answer), tools=[first, second])
        runner = Runner()
        async def resume():
            async with runner:
                ((run,),) = [await runner.log.runs()]
                print((await runner.resume(agent, run_id=run.run_id)).final_text)
        runner.run_sync(agent, user_message="go") if sys.argv[1] == "die" else asyncio.run(resume())
    """
    journal = tmp_path / "journal"
    environment = {**os.environ, "AFK_ES_LOG": str(tmp_path / "runs.db"), "PYTHONPATH": str(Path(__file__).parents[2])}
    ended = [
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), mode, str(journal)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        for mode in ("die", "go on")
    ]
    assert (ended[0].returncode, ended[1].stdout) == (-9, "finished\n"), ended[1].stderr
    assert journal.read_text().split() == ["first", "second", "second"]


async def test_resume_after_a_pause_whose_process_is_gone(tmp_path: Path) -> None:
    """As far as the log can tell, a process that is gone is one that no longer holds the run."""
    stuck = StuckModel()
    async with Runner(log=tmp_path / "runs.db") as first:
        handle = await first.run_handle(agent(stuck), user_message="go")
        await stuck.asked.wait()
        await handle.pause()
        await handle.interrupt("the process ends")
        await handle.await_result()
    stuck.let_go.set()
    result = await Runner(log=tmp_path / "runs.db").resume(agent(stuck), run_id=handle.run_id)
    assert (result.state, result.final_text) == ("completed", "late")


async def test_resume_handle_watches_the_rest(runner: Runner) -> None:
    stuck = Stuck(read_only=True)
    described = agent([asks(("stuck", {})), says("done")], stuck.tool)
    handle = await runner.run_handle(described)
    await stuck.begun.wait()
    await handle.interrupt()
    await handle.await_result()
    stuck.let_go.set()
    again = await runner.resume_handle(described, run_id=handle.run_id)
    seen = [event async for event in again.events]
    assert (seen[0].type, seen[0].data["resumed"], seen[-1].type) == ("run_started", True, "run_completed")
    assert (await again.await_result()).final_text == "done"


async def test_a_run_that_ended_returns_its_result(runner: Runner) -> None:
    described = agent([asks(("work", {})), says("done")], Counted().tool)
    result = await runner.run(described, user_message="go")
    before = await log_of(runner, result.run_id)
    assert await runner.resume(described, run_id=result.run_id) == result
    assert await log_of(runner, result.run_id) == before


@pytest.mark.parametrize(
    ("change", "named"),
    [({"instructions": "Be rude."}, "instructions"), ({"name": "other"}, "agent_name"), ({"tools": [Counted().tool]}, "work")],
    ids=["instructions", "name", "tools"],
)
async def test_another_agent_than_the_recorded_one_is_a_clear_error_naming_what_differs_unless_allowed(
    change: dict[str, Any], named: str, runner: Runner
) -> None:
    stuck = StuckModel()
    run_id = await laid_down(runner, agent(stuck))
    stuck.let_go.set()
    with pytest.raises(AgentMismatchError, match=named) as raised:
        await runner.resume(agent(stuck, **change), run_id=run_id)
    assert "allow_agent_change" in str(raised.value)
    result = await runner.resume(agent(stuck, **change), run_id=run_id, allow_agent_change=True)
    assert result.state == "completed"


# --------------------------------------------------------------------------------------------------------------- background tools


def deferring(**fields: Any) -> Agent:
    """An agent with a tool that goes on in the background, and another one that is at once there."""

    async def report() -> ToolDeferredHandle:
        """Make the report."""
        return ToolDeferredHandle(ticket_id="t1", summary="the report is being made")

    def answer(request: Any) -> Any:
        told = " ".join(message.content for message in request.messages)
        if "42 pages" in told or "printer" in told:
            return says("I have it")
        return says("not there yet") if any(message.role == "tool" for message in request.messages) else asks(("report", {}))

    return agent(ScriptedModel(answer), report, **fields)


async def waiting_ticket(runner: Any) -> AgentRunHandle:
    handle: AgentRunHandle = await runner.run_handle(deferring(), user_message="go")
    async for event in handle.events:
        if event.type == "tool_deferred":
            break
    return handle


async def test_list_background_tools_from_any_process(tmp_path: Path) -> None:
    config = RunnerConfig(background_tool_poll_interval_s=0.01)
    async with Runner(log=tmp_path / "runs.db", config=config) as first:
        handle = await waiting_ticket(first)
        other: Any = Runner(log=tmp_path / "runs.db")
        (ticket,) = await other.list_background_tools(thread_id=handle.thread_id, run_id=handle.run_id)
        assert isinstance(ticket, dict)
        assert (ticket["ticket_id"], ticket["tool_name"]) == ("t1", "report")
        await other.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", output="42 pages")
        result = await handle.await_result()
        assert await other.list_background_tools(thread_id=handle.thread_id, run_id=handle.run_id) == []
        (ended,) = await other.list_background_tools(thread_id=handle.thread_id, run_id=handle.run_id, include_resolved=True)
        assert ended["ticket_id"] == "t1"
    assert (result.state, result.final_text) == ("completed", "I have it")


async def test_fail_background_tool(tmp_path: Path) -> None:
    config = RunnerConfig(background_tool_poll_interval_s=0.01)
    async with Runner(log=tmp_path / "runs.db", config=config) as first:
        handle = await waiting_ticket(first)
        other: Any = Runner(log=tmp_path / "runs.db")
        await other.fail_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", error="no printer")
        result = await handle.await_result()
        events = await log_of(first, handle.run_id)
    assert (result.state, result.final_text) == ("completed", "I have it")
    (failed,) = only(events, "tool_background_failed")
    assert failed.data["error"] == "no printer"


async def test_a_ticket_is_resolved_while_no_process_runs_the_run(tmp_path: Path) -> None:
    async with Runner(log=tmp_path / "runs.db") as first:
        handle = await waiting_ticket(first)
        await handle.interrupt()
        await handle.await_result()
    other: Any = Runner(log=tmp_path / "runs.db")
    await other.resolve_background_tool(thread_id=handle.thread_id, run_id=handle.run_id, ticket_id="t1", output="42 pages")
    result = await other.resume(deferring(), run_id=handle.run_id)
    assert (result.state, result.final_text) == ("completed", "I have it")


@pytest.mark.parametrize("verb", ["resolve_background_tool", "fail_background_tool"])
async def test_an_unknown_ticket_is_an_error(verb: str, runner: Any) -> None:
    run_id = await laid_down(runner, agent(StuckModel()))
    before = await log_of(runner, run_id)
    said = {"output": 1} if verb == "resolve_background_tool" else {"error": "x"}
    with pytest.raises(UsageError, match="t9"):
        await getattr(runner, verb)(thread_id=before[0].thread_id, run_id=run_id, ticket_id="t9", **said)
    assert await log_of(runner, run_id) == before


# ----------------------------------------------------------------------------------------------------------------- compact_thread


async def talked(runner: Runner, turns: int) -> None:
    described = agent(ScriptedModel(lambda request: says(f"answer {len(request.messages)} {'and more ' * 30}")))
    for number in range(turns):
        await runner.run(described, user_message=f"question {number}", thread_id="t")


async def seen_on(runner: Runner) -> list[str]:
    described = agent([says("ok")])
    await runner.run(described, user_message="and now?", thread_id="t")
    return [message.content for message in model_of(described).requests[0].messages]


@pytest.mark.parametrize("unit", ["max_tokens", "max_messages", "max_turns"])
async def test_compact_thread_drops_old_turns_from_what_the_model_sees_by_tokens_messages_or_turns(unit: str, runner: Any) -> None:
    from afk_es import core

    retention: Any = getattr(core, "RetentionPolicy")  # noqa: B009 - not there yet
    await talked(runner, 6)
    before = [(run.run_id, await log_of(runner, run.run_id)) for run in await runner.log.thread("t")]
    await runner.compact_thread(thread_id="t", retention=retention(**{unit: {"max_tokens": 200, "max_messages": 4, "max_turns": 2}[unit]}))
    seen = await seen_on(runner)
    assert "question 0" not in seen
    assert "question 5" in seen
    for run_id, events in before:
        assert await log_of(runner, run_id) == events, "the log keeps everything"


async def test_compact_thread_is_an_event(runner: Any) -> None:
    from afk_es import core

    retention: Any = getattr(core, "RetentionPolicy")  # noqa: B009 - not there yet
    await talked(runner, 6)
    await runner.compact_thread(thread_id="t", retention=retention(max_messages=2))
    await seen_on(runner)
    kinds = {event.type for head in await runner.log.thread("t") for event in await log_of(runner, head.run_id)}
    assert "thread_compacted" in kinds


async def test_compact_thread_with_a_summariser(runner: Any) -> None:
    from afk_es import core

    retention: Any = getattr(core, "RetentionPolicy")  # noqa: B009 - not there yet
    await talked(runner, 6)
    await runner.compact_thread(thread_id="t", retention=retention(max_messages=2, summariser=ScriptedModel(["They greeted."])))
    assert any("They greeted." in content for content in await seen_on(runner))


# ------------------------------------------------------------------------------------------ "an AgentResult for every terminal state"

Door = Callable[[Runner, Agent], Awaitable[AgentResult]]


async def by_run(runner: Runner, described: Agent) -> AgentResult:
    return await runner.run(described, user_message="go")


async def by_run_sync(runner: Runner, described: Agent) -> AgentResult:
    return await asyncio.to_thread(Runner(log=":memory:").run_sync, described, user_message="go")


async def by_stream(runner: Runner, described: Agent) -> AgentResult:
    handle = await runner.run_stream(described, user_message="go")
    await handle.collect_text()
    return handle.result


async def by_handle(runner: Runner, described: Agent) -> AgentResult:
    return await (await runner.run_handle(described, user_message="go")).await_result()


async def by_resume(runner: Runner, described: Agent) -> AgentResult:
    return await runner.resume(described, run_id=(await by_run(runner, described)).run_id)


ENDINGS: dict[str, tuple[Any, dict[str, Any]]] = {
    "completed": ([says("done")], {}),
    "failed": ([ValueError("no")], {}),
    "degraded": ([ValueError("no")], {"fail_safe": limits(llm_failure_policy="degrade")}),
}
RAISED = {"failed": RunFailedError, "degraded": RunDegradedError, "cancelled": RunCancelledError, "interrupted": RunInterruptedError}


@pytest.mark.parametrize("state", ENDINGS)
@pytest.mark.parametrize("door", [by_run, by_run_sync, by_stream, by_handle, by_resume])
async def test_every_door_returns_a_result_and_raise_for_state_raises_the_typed_error(door: Door, state: str, runner: Runner) -> None:
    script, fields = ENDINGS[state]
    result = await door(runner, agent(script, **fields))
    assert isinstance(result, AgentResult)
    assert result.state == state
    if state == "completed":
        assert result.raise_for_state() is result
    else:
        with pytest.raises(RAISED[state]) as raised:
            result.raise_for_state()
        assert raised.value.result is result


@pytest.mark.parametrize(("verb", "state"), [("cancel", "cancelled"), ("interrupt", "interrupted")])
async def test_a_run_that_was_stopped_has_a_result_too(verb: str, state: str, runner: Runner) -> None:
    stuck = StuckModel()
    handle = await runner.run_handle(agent(stuck))
    await stuck.asked.wait()
    await getattr(handle, verb)()
    result = await handle.await_result()
    assert result.state == state
    with pytest.raises(RAISED[state]):
        result.raise_for_state()


# --------------------------------------------------------------------------------- "wrong use raises before anything is written"


@pytest.mark.parametrize("door", ["run", "run_handle", "run_stream"])
@pytest.mark.parametrize("thread_id", ["", "  "])
async def test_an_empty_thread_id_raises_before_anything_is_written(door: str, thread_id: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="thread_id"):
        await getattr(Runner(log=tmp_path / "runs.db"), door)(hello(), user_message="Hello", thread_id=thread_id)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("run_id", ["", "nowhere"])
async def test_an_empty_or_unknown_run_id_raises_and_writes_nothing(run_id: str, runner: Runner) -> None:
    with pytest.raises(UsageError):
        await runner.resume(hello(), run_id=run_id)
    assert await runner.log.runs() == []


def test_interactive_mode_without_a_provider_raises(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="interaction_provider"):
        Runner(log=tmp_path / "runs.db", config=RunnerConfig(interaction_mode="interactive")).run_sync(hello(), user_message="Hello")
    assert os.listdir(tmp_path) == []
