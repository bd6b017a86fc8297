"""Tools by name, with the middlewares they have in common."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from afk_es.errors import ConfigurationError, UnknownToolError
from afk_es.machine.spec import ToolSpec
from afk_es.tools.context import ToolContext
from afk_es.tools.decorator import tool
from afk_es.tools.definition import Tool
from afk_es.tools.hooks import as_hook
from afk_es.tools.outcome import ToolDeferredHandle, ToolResult


class ToolRegistry:
    """Tools by name. Iterating, `get` and `list` give each tool with the registry's middlewares around it, as an agent takes it.

    Args:
        tools: tools, or plain functions to make tools of.
        middlewares: stand around every tool, outside of its own middlewares, the first outermost.

    Raises:
        ConfigurationError: two tools of one name.
    """

    def __init__(self, tools: Iterable[Callable[..., Any]] = (), *, middlewares: Iterable[Callable[..., Any]] = ()) -> None:
        self._middlewares = tuple(as_hook(hook, "registry_middleware") for hook in middlewares)
        self._tools: dict[str, Tool[..., Any]] = {}
        for each in tools:
            self.register(each)

    def register(self, function: Callable[..., Any]) -> Tool[..., Any]:
        """Add a tool, or a function to make one of; returns the tool as it will be called.

        Raises:
            ConfigurationError: there is a tool of that name already.
        """
        added = function if isinstance(function, Tool) else tool(function)
        present = self._tools.get(added.name)
        if present is not None:
            raise ConfigurationError(
                f"two tools are named {added.name!r}: {_whereabouts(present)} and {_whereabouts(added)}; give one of them another name="
            )
        self._tools[added.name] = added.within(self._middlewares)
        return self._tools[added.name]

    def get(self, name: str) -> Tool[..., Any]:
        """The tool of that name.

        Raises:
            UnknownToolError: there is none; the message lists close matches.
        """
        found = self._tools.get(name)
        if found is None:
            raise UnknownToolError(unknown_tool(name, self._tools))
        return found

    def names(self) -> tuple[str, ...]:
        """The names, in the order of registration."""
        return tuple(self._tools)

    def list(self) -> tuple[Tool[..., Any], ...]:
        """The tools, in the order of registration."""
        return tuple(self._tools.values())

    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as the model and the machine see them."""
        return tuple(each.spec() for each in self)

    async def call(self, name: str, arguments: dict[str, Any] | str, ctx: ToolContext | None = None) -> ToolResult | ToolDeferredHandle:
        """Call a tool by name; see `Tool.call`.

        Raises:
            UnknownToolError: there is no tool of that name.
        """
        return await self.get(name).call(arguments, ctx)

    def __iter__(self) -> Iterator[Tool[..., Any]]:
        return iter(self.list())

    def __len__(self) -> int:
        return len(self._tools)

    def __contains__(self, name: object) -> bool:
        return name in self._tools


def unknown_tool(name: str, known: Iterable[str]) -> str:
    """What the model is told when it calls a tool that does not exist."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"there is no tool {name!r}; did you mean {' or '.join(close)}?"
    return f"there is no tool {name!r}; the tools are: {', '.join(names) or 'none'}"


def _whereabouts(of: Tool[..., Any]) -> str:
    function = of.function
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}"
