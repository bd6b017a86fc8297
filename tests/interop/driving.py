"""Our `MCPClient` as the conformance suite drives a client: `python -m tests.interop.driving URL` lists the tools and calls them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from afk_es.mcp import MCPClient
from afk_es.tools import ToolContext, ToolResult

_EXAMPLES: dict[str, Any] = {"string": "text", "number": 2, "integer": 3, "boolean": True, "object": {}, "array": []}


def _arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Some that fit a simple schema."""
    properties = schema.get("properties", {})
    return {name: _EXAMPLES.get(properties.get(name, {}).get("type"), "text") for name in schema.get("required", ())}


async def _drive(url: str) -> None:
    wanted = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}").get("toolCalls")
    async with MCPClient(url, name="suite", prefix="", timeout_s=15) as client:
        tools = {tool.name: tool for tool in await client.tools()}
        print(f"tools: {', '.join(tools)}", file=sys.stderr)
        calls = [(call["name"], call["arguments"]) for call in wanted or ()] or [
            (name, _arguments(tool.parameters)) for name, tool in tools.items()
        ]
        if "json_schema_echo" in tools:
            # It wants to see what has become of the schema of the other one.
            calls = [("json_schema_echo", {"schema": tools["json_schema_2020_12_tool"].parameters})]
        for name, arguments in calls:
            result = await tools[name].call(arguments, ToolContext(idempotency_key=f"interop-{name}"))
            assert isinstance(result, ToolResult)
            print(f"{name}({arguments}) -> {result.output if result.success else result.error!r}", file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(_drive(sys.argv[-1]))
