"""An agent lists and calls the tools of a server of the official SDK: in this program, in a subprocess and over HTTP, by both protocols."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner
from afk_es.mcp import MCPClient
from tests.mcp.client.remote import ERAS, agent_of, asks, called, over_http, process, shop

Serving = Callable[..., AbstractAsyncContextManager[MCPClient]]


@asynccontextmanager
async def here(**options: Any) -> AsyncIterator[MCPClient]:
    yield MCPClient(shop(), **options)


@asynccontextmanager
async def in_a_process(**options: Any) -> AsyncIterator[MCPClient]:
    yield process(**options)


@asynccontextmanager
async def at_an_address(**options: Any) -> AsyncIterator[MCPClient]:
    async with over_http(shop()) as url:
        yield MCPClient(url, name="shop", **options)


WAYS: list[Serving] = [here, in_a_process, at_an_address]


def outputs(result: AgentResult) -> dict[str, Any]:
    return {record.tool_name: record.output if record.success else record.error for record in result.tool_executions}


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("serving", WAYS)
async def test_tools_are_listed_and_called(serving: Serving, era: str) -> None:
    async with serving(protocol=era) as client:
        result = await called(
            client,
            ("shop_find", {"order": "A-17"}),
            ("shop_count", {}),
            ("shop_refuse", {"order": "B"}),
            ("shop_find", {"order": "A", "limit": "many"}),
        )
    assert result.state == "completed"
    said = [
        record.output if record.success else record.error for record in sorted(result.tool_executions, key=lambda each: each.tool_call_id)
    ]
    assert said[:2] == [{"result": "A-17: 80 of 10"}, {"result": "counted"}]
    assert "there is no order B" in str(said[2])
    assert "limit: Input should be a valid integer" in str(said[3])


@pytest.mark.parametrize("era", ERAS)
async def test_the_model_is_told_of_them_under_names_of_their_own(era: str) -> None:
    async with MCPClient(shop(), protocol=era) as client:
        tools = {tool.name: tool for tool in await client.tools()}
    assert list(tools) == ["shop_find", "shop_pay", "shop_refuse", "shop_count", "shop_die"]
    found = tools["shop_find"].spec()
    assert (found.description, found.server) == ("Find an order.", "shop")
    assert found.parameters["properties"]["limit"]["type"] == "integer"


async def test_a_call_carries_its_idempotency_key() -> None:
    result = await called(MCPClient(shop()), ("shop_pay", {"order": "A"}))
    paid = outputs(result)["shop_pay"]
    assert paid["order"] == "A"
    assert len(paid["key"]) == 32


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("serving", WAYS)
async def test_progress_is_told_to_who_watches(serving: Serving, era: str) -> None:
    async with serving(protocol=era) as client, Runner(log=":memory:") as runner:
        run = await runner.run_once(agent_of(client, script=[asks(("shop_count", {})), "done"]), run_id="r", by="test")
        told = [event async for event in run.live() if event.type == "tool_progress"]
    assert (told[-1].data["progress"], told[-1].data["total"], told[-1].message) == (2.0, 2.0, "step 2")


def test_a_program_that_runs_three_times_ends(tmp_path: Path) -> None:
    """Each has an event loop of its own, and a subprocess of its own."""
    client = process(tmp_path / "effects")
    runner = Runner(log=tmp_path / "runs.db")
    agent = agent_of(client, script=[turn for order in "abc" for turn in (asks(("shop_pay", {"order": order})), "done")])
    assert [runner.run_sync(agent).state for _ in range(3)] == ["completed"] * 3
    assert [line.split()[0] for line in (tmp_path / "effects").read_text().splitlines()] == ["a", "b", "c"]


async def test_two_runners_share_one_client() -> None:
    """The first that is done does not take the connection from the other."""
    began, go = asyncio.Event(), asyncio.Event()
    server = shop()

    @server.tool()
    async def wait() -> str:
        began.set()
        await go.wait()
        return "waited"

    client = MCPClient(server)
    slow = asyncio.create_task(called(client, ("shop_wait", {})))
    await began.wait()
    assert outputs(await called(client, ("shop_find", {"order": "A"}))) == {"shop_find": {"result": "A: 80 of 10"}}
    go.set()
    assert outputs(await slow) == {"shop_wait": {"result": "waited"}}


async def test_subagents_have_servers_of_their_own() -> None:
    desk = agent_of(MCPClient(shop(), name="one"), script=[asks(("one_find", {"order": "A"})), "found it"], name="desk")
    boss = Agent(
        model=agent_of(script=[asks(("transfer_to_desk", {"task": "find A"})), "done"]).model,
        mcp_servers=[MCPClient(shop(), name="one")],
        subagents=[desk],
    )
    result = await Runner(log=":memory:").run(boss)
    assert (result.state, [record.success for record in result.subagent_executions]) == ("completed", [True])
