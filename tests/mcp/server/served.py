"""What the tests of `MCPServer` serve, and both ways in which the SDK's client reaches a server in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from mcp import Client
from mcp_types import CallToolResult, TextContent

from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.core import AgentRunEvent, Runner
from afk_es.mcp import IDEMPOTENCY_KEY, MCPServer

Era = Literal["legacy", "auto"]
ERAS: tuple[Era, ...] = ("legacy", "auto")
"""The handshake of 2025-11-25 and before, and the stateless requests of 2026-07-28."""


@asynccontextmanager
async def client_of(server: MCPServer, era: Era, **callbacks: Any) -> AsyncIterator[Client]:
    """The SDK's client, connected to the server in this process."""
    async with Client(server, mode=era, **callbacks) as client:
        yield client


def text_of(result: CallToolResult) -> str:
    """The text of a result, which is all in one piece."""
    assert [type(each) for each in result.content] in ([TextContent], [])
    return "".join(each.text for each in result.content if isinstance(each, TextContent))


def named(key: str) -> Any:
    """The `_meta` of a call with this key."""
    return {IDEMPOTENCY_KEY: key}


def asking_for(*tools: str) -> PolicyEngine:
    """A policy that has a person asked before these tools run."""
    return PolicyEngine(
        rules=[PolicyRule(rule_id="four-eyes", action="request_approval", condition=lambda event: event.tool_name in tools)]
    )


async def runs_of(log: Path) -> list[list[AgentRunEvent]]:
    """All runs of a log, the oldest first."""
    async with Runner(log=log) as runner:
        return [await runner.log.read(record.run_id) for record in reversed(await runner.log.runs())]


async def only_run(log: Path) -> list[AgentRunEvent]:
    """The one run of a log."""
    (run,) = await runs_of(log)
    return run
