"""The server of `afk-es mcp serve --debugger`: a log, for coding assistants. Nothing is written to it, and its own calls are found nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from afk_es.debugger.assistant.toolbox import INSTRUCTIONS, debugger_tools
from afk_es.errors import ConfigurationError
from afk_es.redaction import Redaction

if TYPE_CHECKING:
    from afk_es.mcp import MCPServer

NAME = "afk_es log"


def debugger_server(location: str, redaction: Redaction | None, options: dict[str, Any]) -> MCPServer:
    """The server of a log that may not be there yet: each call opens it, and says so where it cannot.

    Args:
        redaction: what is kept back; None for nothing.
        options: of the MCPServer, such as `authenticator` and `rate_limit`.

    Raises:
        ConfigurationError: a log in memory, which nobody else can read.
    """
    from afk_es.mcp import MCPServer

    if location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    # Texts alone: of a result that has data too, some clients show their model nothing but the data, and others nothing but the text.
    tools = debugger_tools(location, redaction=redaction, as_text=True)
    return MCPServer(tools, recorded=False, **{"name": NAME, "instructions": INSTRUCTIONS, **options})
