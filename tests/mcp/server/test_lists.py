"""Goal: clients see what is served, page by page, with our hints as theirs, and are told when it changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ToolsListChanged
from mcp_types import Tool as ListedTool
from mcp_types import ToolAnnotations, ToolListChangedNotification
from pydantic import BaseModel

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError, UnknownToolError
from afk_es.mcp import MCPServer
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, tool
from tests.mcp.server.served import ERAS, Era, client_of

both_eras = pytest.mark.parametrize("era", ERAS)


def made(name: str, **hints: Any) -> Tool[..., Any]:
    """A tool of that name."""

    @tool(name=name, **hints)
    def anything(order: str, cents: int = 100) -> None:
        """Do something.

        Args:
            order: which order
        """

    return anything


async def listed(era: Era, *tools: Tool[..., Any]) -> list[ListedTool]:
    """What a client sees of these."""
    async with client_of(MCPServer(tools, log=":memory:"), era) as client:
        return (await client.list_tools()).tools


@both_eras
async def test_a_tool_is_listed_with_its_schema(era: Era) -> None:
    (seen,) = await listed(era, made("pay"))
    assert (seen.name, seen.description, seen.output_schema) == ("pay", "Do something.", None)
    assert seen.input_schema == made("pay").parameters


@both_eras
@pytest.mark.parametrize(
    ("hints", "annotations"),
    [
        ({}, (False, False, None, None)),
        ({"read_only": True}, (True, True, False, None)),
        ({"idempotent": True, "destructive": True}, (False, True, True, None)),
        ({"destructive": False, "open_world": True}, (False, False, False, True)),
    ],
)
async def test_our_hints_are_the_protocol_s(era: Era, hints: dict[str, Any], annotations: tuple[bool | None, ...]) -> None:
    (seen,) = await listed(era, made("pay", **hints))
    read_only, idempotent, destructive, open_world = annotations
    assert seen.annotations == ToolAnnotations(
        read_only_hint=read_only, idempotent_hint=idempotent, destructive_hint=destructive, open_world_hint=open_world
    )


class Answer(BaseModel):
    """The final answer of an agent."""

    city: str


@both_eras
async def test_an_agent_is_listed_as_a_tool_that_takes_a_task(era: Era) -> None:
    model = ScriptedModel([])
    told = Agent(name="scout", model=model, description="Finds cities.", output_type=Answer)
    plain = Agent(name="clerk", model=model)
    async with client_of(MCPServer(agents=[told, plain], log=":memory:"), era) as client:
        scout, clerk = (await client.list_tools()).tools
    assert (scout.name, scout.description) == ("scout", "Finds cities.")
    assert scout.input_schema["required"] == ["task"]
    assert (scout.output_schema or {})["properties"] == {"city": {"title": "City", "type": "string"}}
    assert (clerk.description, clerk.output_schema) == ("Hand a task to the agent clerk.", None)


@both_eras
async def test_the_list_comes_in_pages(era: Era) -> None:
    names = [f"tool_{number}" for number in range(7)]
    async with client_of(MCPServer([made(name) for name in names], log=":memory:", page_size=3), era) as client:
        seen: list[list[str]] = []
        cursor = None
        while True:
            page = await client.list_tools(cursor=cursor)
            seen.append([each.name for each in page.tools])
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == [names[:3], names[3:6], names[6:]]


@both_eras
@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 10, "\u0661"])
async def test_a_cursor_of_nobody_s_is_refused(era: Era, cursor: str) -> None:
    async with client_of(MCPServer([made("pay")], log=":memory:"), era) as client:
        with pytest.raises(MCPError, match="no such cursor"):
            await client.list_tools(cursor=cursor)


async def test_older_clients_are_told_of_a_change() -> None:
    server = MCPServer([made("pay")], log=":memory:")
    told: asyncio.Queue[object] = asyncio.Queue()
    async with client_of(server, "legacy", message_handler=told.put) as client, client_of(server, "legacy", message_handler=told.put):
        assert client.server_capabilities.tools is not None
        assert client.server_capabilities.tools.list_changed
        await client.list_tools()
        server.add_tool(made("refund"))
        assert [type(await told.get()) for _ in range(2)] == [ToolListChangedNotification] * 2
        assert [each.name for each in (await client.list_tools()).tools] == ["pay", "refund"]
        server.remove_tool("pay")
        await told.get()
        assert [each.name for each in (await client.list_tools()).tools] == ["refund"]
        with pytest.raises(MCPError, match="there is no tool 'pay'"):
            await client.call_tool("pay", {"order": "A1"})


async def test_newer_clients_are_told_that_listen() -> None:
    server = MCPServer([made("pay")], log=":memory:")
    async with client_of(server, "auto") as client, client.listen(tools_list_changed=True) as news:
        server.add_agent(Agent(name="clerk", model=ScriptedModel([])))
        async for change in news:
            assert isinstance(change, ToolsListChanged)
            break
        assert [each.name for each in (await client.list_tools()).tools] == ["pay", "clerk"]


def test_what_is_there_is_not_added_again_and_what_is_not_there_is_not_removed() -> None:
    server = MCPServer([made("pay")], log=":memory:")
    with pytest.raises(ConfigurationError, match="two of what is served are named 'pay'"):
        server.add_tool(made("pay"))
    with pytest.raises(ConfigurationError, match="two of what is served are named 'pay'"):
        server.add_agent(Agent(name="pay", model=ScriptedModel([])))
    with pytest.raises(UnknownToolError, match="did you mean pay"):
        server.remove_tool("pai")
