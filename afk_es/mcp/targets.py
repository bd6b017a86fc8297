"""What a client connects to, and how: an address, a command, or a server of this same program. It knows no tool.

Headers and environment variables often are secrets: no text made here, and no `repr`, has a value of theirs.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import httpx2
from mcp.client import Transport
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import MCP_SESSION_ID, streamable_http_client
from mcp.server import Server
from mcp.server.mcpserver import MCPServer as SDKServer

from afk_es.errors import ConfigurationError
from afk_es.mcp.subprocesses import spoken_to

_IDLE_S = 300.0
"""Seconds that an HTTP answer may be silent. The deadline of a call is its own; this is for streams that nobody waits for."""


class RefusedError(Exception):
    """The server does not let this client in."""


Refused = Callable[[int, bool], None]
"""Told of an HTTP error: its status, and whether it answers a request of a session."""


class Target(Protocol):
    """Somewhere that has tools."""

    @property
    def where(self) -> str:
        """The target for people, without anything that may be secret."""
        ...

    @property
    def usual_name(self) -> str:
        """What the server is called where nobody said."""
        ...

    def opened(self, max_bytes: int, refused: Refused) -> Any:
        """What the SDK's Client connects to, once.

        Args:
            max_bytes: of one answer, as far as the way of transport can bound it.
            refused: told of HTTP errors; the SDK says that there was one, and not which.
        """
        ...


@dataclass(frozen=True)
class Address:
    """A server that speaks streamable HTTP."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: httpx2.Auth | None = field(default=None, repr=False)

    @property
    def where(self) -> str:
        """Without user, query and fragment: all three may hold secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def usual_name(self) -> str:
        """The host."""
        return urlsplit(self.url).hostname or "server"

    @asynccontextmanager
    async def _streams(self, max_bytes: int, refused: Refused) -> AsyncIterator[Any]:
        async def looked_at(response: httpx2.Response) -> None:
            if response.status_code in (401, 403) and self.auth is None:
                raise RefusedError(f"it answers {response.status_code}: the token is missing, wrong or worn out; give headers= or auth=")
            if response.status_code >= 400:
                refused(response.status_code, MCP_SESSION_ID in response.request.headers)
            _bound(response, max_bytes)

        # A compressed answer of a few bytes may be gigabytes, so none is asked for and none is read.
        headers = {"accept-encoding": "identity", **self.headers}
        timeout = httpx2.Timeout(30.0, read=_IDLE_S)
        hooks = {"response": [looked_at]}
        async with (
            httpx2.AsyncClient(headers=headers, auth=self.auth, timeout=timeout, event_hooks=hooks) as client,
            streamable_http_client(self.url, http_client=client, max_sse_event_size=max_bytes) as streams,
        ):
            yield streams

    def opened(self, max_bytes: int, refused: Refused) -> Transport:
        """An HTTP client of its own, with the headers."""
        return self._streams(max_bytes, refused)


def _bound(response: httpx2.Response, max_bytes: int) -> None:
    """Let nobody read more of this answer than it may have. Events of a stream are bounded one by one, by who reads them."""
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        response.stream = _Bounded(response.stream, 0, "the answer is compressed, which was not asked for")
    elif not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
        response.stream = _Bounded(response.stream, max_bytes, f"the answer has more than {max_bytes} bytes")


class _Bounded(httpx2.AsyncByteStream):
    """A body of which at most so much is read."""

    def __init__(self, body: Any, max_bytes: int, otherwise: str) -> None:
        self._body = body
        self._left = max_bytes
        self._otherwise = otherwise

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            self._left -= len(chunk)
            if self._left < 0:
                # What the SDK makes an error of this one request of, and not of the whole connection.
                raise httpx2.StreamError(self._otherwise)
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


@dataclass(frozen=True)
class Command:
    """A server that is a subprocess, spoken to over its stdin and stdout. Of this program's environment it gets what the SDK deems safe
    (PATH, HOME and a few more), and what is given.
    """

    command: str
    args: tuple[str, ...] = field(default=(), repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None

    @property
    def where(self) -> str:
        """The command without its arguments, which may hold secrets."""
        return f"the command {self.command!r}"

    @property
    def usual_name(self) -> str:
        """The command's file."""
        return Path(self.command).stem

    def opened(self, max_bytes: int, refused: Refused) -> Transport:
        """The subprocess begins when this is entered, and has ended when it is left."""
        parameters = StdioServerParameters(command=self.command, args=list(self.args), env=dict(self.env) or None, cwd=self.cwd)
        transport: Transport = spoken_to(parameters, max_bytes)
        return transport


@dataclass(frozen=True)
class InProcess:
    """A server object of this program."""

    server: Server[Any] | SDKServer = field(repr=False)

    @property
    def where(self) -> str:
        """Its name for itself."""
        return f"the server {self.server.name!r} of this program"

    @property
    def usual_name(self) -> str:
        """Its name for itself."""
        return self.server.name

    def opened(self, max_bytes: int, refused: Refused) -> Server[Any] | SDKServer:
        """Itself."""
        return self.server


def target_of(
    target: Any,
    headers: Mapping[str, str] | None,
    auth: httpx2.Auth | None,
    env: Mapping[str, str] | None,
    cwd: str | os.PathLike[str] | None,
) -> Target:
    """What the arguments of an MCPClient mean.

    Raises:
        ConfigurationError: nothing that could be connected to, or options of another kind of target.
    """
    if isinstance(target, StdioServerParameters):
        if env is not None or cwd is not None:
            raise ConfigurationError("StdioServerParameters have an env and a cwd of their own; give them there")
        target, env, cwd = [target.command, *target.args], target.env, target.cwd
    if isinstance(target, str):
        _check_options("a URL", "a command", env=env, cwd=cwd)
        return _address(target, headers, auth)
    _check_options("a command" if isinstance(target, Sequence) else "a server object", "a URL", headers=headers, auth=auth)
    if isinstance(target, Sequence) and not isinstance(target, (bytes, bytearray)):
        return _command(target, env, cwd)
    _check_options("a server object", "a command", env=env, cwd=cwd)
    if isinstance(target, (Server, SDKServer)):
        return InProcess(target)
    raise ConfigurationError(
        f"an MCP server is a URL, a command as a list such as ['uvx', 'mcp-server-time'], or a server object; this is {type(target).__name__}"
    )


def _check_options(is_a: str, belong_to: str, **options: object) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigurationError(f"{' and '.join(given)} belong to {belong_to}, and the target is {is_a}")


def _address(url: str, headers: Mapping[str, str] | None, auth: httpx2.Auth | None) -> Address:
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine:
        raise ConfigurationError(
            "a target that is a text is a URL such as 'https://example.org/mcp'; write a command as a list, ['uvx', 'mcp-server-time']"
        )
    headers = {} if headers is None else headers
    offered: Mapping[Any, Any] = headers
    for name, value in offered.items():
        if not isinstance(value, str) or re.search(r"[\r\n\0]", f"{name}{value}"):
            raise ConfigurationError(f"header {name!r} is a text of one line")
    return Address(url, dict(headers), auth)


def _command(target: Sequence[Any], env: Mapping[str, str] | None, cwd: str | os.PathLike[str] | None) -> Command:
    words = [os.fspath(word) if isinstance(word, os.PathLike) else word for word in target]
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words) or not words[0]:
        raise ConfigurationError("a command is a list of texts, the program first: ['uvx', 'mcp-server-time']")
    offered: Mapping[Any, Any] = env or {}
    for name, value in offered.items():
        if not isinstance(value, str) or "\0" in value:
            raise ConfigurationError(f"env: {name!r} is a text")
    return Command(words[0], tuple(words[1:]), dict(env or {}), None if cwd is None else os.fspath(cwd))
