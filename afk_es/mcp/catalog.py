"""What a server serves, by name, in the order in which it was added, and page by page for clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, ListToolsResult

from afk_es.agents import Agent
from afk_es.errors import ConfigurationError, UnknownToolError
from afk_es.mcp.listing import Served, served_agent, served_tool
from afk_es.tools import Tool, tool
from afk_es.tools.registry import unknown_tool

_LONGEST_CURSOR: Final = 9


class Catalog:
    """Tools and agents that clients can call.

    Args:
        timeout_s: for tools that have no timeout of their own.
        page_size: of `page`.

    Raises:
        ConfigurationError: something that is no tool, two of one name, or pages of nothing.
    """

    def __init__(self, tools: Iterable[Callable[..., Any]], agents: Iterable[Agent], *, timeout_s: float | None, page_size: int) -> None:
        if page_size < 1:
            raise ConfigurationError(f"page_size is at least 1, not {page_size}")
        self._timeout_s = timeout_s
        self._page_size = page_size
        self._served: dict[str, Served] = {}
        for each in tools:
            self.add_tool(each)
        for agent in agents:
            self.add_agent(agent)

    def add_tool(self, function: Callable[..., Any]) -> None:
        """Serve a tool, or a function to make one of.

        Raises:
            ConfigurationError: it is none, or there is one of its name.
        """
        if not callable(function):
            raise ConfigurationError(f"{function!r:.80} is no tool; write the function itself, with or without @tool")
        made: Tool[..., Any] = function if isinstance(function, Tool) else tool(function)
        self._add(served_tool(made, self._timeout_s))

    def add_agent(self, agent: Agent) -> None:
        """Serve an agent.

        Raises:
            ConfigurationError: it is none, or there is something of its name.
        """
        if not isinstance(agent, Agent):
            raise ConfigurationError(f"{agent!r:.80} is no Agent")
        self._add(served_agent(agent))

    def remove(self, name: str) -> None:
        """Serve it no longer.

        Raises:
            UnknownToolError: there is nothing of that name.
        """
        if name not in self._served:
            raise UnknownToolError(unknown_tool(name, self._served))
        del self._served[name]

    def names(self) -> tuple[str, ...]:
        """The names of all that is served."""
        return tuple(self._served)

    def find(self, name: str) -> Served:
        """What is called that way.

        Raises:
            MCPError: nothing is.
        """
        served = self._served.get(name)
        if served is None:
            raise MCPError(INVALID_PARAMS, unknown_tool(name, self._served))
        return served

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """The schema of its arguments; None where nothing is called that way."""
        served = self._served.get(name)
        return served.listed.input_schema if served is not None else None

    def page(self, cursor: str | None) -> ListToolsResult:
        """A page, and where the next begins.

        Raises:
            MCPError: a cursor that was never given.
        """
        if cursor is not None and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= _LONGEST_CURSOR):
            raise MCPError(INVALID_PARAMS, "no such cursor; list from the beginning")
        first = int(cursor or 0)
        last = first + self._page_size
        listed = [served.listed for served in self._served.values()]
        return ListToolsResult(tools=listed[first:last], next_cursor=str(last) if last < len(listed) else None)

    def _add(self, served: Served) -> None:
        if served.listed.name in self._served:
            raise ConfigurationError(f"two of what is served are named {served.listed.name!r}; rename one")
        self._served[served.listed.name] = served
