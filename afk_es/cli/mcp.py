"""`afk-es mcp`: the verbs of the Model Context Protocol, by name; each is loaded when it is called."""

from __future__ import annotations

from typing import ClassVar

import click

from afk_es.cli import LazyGroup
from afk_es.cli.invocation import common_options

MCP_VERBS: dict[str, tuple[str, str]] = {
    "serve": ("afk_es.cli.mcp_serve", "Serve tools and agents over stdio or HTTP."),
}


class McpGroup(LazyGroup):
    """The group of these verbs."""

    table: ClassVar[dict[str, tuple[str, str]]] = MCP_VERBS


@click.group("mcp", cls=McpGroup, short_help="Serve tools and agents by the Model Context Protocol.")
@common_options
def mcp() -> None:
    """Serve tools and agents by the Model Context Protocol. It needs the extra: pip install "afk-es[mcp]"."""
