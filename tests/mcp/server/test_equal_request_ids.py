"""Clients of the stateless protocol all number their requests from 1: what happens to one of them is nothing to another."""

from __future__ import annotations

import asyncio

import httpx

from afk_es.log.memory import MemoryEventLog
from afk_es.mcp import MCPServer
from afk_es.serving import ApiKeys
from tests.mcp.server.served import named

MODERN = "2026-07-28"


async def test_calls_of_one_number_are_all_laid_down_when_the_server_ends() -> None:
    """Each was named by its caller, whose connection is gone; the next server goes on with it."""
    both = asyncio.Barrier(3)

    async def wait() -> str:
        """Wait."""
        await both.wait()
        await asyncio.Event().wait()
        return "never"

    keys = {f"{name}-0123456789abcdef": name for name in ("alice", "bob")}
    log = MemoryEventLog()
    server = MCPServer([wait], log=log, authenticator=ApiKeys(keys), linger_s=5, drain_s=0.05)
    async with asyncio.timeout(30):
        async with server.http_server() as served, httpx.AsyncClient() as client:

            async def call(key: str) -> None:
                meta = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}, **named("one")}
                params = {"name": "wait", "arguments": {}, "_meta": meta}
                headers = {
                    "Authorization": f"Bearer {key}",
                    "Accept": "application/json, text/event-stream",
                    "MCP-Protocol-Version": MODERN,
                    "Mcp-Method": "tools/call",
                    "Mcp-Name": "wait",
                }
                body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
                await client.post(f"{served.url}/mcp", json=body, headers=headers)

            calls = [asyncio.create_task(call(key)) for key in keys]
            await both.wait()
            for each in calls:
                each.cancel()
    assert [(run.state, run.message) for run in await log.runs()] == [("interrupted", "the server ends")] * 2
