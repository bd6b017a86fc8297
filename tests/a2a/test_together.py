"""Our client and our server: agents that ask one another across processes' borders, each with its own log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from afk_es.a2a import A2AClient, A2AServer, ApiKeys, RemoteTaskError
from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule
from afk_es.core import Runner
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.testing import CrashScenario, ScriptedModel, crash_everywhere
from afk_es.tools import tool

UNLIMITED = FailSafeConfig(max_wall_time_s=None)


def clerk(paid: list[str], *, asks: bool = False) -> Agent:
    """Pays what it is told to, after a yes where it has to ask."""

    @tool
    async def pay(item: str) -> str:
        """Pay."""
        paid.append(item)
        return f"paid {item}"

    def answer(request: LLMRequest) -> LLMResponse:
        last = request.messages[-1]
        if last.role == "user":
            return LLMResponse(tool_calls=(ToolCall("c1", "pay", {"item": last.content}),), usage=Usage(10, 5, 15), cost_usd=0.25)
        return LLMResponse(text=f"done: {last.content.splitlines()[-1]}", usage=Usage(20, 2, 22), cost_usd=0.25)

    rules = [PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "pay")] if asks else []
    return Agent(name="clerk", model=ScriptedModel(answer), tools=[pay], policy_engine=PolicyEngine(rules))


def boss(*subagents: Agent) -> Agent:
    """Hands what it is told to its first subagent, and tells what came of it."""

    def turn(request: LLMRequest) -> LLMResponse | str:
        last = request.messages[-1]
        if last.role == "tool":
            return f"the clerk says: {last.content.splitlines()[-1]}"
        return LLMResponse(tool_calls=(ToolCall("c1", f"transfer_to_{subagents[0].name}", {"task": last.content}),))

    return Agent(name="boss", model=ScriptedModel(turn), subagents=subagents)


@contextmanager
def in_a_thread(server: A2AServer) -> Iterator[str]:
    """The server over HTTP, in an event loop of its own; its address."""
    url: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        async with server.serve() as served:
            url.append(served.url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield url[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(30)


async def test_a_served_agent_is_a_subagent_with_usage_and_cost() -> None:
    paid: list[str] = []
    async with A2AServer(clerk(paid), log=":memory:").serve() as served:
        team = boss(A2AClient(served.url).agent(name="remote"))
        result = await Runner(log=":memory:").run(team, user_message="tea")
    assert (result.final_text, paid) == ("the clerk says: done: paid tea", ["tea"])
    assert (result.usage_aggregate.total_tokens, result.total_cost_usd) == (37, 0.5)


async def test_its_text_is_watched_as_it_comes() -> None:
    async with A2AServer(clerk([]), log=":memory:").serve() as served:
        updates = [update async for update in A2AClient(served.url).stream("tea")]
    assert "".join(update.text for update in updates) == "done: paid tea"
    assert updates[-1].task is not None
    assert updates[-1].task.text == "done: paid tea"


async def test_an_approval_behind_two_doors_is_a_question_of_the_first_and_its_answer_reaches_the_second() -> None:
    """A client asks a boss, who asks a clerk at another server, who needs a yes: three programs, two logs, one question."""
    paid: list[str] = []
    async with (
        A2AServer(clerk(paid, asks=True), log=":memory:").serve() as back,
        A2AServer(boss(A2AClient(back.url).agent(name="remote")), log=":memory:").serve() as front,
    ):
        client = A2AClient(front.url)
        asked = await client.send("tea")
        assert asked.state == "input-required"
        assert "May pay be called" in asked.message
        assert paid == []
        done = await client.send("yes", task_id=asked.id)
    assert (done.state, done.text, paid) == ("completed", "the clerk says: done: paid tea", ["tea"])


async def test_cancelling_at_the_first_door_cancels_behind_the_second() -> None:
    begun = asyncio.Event()

    @tool
    async def pay() -> str:
        """Pay."""
        begun.set()
        await asyncio.Event().wait()
        return "never"

    stuck = Agent(name="clerk", model=ScriptedModel(lambda request: LLMResponse(tool_calls=(ToolCall("c1", "pay", {}),))), tools=[pay])
    back_log = Runner(log=":memory:")
    async with (
        back_log,
        A2AServer(stuck, runner=back_log).serve() as back,
        A2AServer(boss(A2AClient(back.url).agent(name="remote")), log=":memory:").serve() as front,
    ):
        client = A2AClient(front.url)
        updates = client.stream("tea")
        task_id = (await anext(updates)).task_id or ""
        await begun.wait()
        await client.cancel(task_id)
        assert [update.state async for update in updates][-1] == "canceled"
        (run,) = await back_log.log.runs()

        async def ended() -> str:
            return (await back_log.log.read(run.run_id))[-1].type

        async with asyncio.timeout(10):
            while await ended() != "run_cancelled":  # noqa: ASYNC110 - it is another program's log
                await asyncio.sleep(0.01)


async def test_a_token_lets_in_and_another_does_not_and_anothers_task_looks_absent() -> None:
    server = A2AServer(clerk([]), log=":memory:", authenticator=ApiKeys({"key-of-ann-1234567": "ann", "key-of-bob-1234567": "bob"}))
    async with server.serve() as served:
        done = await A2AClient(served.url, token="key-of-ann-1234567").send("tea")
        assert done.text == "done: paid tea"
        with pytest.raises(LLMConfigurationError, match="does not let us in"):
            await A2AClient(served.url, token="key-of-eve-1234567").send("tea")
        with pytest.raises(RemoteTaskError, match="knows no such task"):
            await A2AClient(served.url, token="key-of-bob-1234567").get(done.id or "")


@pytest.mark.parametrize("asked_again", ["send", "look"])
def test_a_client_that_is_killed_anywhere_has_the_served_agent_pay_once(asked_again: str, tmp_path: Path) -> None:
    """The run's id is the same in every trial, and so is its message's: over all of them there is one payment."""
    paid: list[str] = []
    with in_a_thread(A2AServer(clerk(paid), log=tmp_path / "served.db")) as url:
        scenario = CrashScenario(
            agent=lambda directory: A2AClient(url).agent(name="remote", fail_safe=UNLIMITED, asked_again=asked_again),  # type: ignore[arg-type]
            user_message="tea",
        )
        matrix = crash_everywhere(scenario)
    assert matrix.problems == []
    assert (matrix.unkilled.final_text, paid) == ("done: paid tea", ["tea"])
