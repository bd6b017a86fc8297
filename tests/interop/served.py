"""The server of ours that others drive: the tools that the conformance suite asks for, as far as a server of tools has them."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.errors import ToolError
from afk_es.mcp import MCPServer
from afk_es.tools import Tool, ToolContext, tool


@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool(read_only=True)
def test_simple_text() -> str:
    """Gives a text."""
    return "This is a simple text response for testing."


@tool(read_only=True)
def test_error_handling() -> str:
    """Always fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool(read_only=True)
async def test_tool_with_progress(ctx: ToolContext) -> str:
    """Says how far it is, three times. It takes its time, as what has progress does: what is said before anybody listens is not kept."""
    for progress in (0, 50, 100):
        await asyncio.sleep(0.1)
        ctx.report_progress(progress, 100, f"Completed step {progress} of 100")
    return "done"


_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


@tool(args_schema=_SCHEMA, read_only=True)
def json_schema_2020_12_tool(args: dict[str, Any]) -> str:
    """Has a schema with all that 2020-12 knows."""
    return ", ".join(args)


_HEADERS: dict[str, Any] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "query": {"type": "string"}},
    "required": ["region", "query"],
}


@tool(args_schema=_HEADERS, read_only=True)
def test_custom_headers(args: dict[str, Any]) -> str:
    """Has an argument that HTTP clients send as a header too."""
    return f"{args['query']} in {args['region']}"


@tool
def pay(amount: int = 1) -> str:
    """Pay; a person is asked first."""
    return f"paid {amount}"


_ASKING = (
    "test_elicitation",
    "test_streaming_elicitation",
    "test_input_required_result_elicitation",
    "test_input_required_result_request_state",
    "test_input_required_result_tampered_state",
)
"""What the suite calls tools that ask the person at the client. Ours ask by a policy."""


def _asking(name: str) -> Tool[..., Any]:
    schema = {"type": "object", "properties": {"message": {"type": "string"}}}
    return tool(name=name, description="A person is asked first.", args_schema=schema)(lambda args: "state-ok")


def server(log: str) -> MCPServer:
    """The server, whose calls are runs in that log."""
    asked = frozenset({"pay", *_ASKING})
    ask = PolicyRule(rule_id="four-eyes", action="request_approval", condition=lambda event: event.tool_name in asked)

    @tool
    def test_trigger_tool_change() -> str:
        """Changes the list of tools."""
        if "subtract" in served.names():
            served.remove_tool("subtract")
        else:
            served.add_tool(tool(name="subtract")(_subtract))
        return "changed"

    tools: list[Tool[..., Any]] = [
        add,
        test_simple_text,
        test_error_handling,
        test_tool_with_progress,
        json_schema_2020_12_tool,
        test_custom_headers,
        pay,
    ]
    served = MCPServer(
        [*tools, test_trigger_tool_change, *map(_asking, _ASKING)],
        name="afk_es interop",
        log=log,
        policy_engine=PolicyEngine(rules=[ask]),
    )
    return served


def _subtract(a: int, b: int) -> int:
    """Take one number from another."""
    return a - b


async def _http(log: str) -> None:
    async with server(log).http_server() as served:
        print(f"{served.url}/mcp", flush=True)
        await served.until_stopped()


if __name__ == "__main__":
    transport, log = sys.argv[1:]
    asyncio.run(_http(log) if transport == "http" else server(log).serve_stdio())
