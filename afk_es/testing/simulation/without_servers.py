"""Agents with servers, made ready for simulations: these connect to nobody, so the tools have to be known before."""

from __future__ import annotations

from contextlib import AsyncExitStack

from afk_es.agents import Agent
from afk_es.tools import Tool


async def without_servers(agent: Agent) -> Agent:
    """The same agent with the tools that its servers have now as its own, and of its subagents at every level: to be simulated, where no
    tool really runs.

    Raises:
        ToolError: a server cannot be reached.
    """
    async with AsyncExitStack() as stack:
        return await _without(agent, stack)


async def _without(agent: Agent, stack: AsyncExitStack) -> Agent:
    listed: list[Tool[..., object]] = []
    for server in agent.mcp_servers:
        await stack.enter_async_context(server)
        listed += await server.tools()
    team = tuple([await _without(each, stack) for each in agent.subagents])
    return agent.model_copy(update={"tools": (*agent.tools, *listed), "mcp_servers": (), "subagents": team})
