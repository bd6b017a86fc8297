"""The port of a server whose tools an agent may call. What protocol it speaks, and whether it is near or far, is its own affair."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from afk_es.machine.spec import ToolSpec
from afk_es.tools.definition import Tool


@runtime_checkable
class ToolServer(Protocol):
    """Has tools that live elsewhere; what `Agent.mcp_servers` holds. `afk_es.mcp.MCPClient` is one.

    A Runner enters a server when the first run that needs it starts, and leaves it when none is left. One server may be entered by several
    Runners, in several event loops, and more than once in each.
    """

    @property
    def name(self) -> str:
        """The name that the log has it under, of 1 to 64 letters, digits, '_' and '-'; no two servers of an agent share one."""
        ...

    async def __aenter__(self) -> Any:
        """Be ready to be asked in this event loop; connecting may wait until then.

        Raises:
            ToolError: it cannot be reached.
        """
        ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        """Done with it. The last one out closes what was opened in this event loop."""
        ...

    async def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools that it has now, each with `Tool.server` set to this server's name; the same objects as long as nothing has changed.

        Raises:
            ToolError: it cannot be asked; the message names it and the way out. A server that an agent can do without answers () instead.
        """
        ...

    def recorded(self, tools: Iterable[ToolSpec]) -> tuple[Tool[..., Any], ...]:
        """Its tools as a log has them, without asking it: for replays, which call none, and for a run that goes on while it is away.

        Their `spec()` is the recorded one. A call of one asks the server then.
        """
        ...
