"""`MCPClient`: the tools of a server that speaks MCP, for agents to call. How a run goes on when one fails is the machine's affair."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import anyio
import httpx2
import mcp_types
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError, ToolError, ToolUnavailableError
from afk_es.machine.spec import ToolSpec
from afk_es.mcp.asking_again import Asking, AskingAgain
from afk_es.mcp.connection import Connection, reason_of
from afk_es.mcp.progress import Progress
from afk_es.mcp.remote_results import cleaned, output_of
from afk_es.mcp.remote_tools import Catalogue, Listing, RemoteTool, keeps_keys
from afk_es.mcp.results import IDEMPOTENCY_KEY, WITHDRAWN
from afk_es.mcp.targets import target_of
from afk_es.tools import Tool, ToolContext
from afk_es.tools.decorator import require_name

if TYPE_CHECKING:
    from mcp.client.stdio import StdioServerParameters
    from mcp.server import Server
    from mcp.server.mcpserver import MCPServer as SDKServer

_LOG = logging.getLogger("afk_es.mcp")

_ATTEMPTS = 3
_FIRST_PAUSE_S = 0.25
_MAX_PAGES = 64
_MAX_TOOLS = 1_000
_ENVELOPE_BYTES = 64 * 1024
_WIRE_FACTOR = 8
"""A byte of a result is up to six as JSON within JSON, and many servers send a result twice: structured, and as text."""

_FORGOTTEN = (mcp_types.INVALID_REQUEST, -32001)
"""How the SDKs say that there is no such session, beside HTTP's 404: Python's, and TypeScript's."""

_CALLED: TypeAdapter[mcp_types.CallToolResult | mcp_types.InputRequiredResult] = TypeAdapter(
    mcp_types.CallToolResult | mcp_types.InputRequiredResult
)


@dataclass
class _Use:
    """The client in one event loop."""

    users: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    connection: Connection | None = None
    listing: Listing | None = None
    listed_at: float = 0.0
    changed: bool = True

    def note_change(self) -> None:
        self.changed = True


class MCPClient:
    """A server whose tools an agent may call: `Agent(mcp_servers=[MCPClient(...)])`.

    What the server says is data of somebody else's. Names, descriptions, schemas and results are bounded and checked, results reach the
    model marked as untrusted, and what the server says of its tools' behaviour counts for nothing unless it is `trusted`. A description
    still is a text that the model reads: connect to servers that you would install.

    Args:
        target: a URL (streamable HTTP), a command as a list of its words (run as a subprocess, spoken to over stdin and stdout), the
            SDK's `StdioServerParameters`, or a server object of this program.
        name: what logs and errors call it, of 1 to 64 letters, digits, '_' and '-'; default from the target.
        prefix: before the names of its tools, so that two servers' do not clash; default the name and "_".
        tools: the names (the server's) of those to offer; default all. One that the server does not have, or that cannot be used, is an
            error; of the others, those that cannot be used are left out, and logged as a warning.
        headers: for a URL, sent with every request, such as {"Authorization": "Bearer ..."}.
        auth: for a URL, an `httpx2.Auth`, such as the SDK's OAuthClientProvider.
        env: for a command, added to what it gets of this program's environment: PATH, HOME, LOGNAME, SHELL, TERM and USER.
        cwd: for a command, its directory; default that of this program.
        trusted: believe what the server says of its tools: that one only reads, or can be called twice, or keeps to idempotency keys,
            decides whether a call is made again after a crash. Default False.
        required: a run cannot start while the server cannot be reached; default True. With False it starts without the server's tools.
        timeout_s: seconds that a call may take, connecting included; default 60.
        connect_timeout_s: seconds for connecting once, and for asking what tools there are; default 30.
        max_result_bytes: of a call's result as JSON; a larger one is a failure of the call. Default 1 MB.
        list_max_age_s: seconds after which it is asked again, before a call, whether its tools have changed; default 60. When a run starts
            the server is asked, unless it has promised to tell and was asked within this time. What it tells is heeded at once.
        protocol: "auto" (default), "legacy" for a server that does not take the question which protocol it speaks, or a version.
        clock: what pauses go by; default the system's.

    Where a server of afk_es has a person asked before it runs a tool, the call waits: it is made again by the same key, every 0.5 to 5 s, within
    `timeout_s`. So is a call of any server that says of the tool that it keeps to keys and of the result that it waits, `trusted` or not, at most
    1000 times: one that says so and runs the tool twice could have done that at the first call. A run that is cancelled meanwhile cancels the
    call there.

    The connection is made when a run first needs the server, made again when it was lost, and closed with the last run that used it; a
    subprocess has ended by then. `async with client:` keeps it open. It may be shared by any number of agents, Runners and event loops.

    Raises:
        ConfigurationError: an argument that cannot work.
    """

    def __init__(
        self,
        target: str | Sequence[str | os.PathLike[str]] | StdioServerParameters | Server[Any] | SDKServer,
        *,
        name: str | None = None,
        prefix: str | None = None,
        tools: Iterable[str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: httpx2.Auth | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        trusted: bool = False,
        required: bool = True,
        timeout_s: float = 60.0,
        connect_timeout_s: float = 30.0,
        max_result_bytes: int = 1_000_000,
        list_max_age_s: float = 60.0,
        protocol: str = "auto",
        clock: Clock | None = None,
    ) -> None:
        self._target = target_of(target, headers, auth, env, cwd)
        if name is None:
            name = re.sub(r"[^a-zA-Z0-9_-]", "_", self._target.usual_name)[:64] or "server"
        require_name(name, "server")
        self._name = name
        for what, value in (("timeout_s", timeout_s), ("connect_timeout_s", connect_timeout_s), ("max_result_bytes", max_result_bytes)):
            if not 0 < value < float("inf"):
                raise ConfigurationError(f"server {name!r}: {what} must be above 0, not {value!r}")
        if protocol not in ("auto", "legacy", *mcp_types.version.MODERN_PROTOCOL_VERSIONS):
            raise ConfigurationError(f"server {name!r}: protocol is 'auto', 'legacy' or a version such as '2026-07-28', not {protocol!r}")
        if isinstance(tools, str):
            raise ConfigurationError(f"server {name!r}: tools is a sequence of names, not one name; write [{tools!r}]")
        self._wanted = None if tools is None else frozenset(tools)
        self._required = required
        self._connect_timeout_s = connect_timeout_s
        self._max_result_bytes = max_result_bytes
        self._list_max_age_s = list_max_age_s
        self._protocol = protocol
        self._clock: Clock = SystemClock() if clock is None else clock
        prefix = f"{name}_" if prefix is None else prefix
        self._catalogue = Catalogue(name, prefix, self._wanted, trusted, timeout_s, self._call)
        self._asking = AskingAgain(name, self._clock)
        self._uses: WeakKeyDictionary[asyncio.AbstractEventLoop, _Use] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        """The name that the log has it under."""
        return self._name

    def __repr__(self) -> str:
        return f"MCPClient({self._name!r}, {self._target.where})"

    async def __aenter__(self) -> MCPClient:
        """Be ready to be asked in this event loop. It connects when it is."""
        self._uses.setdefault(asyncio.get_running_loop(), _Use()).users += 1
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Done with it. The last one out closes the connection of this event loop."""
        use = self._uses[asyncio.get_running_loop()]
        use.users -= 1
        async with use.turn:
            if use.users:
                return
            connection, use.connection = use.connection, None
            if connection is not None:
                await connection.close()

    async def tools(self) -> tuple[Tool[..., Any], ...]:
        """The tools that it has now, by their names for the model.

        Raises:
            ToolError: it cannot be reached, or has not what `tools` names; a server that is not `required` answers () instead.
        """
        try:
            return (await self.listing()).tools
        except ToolError as error:
            if self._required:
                raise
            _LOG.warning("going on without the tools of server %r: %s", self._name, error)
            return ()

    def recorded(self, tools: Iterable[ToolSpec]) -> tuple[Tool[..., Any], ...]:
        """Its tools as a log has them, without connecting. A call of one connects then."""
        return tuple(self._catalogue.recorded(spec) for spec in tools)

    async def listing(self) -> Listing:
        """The tools that it has now, and those that are left out, with the reasons.

        Raises:
            ToolError: it cannot be reached, or has not what `tools` names.
        """
        use = self._use()
        async with use.turn:
            connection = await self._connected(use)
            if use.listing is None or use.changed or not connection.notifies or self._aged(use):
                await self._list(use, connection)
            assert use.listing is not None
            return use.listing

    # ------------------------------------------------------------------------------------------------------------------- the connection

    def _use(self) -> _Use:
        use = self._uses.get(asyncio.get_running_loop())
        if use is None or not use.users:
            raise ToolError(f"server {self._name!r} is not in use here: a Runner enters it for its runs; else write `async with client:`")
        return use

    async def _connected(self, use: _Use) -> Connection:
        """A connection that is not known to be lost. To be called in turn."""
        if use.connection is not None and not use.connection.lost:
            return use.connection
        if use.connection is not None:
            lost, use.connection = use.connection, None
            await lost.close()
        wire_bytes = self._max_result_bytes * _WIRE_FACTOR + _ENVELOPE_BYTES
        attempt = 0
        while True:
            connection = Connection(self._target, self._protocol, wire_bytes, use.note_change)
            try:
                await connection.open(self._connect_timeout_s)
            except ToolUnavailableError as error:
                attempt += 1
                if attempt == _ATTEMPTS or connection.hopeless:
                    raise self._unreachable(error) from None
                await self._clock.sleep(_FIRST_PAUSE_S * 2 ** (attempt - 1))
            else:
                use.connection, use.changed = connection, True
                return connection

    def _unreachable(self, error: ToolError) -> ToolUnavailableError:
        return ToolUnavailableError(
            f"server {self._name!r} ({self._target.where}) cannot be reached: {error}. Start it, or correct how it is reached; an agent that "
            "can do without it has it with required=False"
        )

    async def _list(self, use: _Use, connection: Connection) -> None:
        """Ask what tools there are. To be called in turn."""
        # Before it is asked: what changes meanwhile is asked for again.
        use.changed = False
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                listed = await self._pages(connection)
        except TimeoutError:
            use.changed = True
            raise ToolUnavailableError(
                f"server {self._name!r} did not say within {self._connect_timeout_s:g} s what tools it has"
            ) from None
        except (MCPError, ValidationError, RuntimeError, OSError) as error:
            use.changed = True
            kind = ToolUnavailableError if connection.lost else ToolError
            raise kind(f"server {self._name!r} could not say what tools it has: {reason_of(error)}") from None
        before, use.listing = use.listing, self._catalogue.listing(listed)
        use.listed_at = self._clock.monotonic()
        missing = {tool: why for tool, why in use.listing.left_out.items() if self._wanted is not None and tool in self._wanted}
        if missing:
            use.listing, use.changed = None, True
            reasons = "; ".join(f"{tool!r}: {why}" for tool, why in sorted(missing.items()))
            raise ToolError(f"server {self._name!r} has not all the tools that are wanted of it: {reasons}")
        if use.listing is not before:
            for tool, why in use.listing.left_out.items():
                _LOG.warning("tool %r of server %r is left out: %s", cleaned(tool, 80), self._name, why)

    async def _pages(self, connection: Connection) -> list[mcp_types.Tool]:
        found: list[mcp_types.Tool] = []
        cursor: str | None = None
        for _page in range(_MAX_PAGES):
            page = await connection.client.list_tools(cursor=cursor)
            found += page.tools
            cursor = page.next_cursor
            if len(found) > _MAX_TOOLS:
                raise RuntimeError(f"it lists more than {_MAX_TOOLS} tools")
            if not cursor:
                return found
        raise RuntimeError(f"its list has more than {_MAX_PAGES} pages")

    # ------------------------------------------------------------------------------------------------------------------------ the calls

    async def _call(self, remote: RemoteTool, args: dict[str, Any], ctx: ToolContext) -> Any:
        """Have the server run a tool.

        Raises:
            ToolError: it failed; the message says whether the call was made.
        """
        asking = Asking(
            tool=remote.local,
            args=args,
            timeout_s=remote.timeout_s,
            ask=lambda key: self._taken(remote, args, ctx, {IDEMPOTENCY_KEY: key} if key else None),
            withdraw=lambda key: self._taken(remote, args, ctx, {IDEMPOTENCY_KEY: key, WITHDRAWN: True}),
        )
        result = await self._asking.result(asking, ctx)
        if isinstance(result, mcp_types.InputRequiredResult):
            raise ToolError(f"server {self._name!r} asks for something before it runs {remote.local}, and this program answers no server")
        return await asyncio.to_thread(output_of, result, remote.local, self._name, remote.output, self._max_result_bytes)

    async def _taken(
        self, remote: RemoteTool, args: dict[str, Any], ctx: ToolContext, meta: Any
    ) -> tuple[mcp_types.CallToolResult | mcp_types.InputRequiredResult, bool]:
        """The server's answer to a call, and whether it says that it keeps to keys."""
        use = self._use()
        for again in (True, False):
            connection, name, listed = await self._current(use, remote)
            try:
                return await self._asked(connection, remote, name, args, ctx, meta), keeps_keys(listed)
            except _NotTaken as error:
                if again:
                    continue
                raise ToolUnavailableError(f"server {self._name!r} did not take the call of {remote.local}: {error}") from None
        raise AssertionError("unreachable")

    async def _current(self, use: _Use, remote: RemoteTool) -> tuple[Connection, str, dict[str, Any]]:
        """A connection on which the tool is what the run was told it is, and the server's name for it, and what it says of it now."""
        connection = use.connection
        if connection is None or connection.lost or use.changed or self._aged(use):
            async with use.turn:
                connection = await self._connected(use)
                if use.listing is None or use.changed or self._aged(use):
                    await self._list(use, connection)
        assert use.listing is not None
        name, now = use.listing.named(remote)
        if now is None:
            raise ToolError(f"server {self._name!r} no longer has the tool {name!r}, so it was not called")
        if differences := remote.differences(now):
            raise ToolError(
                f"tool {name!r} of server {self._name!r} has changed since this run was told of it, so it was not called: "
                + "; ".join(differences)
            )
        return connection, name, now

    def _aged(self, use: _Use) -> bool:
        # Of one that promises to tell as well: the promise often is the SDK's, which tells when the server's author does.
        return self._clock.monotonic() - use.listed_at >= self._list_max_age_s

    async def _asked(
        self, connection: Connection, remote: RemoteTool, name: str, args: dict[str, Any], ctx: ToolContext, meta: Any
    ) -> mcp_types.CallToolResult | mcp_types.InputRequiredResult:
        request = mcp_types.CallToolRequest(params=mcp_types.CallToolRequestParams(name=name, arguments=args, _meta=meta))
        try:
            # Not the SDK's call_tool: it would hold the result against the schema without a bound, and answer what servers ask.
            return await connection.client.session.send_request(request, _CALLED, progress_callback=Progress(ctx, self._clock))
        except MCPError as error:
            raise await self._failure(connection, remote, error) from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, OSError):
            raise self._unknown(connection, remote) from None
        except (ValidationError, RuntimeError, ValueError) as error:
            raise ToolError(
                f"what server {self._name!r} answered to the call of {remote.local} is no result of a call; whether it did its work is not "
                f"known: {reason_of(error)}"
            ) from None

    async def _failure(self, connection: Connection, remote: RemoteTool, error: MCPError) -> Exception:
        message = connection.explained(cleaned(error.error.message, 1_000))
        # The SDK's code for this is the one that servers use for errors of their own.
        if error.error.code == mcp_types.CONNECTION_CLOSED and message.startswith(_LOST):
            # Why it is over is known when all that belongs to it has ended.
            await connection.ended(1.0)
            if isinstance(connection.error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
                return _NotTaken(reason_of(connection.error))
            return self._unknown(connection, remote)
        if connection.forgotten and error.error.code in _FORGOTTEN:
            return _NotTaken(message)
        if error.error.code == mcp_types.HEADER_MISMATCH:
            return ToolError(f"server {self._name!r} refused the call of {remote.local}, whose schema has changed: {message}")
        return ToolError(f"server {self._name!r} refused the call of {remote.local}: {message}")

    def _unknown(self, connection: Connection, remote: RemoteTool) -> ToolUnavailableError:
        reason = "" if connection.error is None else f" ({reason_of(connection.error)})"
        return ToolUnavailableError(
            f"the connection to server {self._name!r} was lost while {remote.local} ran{reason}: whether it did its work is not known"
        )


_LOST = ("Connection closed", "SSE stream ")
"""How the SDK begins what it says of a connection, or an answer, that broke off."""


class _NotTaken(Exception):
    """A call that the server cannot have begun with."""
