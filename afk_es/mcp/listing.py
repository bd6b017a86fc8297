"""Tools and agents as a client sees them in `tools/list`. Our hints are the protocol's, so they are said as they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mcp_types import CallToolResult, ToolAnnotations
from mcp_types import Tool as ListedTool

from afk_es.agents import Agent
from afk_es.core import AgentResult
from afk_es.errors import ToolArgumentsError
from afk_es.mcp.caller import call_text, calling
from afk_es.mcp.results import IDEMPOTENCY_KEY, result_of_agent, result_of_tool
from afk_es.tools import Tool

_TASK: dict[str, Any] = {
    "type": "object",
    "properties": {"task": {"type": "string", "description": "What the agent is to do, with all that it needs to know."}},
    "required": ["task"],
    "additionalProperties": False,
}

_KEEPS_KEYS: dict[str, Any] = {IDEMPOTENCY_KEY: True}
"""Says that a call is done once under its key, so that a client that trusts this server makes it again where it lost the answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """Something that a client can call.

    Attributes:
        listed: what the client is told of it.
        agent: whose run a call is.
        message: the message that a run with these arguments begins with; raises ToolArgumentsError.
        result: what the client gets of the run's result.
        is_agent: whether its steps are worth telling.
    """

    listed: ListedTool
    agent: Agent
    message: Callable[[dict[str, Any]], str]
    result: Callable[..., CallToolResult]
    is_agent: bool


def served_tool(tool: Tool[..., Any], timeout_s: float | None) -> Served:
    """A tool, for clients."""

    def message(arguments: dict[str, Any]) -> str:
        try:
            return call_text(tool.name, arguments)
        except (TypeError, OverflowError, RecursionError) as error:
            raise ToolArgumentsError(f"the arguments of {tool.name} are not JSON that can be kept: {error}") from error

    listed = ListedTool(
        name=tool.name, description=tool.description or None, input_schema=tool.parameters, annotations=_hints(tool), meta=_KEEPS_KEYS
    )
    return Served(listed, calling(tool, timeout_s), message, result_of_tool, is_agent=False)


def served_agent(agent: Agent) -> Served:
    """An agent, for clients: a tool that takes a task."""
    output = agent.output_type

    def message(arguments: dict[str, Any]) -> str:
        task = arguments.get("task")
        if not isinstance(task, str) or not task.strip() or len(arguments) > 1:
            raise ToolArgumentsError(f"{agent.name} takes one argument, task: a text that says what it is to do")
        return task

    def result(ended: AgentResult, **meta: Any) -> CallToolResult:
        return result_of_agent(ended, structured=output is not None, **meta)

    listed = ListedTool(
        name=agent.name,
        description=agent.description or f"Hand a task to the agent {agent.name}.",
        input_schema=_TASK,
        output_schema=None if output is None else output.model_json_schema(),
        meta=_KEEPS_KEYS,
    )
    return Served(listed, agent, message, result, is_agent=True)


def _hints(tool: Tool[..., Any]) -> ToolAnnotations:
    # What destroys nothing is what only reads, unless its author says more.
    destructive = False if tool.read_only else tool.destructive
    return ToolAnnotations(
        read_only_hint=tool.read_only,
        idempotent_hint=tool.idempotent or tool.read_only,
        destructive_hint=destructive,
        open_world_hint=tool.open_world,
    )
