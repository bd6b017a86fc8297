"""`afk-es mcp serve`: tools and agents for MCP clients, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

import click

from afk_es.agents import Agent
from afk_es.cli import output
from afk_es.cli.agents import called, load_value
from afk_es.cli.callers import Door, door_options
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.errors import ConfigurationError
from afk_es.redaction import Redaction
from afk_es.tools import Tool, ToolRegistry

if TYPE_CHECKING:
    from afk_es.mcp import MCPServer

_FORM: Final = "name what to serve as MODULE:TOOLS, such as shop.support:tools or ./support.py:tools"


@click.command("serve", short_help="Serve tools and agents over stdio or HTTP.")
@click.argument("target", metavar="[MODULE:TOOLS]", required=False)
@click.option("--debugger", is_flag=True, help="Serve the log itself instead: read-only tools for a coding assistant that debugs runs.")
@door_options(http=None)
@click.option("--stdio", is_flag=True, help="Serve stdin and stdout: the default.")
@click.option("--no-ask", is_flag=True, help="Approvals come from here alone (afk-es approve), and not from the person at the client.")
@click.option("--name", metavar="TEXT", help="The server's name, for clients; default afk_es.")
@common_options
@click.pass_obj
@redaction_options
def serve(
    invocation: Invocation,
    target: str | None,
    debugger: bool,
    door: Door,
    stdio: bool,
    no_ask: bool,
    name: str | None,
    redaction: Redaction | None,
) -> None:
    """Serve what MODULE:TOOLS names to MCP clients. Each call is a run in the log of --db.

    MODULE is a module, found from the current directory too, or a .py file; TOOLS a tool, an Agent, a list of these, a ToolRegistry, an
    MCPServer, or a function that gives one of them. Over stdio the client starts this command, and ends it by closing its stdin. A call that
    waits for approval is asked about at the client where that shows forms; `afk-es approvals` lists it in any case.

    With --debugger the log of --db is served, and nothing else: runs, triage, log, show, state, diff, context and why, as tools that only
    read. Secrets are kept back, and calls are not recorded.
    """
    _check(target, debugger=debugger, own_tools=door.policy is not None or no_ask, redaction=redaction)
    if stdio and door.address is not None:
        raise ConfigurationError("--stdio and --http are two ways; take one")
    if door.address is None and sys.stdin is None:
        raise ConfigurationError("stdin is closed, and over stdio the client speaks there; --http HOST:PORT serves over HTTP")
    own: dict[str, Any] = {} if name is None else {"name": name}
    if no_ask:
        own["ask_clients"] = False
    if invocation.db is not None and not debugger:
        own["log"] = invocation.db
    from afk_es.cli.mcp_debugger import debugger_server
    from afk_es.mcp import MCPServer  # noqa: F401 - says what to install where that is missing, before anything of the user's is loaded
    from afk_es.mcp.stdio import stdout_kept

    # Over stdio a module that prints when it is imported would speak to the client.
    with nullcontext() if door.address is not None else stdout_kept():
        own |= door.settings()
        server = load_server(target, own) if target is not None else debugger_server(invocation.location, redaction, own)
    if door.address is None:
        if sys.stdin.isatty():
            output.note(
                f"serving {', '.join(server.names()) or 'nothing'} over stdio: the client is whoever writes here, and is meant to be a program "
                "that starts this command; --http serves over HTTP; Ctrl-C ends it"
            )
        asyncio.run(server.serve_stdio())
    else:
        asyncio.run(door.serve(server.http_server, server.names(), "/mcp"))


def _check(target: str | None, *, debugger: bool, own_tools: bool, redaction: Redaction | None) -> None:
    if target is None and not debugger:
        raise ConfigurationError(f"there is nothing to serve: {_FORM}, or the log with --debugger")
    if debugger and (target is not None or own_tools):
        raise ConfigurationError("--debugger serves the log alone; leave MODULE:TOOLS, --policy and --no-ask out")
    if not debugger and (redaction is None or redaction.keys):
        raise ConfigurationError("--show-secrets and --redact-key are for --debugger: what tools give goes to the client as it is")


def load_server(target: str, options: dict[str, Any]) -> MCPServer:
    """The server that `MODULE:TOOLS` names, or one that is made of what it names.

    Args:
        options: of the server that is made.

    Raises:
        ConfigurationError: there is nothing that can be served, or it is a server already and has its options.
    """
    from afk_es.mcp import MCPServer

    value = load_value(target, "tools", _FORM)
    if not isinstance(value, (Tool, Agent, MCPServer)) and callable(value):
        value = called(value, target)
    if isinstance(value, MCPServer):
        if options:
            raise ConfigurationError(f"{target} is an MCPServer, which has its log and options where it is made: say them there")
        return value
    tools, agents = _sorted(value, target)
    return MCPServer(tools, agents=agents, **options)


def _sorted(value: object, target: str) -> tuple[list[Any], list[Agent]]:
    """What is to be served, tools and agents apart."""
    if isinstance(value, (Tool, Agent)):
        value = [value]
    if isinstance(value, (str, bytes, dict)) or not isinstance(value, (ToolRegistry, Iterable)):
        raise ConfigurationError(f"{target} is of the type {type(value).__name__}, not tools, agents, or an MCPServer; {_FORM}")
    items = list(value)
    agents = [each for each in items if isinstance(each, Agent)]
    tools = [each for each in items if not isinstance(each, Agent)]
    if not items:
        raise ConfigurationError(f"{target} is empty: there is nothing to serve")
    return tools, agents
