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
from afk_es.cli.callers import api_keys, rate_limit
from afk_es.cli.extras import of_extra
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.policies import load_engine
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
@click.option("--http", metavar="HOST:PORT", help="Serve at http://HOST:PORT/mcp; default stdin and stdout. Port 0 takes any that is free.")
@click.option("--stdio", is_flag=True, help="Serve stdin and stdout: the default.")
@click.option(
    "--token-env",
    "token_envs",
    metavar="[NAME=]VARIABLE",
    multiple=True,
    help="Over HTTP, let in only who has the token in this environment variable; NAME is who that is. May be repeated.",
)
@click.option("--allow-host", "allow_hosts", metavar="HOST", multiple=True, help="A name by which clients call the server over HTTP.")
@click.option(
    "--allow-origin", "allow_origins", metavar="ORIGIN", multiple=True, help="A web page that may call it, as https://app.example."
)
@click.option("--rate", metavar="CALLS/SECONDS", help="What each client may do at most; default: as much as it likes.")
@click.option("--policy", metavar="MODULE:POLICY", help="A PolicyEngine, asked before each call.")
@click.option("--no-ask", is_flag=True, help="Approvals come from here alone (afk-es approve), and not from the person at the client.")
@click.option("--name", metavar="TEXT", help="The server's name, for clients; default afk_es.")
@common_options
@click.pass_obj
@redaction_options
def serve(
    invocation: Invocation,
    target: str | None,
    debugger: bool,
    http: str | None,
    stdio: bool,
    token_envs: tuple[str, ...],
    allow_hosts: tuple[str, ...],
    allow_origins: tuple[str, ...],
    rate: str | None,
    policy: str | None,
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
    _check(target, debugger=debugger, own_tools=policy is not None or no_ask, redaction=redaction)
    if stdio and http is not None:
        raise ConfigurationError("--stdio and --http are two ways; take one")
    if http is None and (token_envs or allow_hosts or allow_origins):
        raise ConfigurationError(
            "--token-env, --allow-host and --allow-origin are for --http: over stdio whoever starts this is the client"
        )
    address = _address(http) if http is not None else None
    if address is None and sys.stdin is None:
        raise ConfigurationError("stdin is closed, and over stdio the client speaks there; --http HOST:PORT serves over HTTP")
    options: dict[str, Any] = {
        "authenticator": api_keys(token_envs) if token_envs else None,
        "rate_limit": rate_limit(rate) if rate is not None else None,
        "name": name,
    }
    own = {key: value for key, value in options.items() if value is not None}
    if no_ask:
        own["ask_clients"] = False
    if invocation.db is not None and not debugger:
        own["log"] = invocation.db
    _require_sdk()
    from afk_es.cli.mcp_debugger import debugger_server
    from afk_es.mcp.stdio import stdout_kept

    # Over stdio a module that prints when it is imported would speak to the client.
    with nullcontext() if address is not None else stdout_kept():
        if policy is not None:
            own["policy_engine"] = load_engine(policy)
        server = load_server(target, own) if target is not None else debugger_server(invocation.location, redaction, own)
    if address is None:
        if sys.stdin.isatty():
            output.note(
                f"serving {', '.join(server.names()) or 'nothing'} over stdio: the client is whoever writes here, and is meant to be a program "
                "that starts this command; --http serves over HTTP; Ctrl-C ends it"
            )
        asyncio.run(server.serve_stdio())
    else:
        asyncio.run(_serve_http(server, *address, allow_hosts, allow_origins))


def _check(target: str | None, *, debugger: bool, own_tools: bool, redaction: Redaction | None) -> None:
    if target is None and not debugger:
        raise ConfigurationError(f"there is nothing to serve: {_FORM}, or the log with --debugger")
    if debugger and (target is not None or own_tools):
        raise ConfigurationError("--debugger serves the log alone; leave MODULE:TOOLS, --policy and --no-ask out")
    if not debugger and (redaction is None or redaction.keys):
        raise ConfigurationError("--show-secrets and --redact-key are for --debugger: what tools give goes to the client as it is")


def _require_sdk() -> None:
    with of_extra("mcp"):
        import afk_es.mcp.server  # noqa: F401 - whether it can be had


async def _serve_http(server: MCPServer, host: str, port: int, allow_hosts: tuple[str, ...], allow_origins: tuple[str, ...]) -> None:
    async with server.http_server(host, port, allow_hosts=allow_hosts, allow_origins=allow_origins) as served:
        told = f"serving {', '.join(server.names()) or 'nothing'} at {served.url}/mcp; Ctrl-C ends it"
        await served.until_stopped(lambda: output.note(told, "strong"))


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


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ConfigurationError(f"--http is HOST:PORT, such as 127.0.0.1:8000, not {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)
