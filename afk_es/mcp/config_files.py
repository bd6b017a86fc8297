"""The JSON in which programs that speak MCP keep their servers (`mcpServers`), read as clients. It connects to nobody.

    {"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"], "env": {"TZ": "${TZ:-UTC}"}},
                    "wiki": {"url": "https://example.org/mcp", "headers": {"Authorization": "Bearer ${WIKI_TOKEN}"}}}}

There is no standard of it: this is what the common ones have in common. What others keep there beside it is left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from afk_es.errors import ConfigurationError
from afk_es.mcp.client import MCPClient

_MAX_BYTES = 1_000_000
_VARIABLE = re.compile(r"\$\{(?:env:)?([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_UNKNOWN = re.compile(r"\$\{[^}]*\}")
_HTTP = ("http", "streamable-http", "streamableHttp", "streamable_http")


class ServerEntry(msgspec.Struct):
    """A server as a file has it, before variables are filled in. Values may be secret; names are not.

    Attributes:
        name: as the file has it.
        kind: how it is spoken to.
    """

    name: str
    command: str | None = None
    args: list[str] = []
    env: dict[str, str] = {}
    cwd: str | None = None
    url: str | None = None
    headers: dict[str, str] = {}

    @property
    def kind(self) -> str:
        """`stdio` or `http`."""
        return "stdio" if self.command is not None else "http"

    def __repr__(self) -> str:
        return f"ServerEntry({self.name!r}, {self.kind})"


def read_config(
    path: str | os.PathLike[str],
    *,
    names: Collection[str] | None = None,
    trusted: Collection[str] = (),
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> tuple[MCPClient, ...]:
    """The servers of a config file, as clients for `Agent(mcp_servers=...)`. Those that the file says are disabled are left out.

    `${NAME}` in a value is the environment variable of that name, and `${NAME:-x}` is x where there is none.

    Args:
        path: the file. A relative `cwd` in it is below the file's directory.
        names: those to take; default all.
        trusted: the names of those whose hints are believed; see MCPClient.
        environ: what variables are looked up in; default this program's environment.
        options: for every client, as MCPClient has them, such as `required` and `timeout_s`.

    Raises:
        ConfigurationError: the file cannot be read, or what it says cannot work; the message names the server and never a value.
    """
    entries = read_entries(path)
    known = [entry.name for entry in entries]
    for name in (*(names or ()), *trusted):
        if name not in known:
            raise ConfigurationError(f"{os.fspath(path)} has no server {name!r}; there are: {', '.join(known) or 'none'}")
    variables = os.environ if environ is None else environ
    wanted = [entry for entry in entries if names is None or entry.name in names]
    return tuple(client_of(entry, Path(path).parent, variables, trusted=entry.name in trusted, **options) for entry in wanted)


def read_entries(path: str | os.PathLike[str]) -> list[ServerEntry]:
    """What the file says, as it says it.

    Raises:
        ConfigurationError: it cannot be read as such a file.
    """
    where = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{where}: {error.strerror or error}") from None
    if len(content) > _MAX_BYTES:
        raise ConfigurationError(f"{where} has more than {_MAX_BYTES} bytes, which is no list of servers")
    try:
        data = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{where} is not JSON: {error}") from None
    servers = next((data[key] for key in ("mcpServers", "servers") if key in data), None) if isinstance(data, dict) else None
    if not isinstance(servers, dict):
        raise ConfigurationError(f'{where} has no "mcpServers": {{"name": {{"command": ...}} or {{"url": ...}}}}')
    found = [_entry(name, entry, where) for name, entry in servers.items()]
    return [entry for entry in found if entry is not None]


def unset_variables(entry: ServerEntry, environ: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that the entry wants and that are not set, in order; those that have a default are not among them."""
    values = (entry.command, *entry.args, *entry.env.values(), entry.cwd, entry.url, *entry.headers.values())
    wanted = (found.groups() for text in values if text is not None for found in _VARIABLE.finditer(text))
    return tuple(dict.fromkeys(name for name, otherwise in wanted if otherwise is None and name not in environ))


def client_of(entry: ServerEntry, base: Path, environ: Mapping[str, str], **options: Any) -> MCPClient:
    """The client of one entry, with its variables filled in.

    Raises:
        ConfigurationError: a variable that is not set, or what MCPClient says of the values.
    """
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", entry.name)[:64]

    def filled(text: str, what: str) -> str:
        return _filled(text, environ, f"server {entry.name!r}: {what}")

    if entry.command is not None:
        words = [filled(entry.command, "command"), *(filled(word, "args") for word in entry.args)]
        env = {key: filled(value, f"env {key}") for key, value in entry.env.items()}
        cwd = None if entry.cwd is None else base / Path(filled(entry.cwd, "cwd")).expanduser()
        return MCPClient(words, name=name, env=env, cwd=cwd, **options)
    headers = {key: filled(value, f"header {key}") for key, value in entry.headers.items()}
    return MCPClient(filled(entry.url or "", "url"), name=name, headers=headers, **options)


def _entry(name: str, entry: Any, where: str) -> ServerEntry | None:
    place = f"{where}: server {name!r}"
    if not name or not isinstance(entry, dict):
        raise ConfigurationError(f'{place} is {{"command": ...}} or {{"url": ...}}')
    if entry.get("disabled") is True or entry.get("enabled") is False:
        return None
    kind = entry.get("type") or entry.get("transport") or ("stdio" if "command" in entry else "http")
    if kind == "sse":
        raise ConfigurationError(f"{place} speaks HTTP+SSE, which streamable HTTP has replaced; ask for its address that speaks the latter")
    if kind != "stdio" and kind not in _HTTP:
        raise ConfigurationError(f"{place}: type is stdio or http, not {kind!r:.40}")
    if "command" not in entry and "url" not in entry:
        raise ConfigurationError(f"{place} has neither a command nor a url; give it one of them")
    keys = ("command", "args", "env", "cwd") if kind == "stdio" else ("url", "headers")
    if not isinstance(entry.get(keys[0]), str) or not entry[keys[0]]:
        raise ConfigurationError(f"{place} has no {keys[0]}")
    if kind == "stdio" and "url" in entry:
        raise ConfigurationError(f"{place} has a command and a url; leave one out")
    values = {key: entry[key] for key in keys if entry.get(key) is not None}
    try:
        return msgspec.convert({"name": name, **values}, ServerEntry)
    except msgspec.ValidationError as error:
        # Says types and places, and no value.
        raise ConfigurationError(f"{place}: {error}") from None


def _filled(text: str, environ: Mapping[str, str], what: str) -> str:
    def value(found: re.Match[str]) -> str:
        name, otherwise = found.groups()
        if name in environ:
            return environ[name]
        if otherwise is None:
            raise ConfigurationError(
                f"{what} wants the environment variable {name}, which is not set; set it, or write ${{{name}:-default}}"
            )
        return str(otherwise)

    for form in _UNKNOWN.findall(text):
        if not _VARIABLE.fullmatch(form):
            raise ConfigurationError(f"{what} has {form!r:.60}, which means something to another program; write ${{NAME}} for a variable")
    return _VARIABLE.sub(value, text)
