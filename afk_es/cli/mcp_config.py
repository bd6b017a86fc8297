"""`afk-es mcp-config`: the MCP servers of a config file, and what tools they have."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.errors import AfkError, ConfigurationError
from afk_es.views import visible

if TYPE_CHECKING:
    from afk_es.mcp.config_files import ServerEntry


@click.command("mcp-config", short_help="List the MCP servers of a config file, and their tools.")
@click.argument("file", metavar="FILE")
@click.option("--connect", is_flag=True, help="Connect to each, which runs its command, and list its tools.")
@click.option("--server", metavar="NAME", multiple=True, help="Only this one; may be given several times.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=30.0, show_default=True, metavar="SECONDS", help="For connecting to one."
)
@common_options
@click.pass_obj
def mcp_config(invocation: Invocation, file: str, connect: bool, server: tuple[str, ...], timeout: float) -> None:
    """List the servers of FILE, JSON with "mcpServers" as Claude Desktop, Cursor and others keep it, or with "servers" as VS Code does. No value of
    an env or a header is shown. Exit code 1: with --connect, one cannot be reached.
    """
    from afk_es.mcp import MCPClient  # noqa: F401 - says what to install where that is missing
    from afk_es.mcp.config_files import read_entries

    entries = read_entries(file)
    known = [entry.name for entry in entries]
    for name in server:
        if name not in known:
            raise ConfigurationError(f"{file} has no server {name!r}; there are: {', '.join(known) or 'none'}")
    entries = [entry for entry in entries if not server or entry.name in server]
    found = [_described(entry) for entry in entries]
    if connect:
        asyncio.run(_ask_all(entries, found, Path(file).parent, timeout))
    match invocation.format:
        case "json":
            output.write_json({"schema": "afk_es.mcp_config/1", "file": file, "servers": found})
        case "jsonl":
            for each in found:
                output.write_json_line({"schema": "afk_es.mcp_server/1", **each})
        case "text":
            _write_text(found, connect)
    if any("error" in each for each in found):
        raise click.exceptions.Exit(NEGATIVE)


def _described(entry: ServerEntry) -> dict[str, Any]:
    """The entry, with the names of what may be secret and not the values; arguments and addresses hold tokens often enough."""
    from afk_es.mcp.config_files import unset_variables
    from afk_es.mcp.targets import Address

    if entry.kind == "stdio":
        where: dict[str, Any] = {"command": entry.command, "arguments": len(entry.args), "env": sorted(entry.env)}
    else:
        where = {"url": Address(entry.url or "").where, "headers": sorted(entry.headers)}
    return {"name": entry.name, "type": entry.kind, **where, "unset": list(unset_variables(entry, os.environ))}


async def _ask_all(entries: list[ServerEntry], found: list[dict[str, Any]], base: Path, timeout_s: float) -> None:
    # All at once: a server that does not answer takes the whole time.
    await asyncio.gather(*(_ask(entry, each, base, timeout_s) for entry, each in zip(entries, found, strict=True)))


async def _ask(entry: ServerEntry, found: dict[str, Any], base: Path, timeout_s: float) -> None:
    from afk_es.mcp.config_files import client_of

    try:
        async with client_of(entry, base, os.environ, connect_timeout_s=timeout_s) as client:
            listing = await client.listing()
    except AfkError as error:
        found["error"] = str(error)
        return
    found["tools"] = [{"name": tool.name, "description": tool.description} for tool in listing.tools]
    found["left_out"] = listing.left_out


def _write_text(found: list[dict[str, Any]], connect: bool) -> None:
    if not found:
        output.note("the file has no server that is not disabled")
        return
    rows = [(each["name"], each["type"], each.get("url") or each["command"], _with(each)) for each in found]
    header, *lines = output.table(("server", "type", "where", "with"), rows, total=output.width())
    output.echo(output.toned(header, "quiet"))
    for line, each in zip(lines, found, strict=True):
        output.echo(line)
        if "error" in each:
            output.echo(f"    {output.toned('cannot be used', 'bad')}: {visible(each['error'])}")
        elif each["unset"]:
            output.echo(f"    {output.toned('not set here', 'mark')}: {', '.join(each['unset'])}")
        for tool in each.get("tools", ()):
            output.echo(f"    {output.toned(tool['name'], 'strong')}  {visible(tool['description'].partition(chr(10))[0])[:90]}")
        for name, why in each.get("left_out", {}).items():
            output.echo(f"    {output.toned('left out', 'mark')} {visible(name)[:80]}: {visible(why)}")
    if not connect:
        output.note("--connect asks each for its tools")


def _with(each: dict[str, Any]) -> str:
    if each["type"] == "http":
        return f"headers {', '.join(each['headers'])}" if each["headers"] else ""
    words = each["arguments"]
    said = [f"{words} argument{'' if words == 1 else 's'}"] if words else []
    return ", ".join([*said, *([f"env {' '.join(each['env'])}"] if each["env"] else [])])
