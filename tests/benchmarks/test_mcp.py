"""Calls a second of `MCPServer`, beside the SDK's bare server that runs the function and records nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.server import Server, ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent
from mcp_types import Tool as ListedTool

from afk_es.mcp import MCPServer
from afk_es.serving import HttpServer
from afk_es.tools import tool
from tests.benchmarks.conftest import Table

CALLS = 320
AT_ONCE = 16


@tool(read_only=True)
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def bare() -> Server[Any]:
    """The same tool, by the SDK alone."""
    listed = ListedTool(name="add", description="Add two numbers.", input_schema=add.parameters)

    async def listing(ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[listed])

    async def call(ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        arguments = params.arguments or {}
        total = arguments["a"] + arguments["b"]
        return CallToolResult(content=[TextContent(text=str(total))], structured_content={"result": total})

    return Server("bare", on_list_tools=listing, on_call_tool=call, get_tool_input_schema=lambda name: add.parameters)


async def seconds_a_call(client: Client) -> float:
    """Many calls, so many at once."""

    async def caller(number: int) -> None:
        for other in range(CALLS // AT_ONCE):
            result = await client.call_tool("add", {"a": number, "b": other})
            assert result.structured_content == {"result": number + other}

    await client.call_tool("add", {"a": 1, "b": 2})
    began = time.perf_counter()
    await asyncio.gather(*map(caller, range(AT_ONCE)))
    return (time.perf_counter() - began) / CALLS


@asynccontextmanager
async def reached(server: Server[Any], way: str) -> AsyncIterator[Client]:
    """A client of the server in this process, or over HTTP on loopback."""
    if way == "in memory":
        async with Client(server) as client:
            yield client
        return
    async with HttpServer(server.streamable_http_app()) as served, Client(f"{served.url}/mcp") as client:
        yield client


@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize("way", ["in memory", "over HTTP"])
def test_calls(table: Table, tmp_path: Path, way: str, place: str) -> None:
    """A call is a run: thirteen events in the log, in a file with a sync for each step of it."""
    number = itertools.count()

    async def taken(server: Server[Any]) -> float:
        async with reached(server, way) as client:
            return await seconds_a_call(client)

    def ours() -> float:
        log = ":memory:" if place == "memory" else tmp_path / f"calls-{next(number)}.db"
        return asyncio.run(taken(MCPServer([add], log=log)))

    table.compare(
        f"MCP calls {way}, log in {'memory' if place == 'memory' else 'a file'}",
        ours,
        lambda: asyncio.run(taken(bare())),
        rate=True,
        floor_is="the SDK's bare server, which records nothing and could repeat everything",
    )
