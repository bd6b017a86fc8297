"""Tools, of ours and of others, and agents by the Model Context Protocol, through the official SDK: ours is the mapping to and from runs, and nothing of the protocol.

A name is loaded when it is first used: whoever imports this loads no SDK.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.mcp.client import MCPClient
    from afk_es.mcp.config_files import read_config
    from afk_es.mcp.results import IDEMPOTENCY_KEY
    from afk_es.mcp.server import MCPServer

_HOMES = {
    "IDEMPOTENCY_KEY": "afk_es.mcp.results",
    "MCPClient": "afk_es.mcp.client",
    "MCPServer": "afk_es.mcp.server",
    "read_config": "afk_es.mcp.config_files",
}

_LIBRARIES = frozenset({"httpx2", "jsonschema", "mcp", "mcp_types", "referencing", "starlette", "uvicorn"})
"""What the extra brings."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.mcp' has no attribute {name!r}")
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _LIBRARIES:
            raise
        raise ImportError(f'afk_es.mcp.{name} needs {missing}, which is not installed: pip install "afk-es[mcp]"') from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "IDEMPOTENCY_KEY",
    "MCPClient",
    "MCPServer",
    "read_config",
]
