"""Servers for tests of the client, by the official SDK, and the same one as a process or behind HTTP.

As a process, over stdin and stdout: python -m tests.mcp.client.remote [EFFECTS], where EFFECTS is a file to which `pay` adds a line.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations

from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner
from afk_es.llms import LLMResponse, ToolCall
from afk_es.mcp import MCPClient
from afk_es.serving import HttpServer
from afk_es.testing import ScriptedModel

ROOT = Path(__file__).parents[3]
ERAS = ("auto", "legacy")


def shop(effects: Path | None = None) -> MCPServer:
    """A server with tools of every kind."""
    server = MCPServer("shop")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def find(order: str, limit: int = 10) -> str:
        """Find an order."""
        return f"{order}: 80 of {limit}"

    @server.tool(annotations=ToolAnnotations(destructive_hint=True))
    def pay(order: str, ctx: Context) -> dict[str, str]:
        """Pay an order back."""
        key = str((ctx.request_context.meta or {}).get("afk_es/idempotency_key", ""))
        if effects is not None:
            with effects.open("a") as file:
                file.write(f"{order} {key}\n")
        return {"order": order, "key": key}

    @server.tool()
    def refuse(order: str) -> str:
        """Refuse."""
        raise ToolError(f"there is no order {order}")

    @server.tool()
    async def count(ctx: Context) -> str:
        """Count slowly."""
        for step in (1, 2):
            await ctx.report_progress(step, 2, f"step {step}")
        return "counted"

    @server.tool()
    def die() -> str:
        """End the process in the middle of a call."""
        os._exit(7)

    return server


def command(*words: object) -> list[str]:
    """The shop as a process."""
    return [sys.executable, "-m", "tests.mcp.client.remote", *map(str, words)]


def process(*words: object, **options: Any) -> MCPClient:
    """A client of the shop as a process."""
    return MCPClient(command(*words), name="shop", env={"PYTHONPATH": str(ROOT)}, cwd=ROOT, **options)


@asynccontextmanager
async def over_http(server: Any) -> AsyncIterator[str]:
    """The address of an SDK server on loopback."""
    async with HttpServer(server.streamable_http_app(), drain_s=0.1) as served:
        yield f"{served.url.rstrip('/')}/mcp"


def asks(*calls: tuple[str, dict[str, Any]]) -> LLMResponse:
    """A model's wish to call these."""
    return LLMResponse(tool_calls=tuple(ToolCall(f"c{number}", name, arguments) for number, (name, arguments) in enumerate(calls)))


def agent_of(*servers: MCPClient, script: list[Any], **options: Any) -> Agent:
    """An agent with these servers whose model answers by the script."""
    return Agent(model=ScriptedModel(script), mcp_servers=servers, **options)


async def called(client: MCPClient, *calls: tuple[str, dict[str, Any]]) -> AgentResult:
    """The run of an agent that makes these calls, all at once."""
    return await Runner(log=":memory:").run(agent_of(client, script=[asks(*calls), "done"]), user_message="go")


if __name__ == "__main__":
    shop(Path(sys.argv[1]) if len(sys.argv) > 1 else None).run()
