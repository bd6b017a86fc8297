"""A live connection to a server, owned by one task from its opening to its end. It knows no tool and no run.

The SDK's connections are made of cancel scopes that must be entered and left by the same task. Runs come and go in tasks of their own,
so none of them may own one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any

import httpx2
from mcp.client import Client, IncomingMessage, Transport
from mcp.client._transport import ReadStream, TransportStreams
from mcp.client.subscriptions import SubscriptionLost
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError
from mcp.shared.message import SessionMessage
from mcp_types import Implementation, ToolListChangedNotification
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from afk_es.errors import ToolUnavailableError, text_of
from afk_es.mcp.remote_results import cleaned
from afk_es.mcp.targets import RefusedError, Target

_LOG = logging.getLogger("afk_es.mcp")

_CLOSING_S = 15.0
"""What a connection has for closing. The SDK gives a subprocess some seconds to end by itself, and then ends it."""

_ERROR_RESPONSE = "Server returned an error response"
"""What the SDK says of every HTTP error but 404."""

_LISTENING_S = 5.0
"""What a server has for taking a subscription to changes of its tools."""


class Connection:
    """One connection, opened by `open` and over when `lost` or closed; it is not opened again.

    Args:
        target: what it goes to.
        protocol: the SDK's `mode`.
        max_bytes: of one answer.
        changed: called when the server says that its tools have changed.
    """

    def __init__(self, target: Target, protocol: str, max_bytes: int, changed: Callable[[], None]) -> None:
        self._target = target
        self._protocol = protocol
        self._max_bytes = max_bytes
        self._changed = changed
        self._ready: asyncio.Future[Client] | None = None
        self._owner: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self._late = False
        self._status: int | None = None
        self.forgotten: bool = False
        """Whether the server has said that it does not know this session any more, and so has not begun with what it was asked."""
        self.notifies: bool = False
        """Whether the server has promised to tell when its tools change."""

    async def open(self, timeout_s: float) -> None:
        """Connect.

        Raises:
            ToolUnavailableError: it could not be done, or not in time; the message says what happened.
        """
        loop = asyncio.get_running_loop()
        self._ready = loop.create_future()
        self._owner = loop.create_task(self._own(), name=f"connection to {self._target.where}")
        try:
            waited: set[asyncio.Future[Any]] = {self._ready, self._owner}
            await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._end()
            raise
        if self._ready.done():
            return
        self._late = not self._owner.done()
        await self._end()
        if self._late:
            raise ToolUnavailableError(f"no answer within {timeout_s:g} s")
        raise ToolUnavailableError("it closed the connection" if self.error is None else self.explained(reason_of(self.error)))

    @property
    def lost(self) -> bool:
        """Whether it is over."""
        return self._owner is None or self._owner.done() or self._stop.is_set() or self.forgotten

    @property
    def error(self) -> BaseException | None:
        """Why it is over, where that is known."""
        if self._owner is None or not self._owner.done() or self._owner.cancelled():
            return None
        error = self._owner.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error

    @property
    def hopeless(self) -> bool:
        """Whether trying again at once would be in vain."""
        return self._late or isinstance(self.error, (FileNotFoundError, PermissionError, NotADirectoryError, RefusedError))

    @property
    def client(self) -> Client:
        """The SDK's client. Any task of this event loop may ask it."""
        assert self._ready is not None
        return self._ready.result()

    def _refused(self, status: int, in_session: bool) -> None:
        self._status = status
        if status == 404 and in_session:
            self._forget()

    def explained(self, text: str) -> str:
        """What the SDK says, and of an HTTP error which."""
        return f"{text} (HTTP {self._status})" if text == _ERROR_RESPONSE and self._status is not None else text

    async def ended(self, timeout_s: float) -> None:
        """Wait until it is over, if that comes soon."""
        if self._owner is not None:
            await asyncio.wait({self._owner}, timeout=timeout_s)

    def _forget(self) -> None:
        self.forgotten = True

    async def close(self) -> None:
        """End it, and wait until all that belongs to it has ended."""
        self._stop.set()
        if self._owner is None:
            return
        done, _late = await asyncio.wait({self._owner}, timeout=_CLOSING_S)
        if not done:
            _LOG.warning("the connection to %s did not close within %g s and is cut off", self._target.where, _CLOSING_S)
        await self._end()

    async def _end(self) -> None:
        assert self._owner is not None
        self._owner.cancel()
        await asyncio.wait({self._owner})
        if not self._owner.cancelled():
            # Taken, so that nobody says that it was never looked at.
            self._owner.exception()

    async def _own(self) -> None:
        opened = self._target.opened(self._max_bytes, self._refused)
        client = Client(
            opened if isinstance(opened, (Server, MCPServer)) else _watched(opened, self._stop.set),
            mode=self._protocol,
            message_handler=self._heard,
            client_info=Implementation(name="afk_es", version="1"),
            # What the server has is kept where runs need it, by us.
            cache=None,
        )
        async with client:
            assert self._ready is not None
            tools = client.server_capabilities.tools
            promised = tools is not None and bool(tools.list_changed)
            listening = None
            if promised and client.protocol_version in MODERN_PROTOCOL_VERSIONS:
                acknowledged = asyncio.Event()
                listening = asyncio.create_task(self._listen(client, acknowledged))
                # One that never answers this is asked for its list all the same.
                with suppress(TimeoutError):
                    await asyncio.wait_for(acknowledged.wait(), _LISTENING_S)
            else:
                self.notifies = promised
            self._ready.set_result(client)
            try:
                await self._stop.wait()
            finally:
                if listening is not None:
                    listening.cancel()
                    await asyncio.wait({listening})

    async def _listen(self, client: Client, acknowledged: asyncio.Event) -> None:
        """Hear of changes, as servers of the newer protocol tell of them."""
        try:
            async with client.listen(tools_list_changed=True) as told:
                self.notifies = bool(told.honored.tools_list_changed)
                acknowledged.set()
                async for _event in told:
                    self._changed()
        except (SubscriptionLost, MCPError) as error:
            _LOG.info("%s does not tell when its tools change: %s", self._target.where, reason_of(error))
        finally:
            self.notifies = False
            self._changed()
            acknowledged.set()

    async def _heard(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._changed()


@asynccontextmanager
async def _watched(transport: Transport, over: Callable[[], None]) -> AsyncIterator[TransportStreams]:
    """The transport, and word when nothing more can be read from it. The SDK tells that to who waits for an answer, and to nobody else."""
    async with transport as (read, write):
        yield _WatchedStream(read, over), write


class _WatchedStream:
    """What is read from a server."""

    def __init__(self, stream: ReadStream[SessionMessage | Exception], over: Callable[[], None]) -> None:
        self._stream = stream
        self._over = over

    def __getattr__(self, name: str) -> Any:
        # Transports have more to say of a message than the port has.
        return getattr(self._stream, name)

    async def receive(self) -> SessionMessage | Exception:
        return await self._stream.receive()

    async def aclose(self) -> None:
        await self._stream.aclose()

    def __aiter__(self) -> _WatchedStream:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        return await self._stream.__anext__()

    async def __aenter__(self) -> _WatchedStream:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        self._over()
        return await self._stream.__aexit__(kind, error, trace)


def reason_of(error: BaseException) -> str:
    """What went wrong, in a line."""
    if isinstance(error, httpx2.ConnectError):
        return "nobody answers at that address"
    if isinstance(error, FileNotFoundError):
        return f"there is no {error.filename!r}"
    return cleaned(" ".join(text_of(error).split()), 300) or type(error).__name__
