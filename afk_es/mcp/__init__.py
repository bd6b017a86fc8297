"""Tools and agents by the Model Context Protocol, through the official SDK: ours is the mapping to and from runs, and nothing of the protocol.

A name is loaded when it is first used: whoever imports this loads no SDK.
"""

from typing import TYPE_CHECKING, Any

from afk_es.extras import loaded

if TYPE_CHECKING:
    from afk_es.mcp.client import MCPClient
    from afk_es.mcp.config_files import read_config
    from afk_es.mcp.results import IDEMPOTENCY_KEY
    from afk_es.mcp.server import MCPServer
    from afk_es.serving import ApiKeys, JWTs, Limited, Principal

_HOMES = {
    "ApiKeys": "afk_es.serving",
    "IDEMPOTENCY_KEY": "afk_es.mcp.results",
    "JWTs": "afk_es.serving",
    "Limited": "afk_es.serving",
    "MCPClient": "afk_es.mcp.client",
    "MCPServer": "afk_es.mcp.server",
    "Principal": "afk_es.serving",
    "read_config": "afk_es.mcp.config_files",
}

_LIBRARIES = frozenset({"h11", "httpx2", "jsonschema", "jwt", "mcp", "mcp_types", "referencing", "starlette", "uvicorn"})
"""What the extra brings."""


def __getattr__(name: str) -> Any:
    return loaded(__name__, name, _HOMES, libraries=_LIBRARIES, extras=("mcp",))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "ApiKeys",
    "IDEMPOTENCY_KEY",
    "JWTs",
    "Limited",
    "MCPClient",
    "MCPServer",
    "Principal",
    "read_config",
]
