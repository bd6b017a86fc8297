"""MCP, by its official SDK: the tools of other servers. Needs the extra `mcp`.

Nothing of it is loaded before it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.mcp.client import MCPClient
    from afk_es.mcp.config_files import read_config

_HOMES = {
    "MCPClient": "afk_es.mcp.client",
    "read_config": "afk_es.mcp.config_files",
}

__all__ = [
    "MCPClient",
    "read_config",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] == "afk_es":
            raise
        raise ImportError(f'{name} needs {error.name!r}, which the extra brings: pip install "afk-es[mcp]"') from error


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
