"""How a subagent is offered to a model: as a tool that takes a task. The Runner makes such a call itself; the function is never run."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from afk_es.agents.agent import Agent
from afk_es.errors import ToolError
from afk_es.machine.delegation import TRANSFER
from afk_es.tools import Tool, tool


def transfer_tool(agent: Agent) -> Tool[..., Any]:
    """The tool `transfer_to_<name>` of a subagent, with the task as its one argument."""
    about = f" {agent.description.strip()}" if agent.description else ""
    description = (
        f"Hand a task over to the agent {agent.name!r} and get its answer.{about} It sees the task and nothing of this conversation, "
        "so say everything it needs to know."
    )

    async def transfer(task: Annotated[str, Field(min_length=1, description="What the agent is to do, complete in itself.")]) -> str:
        raise ToolError(f"a task is handed to {agent.name!r} by a run; there is nothing to call")

    made: Tool[..., Any] = tool(name=TRANSFER + agent.name, description=description)(transfer)
    return made
