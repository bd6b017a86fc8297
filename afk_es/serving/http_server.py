"""A server for an ASGI application over HTTP/1.1, by Uvicorn: on loopback unless told otherwise, and ended in order. It knows nothing of what the
application does.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from afk_es.errors import ConfigurationError, UsageError
from afk_es.serving.answers import answer
from afk_es.serving.intake import checked_intake
from afk_es.serving.listening import address_of, bound, hosts_of, origins_of
from afk_es.serving.news import either, ended_with
from afk_es.serving.punctual import PunctualProtocol
from afk_es.serving.signals import on_signals

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
MAX_CONNECTIONS: Final = 1000
DRAIN_S: Final = 10.0
BODY_TIMEOUT_S: Final = 30.0

CUT_S: Final = 5.0
"""What requests that are cut have to clean up."""

_LOOK_S: Final = 0.02
"""While the server stops, it is looked this often whether connections are left: Uvicorn tells nobody that one has ended."""


class HttpServer:
    """Serves an application while it is entered, once: `async with HttpServer(app) as served: ...`.

    Args:
        app: any ASGI application; its lifespan is that of the server.
        host: the address to listen at, in numbers, or "localhost"; default "127.0.0.1". "::1" is IPv6's loopback.
        port: default 0, any that is free; see `url`.
        allow_hosts: more names by which clients call this server (their `Host` header), without a port, such as that of the proxy before it;
            `("*",)` for any. The address itself is one, and on loopback "localhost".
        allow_origins: pages of other sites that may call it, such as "https://app.example"; default none. There are no CORS headers in any case, so
            a browser shows them no answers unless the application sends some.
        authenticated: whether the application lets only those in whom it knows, as `guarded` sees to. Without it, only loopback is listened at.
        open_to_anyone: listen elsewhere all the same; default False.
        drain_s: seconds that requests in flight have when the server stops; default 10. What is left then is cut.
        on_stop: called when the server begins to stop, with False, and with True when it is to cut what is left at once; default None. For an application
            that has work of its own to end in the same time.
        max_body_bytes: of a request; default 4 MiB. More is answered 413.
        max_connections: at once; default 1000. More are answered 503.
        body_timeout_s: seconds that the body of a request may take to come; default 30. Slower ones are answered 408.

    Raises:
        ConfigurationError: a host that is no address; one that is not loopback for an application that lets everybody in; one that stands for all
            addresses, without `allow_hosts`; a number out of range.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
        authenticated: bool = False,
        open_to_anyone: bool = False,
        drain_s: float = DRAIN_S,
        on_stop: Callable[[bool], object] | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_connections: int = MAX_CONNECTIONS,
        body_timeout_s: float = BODY_TIMEOUT_S,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ConfigurationError(f"a port is a number from 0 to 65535, not {port!r}")
        if not (drain_s >= 0 and max_body_bytes > 0 and max_connections > 0 and body_timeout_s > 0):
            raise ConfigurationError("drain_s is not negative, and max_body_bytes, max_connections and body_timeout_s are more than 0")
        self._address, self._port = address_of(host), port
        if not (self._address.is_loopback or authenticated or open_to_anyone):
            raise ConfigurationError(
                f"{host} can be reached from elsewhere, and the application lets everybody in: give it an authenticator (on the command line "
                "--token-env or --jwks), listen at 127.0.0.1, or, in a program, say open_to_anyone=True"
            )
        hosts = hosts_of(self._address, allow_hosts)
        self._stopping = asyncio.Event()
        self._app = checked_intake(
            ended_with(app, self._stopping),
            hosts=hosts,
            origins=origins_of(allow_origins),
            max_body_bytes=max_body_bytes,
            body_timeout_s=body_timeout_s,
        )
        self._drain_s, self._max_connections = drain_s, max_connections
        self._on_stop = on_stop
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients find it, such as `http://127.0.0.1:8412`, without a slash at the end.

        Raises:
            UsageError: it was not entered yet.
        """
        if self._server is None:
            raise UsageError("a server has an address when it is entered: async with HttpServer(...) as served")
        host = f"[{self._address}]" if self._address.version == 6 else str(self._address)
        return f"http://{host}:{self._port}"

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the server begins to stop: what an application answers for long can end early then."""
        return self._stopping

    async def __aenter__(self) -> Self:
        """Listen, then start the application.

        Raises:
            UsageError: it was entered before.
            ConfigurationError: the address or the port cannot be had; the application was not started.
            Exception: what the application raised when it started.
        """
        if self._server is not None:
            raise UsageError("a server is entered once; make another")
        listening = bound(self._address, self._port)
        self._port = listening.getsockname()[1]
        self._server = _Server(self._app, self._drain_s, self._max_connections)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listening]), name="afk_es.serving")
        try:
            await either(self._serving, self._server.up)
        except asyncio.CancelledError:
            self._serving.cancel()
            await asyncio.wait({self._serving})
            raise
        finally:
            if not self._server.up.is_set():
                # Otherwise it is the event loop's, which closes it when the server stops.
                listening.close()
        if self._serving.done():
            self._serving.result()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    async def until_stopped(self, ready: Callable[[], object] | None = None) -> None:
        """Serve until SIGINT or SIGTERM comes, or until `stop` is called elsewhere; then stop. A second signal cuts the requests in flight at once.

        The signals are taken in the main thread only, and given back in the end.

        Args:
            ready: called once the signals are taken, to tell whoever may send one that the server is there; default None.
        """
        if self._serving is None:
            raise UsageError("this server is not entered: async with HttpServer(...) as served")
        with on_signals(self._signalled):
            if ready is not None:
                ready()
            await either(self._serving, self._stopping)
            await self.stop()

    async def stop(self) -> None:
        """Take no more requests, let those in flight end within `drain_s`, cut the others, and end the application. Streams that only tell news (GET)
        end at once. Being cancelled cuts all of them.
        """
        if self._serving is None or self._server is None:
            return
        self._stopping.set()
        if self._on_stop is not None and not self._server.should_exit:
            self._on_stop(False)
        self._server.should_exit = True
        try:
            await asyncio.wait({self._serving})
        except asyncio.CancelledError:
            self._hurry(self._server)
            await asyncio.wait({self._serving})
            raise
        self._serving.result()

    def _signalled(self) -> None:
        if self._stopping.is_set() and self._server is not None:
            self._hurry(self._server)
        self._stopping.set()

    def _hurry(self, server: _Server) -> None:
        server.hurry.set()
        if self._on_stop is not None:
            self._on_stop(True)


class _Server(uvicorn.Server):
    """Uvicorn's server without its signals, its exits of the process and its polling at the end."""

    def __init__(self, app: ASGIApp, drain_s: float, max_connections: int) -> None:
        self.up = asyncio.Event()
        self.hurry = asyncio.Event()
        self._drain_s = drain_s
        self._cutting = False
        self._failure: BaseException | None = None

        async def telling(scope: Scope, receive: Receive, send: Send) -> None:
            begun = False

            async def sent(message: Message) -> None:
                nonlocal begun
                begun = True
                await send(message)

            try:
                await app(scope, receive, sent)
            except BaseException as error:
                if scope["type"] == "lifespan":
                    self._failure = error
                elif self._cutting and isinstance(error, asyncio.CancelledError):
                    # It was us. An answer that has begun is left as it is, so that the client sees that it is not whole.
                    if not begun:
                        await answer(send, 503, {"error": "the server stops"}, (b"connection", b"close"))
                    return
                raise

        super().__init__(
            uvicorn.Config(
                telling,
                http=PunctualProtocol,
                ws="none",
                log_config=None,
                proxy_headers=False,
                server_header=False,
                limit_concurrency=max_connections,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit:
            raise self._failure or ConfigurationError("the application refused to start") from None
        self.up.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._drain_s):
                asked: set[object] = set()
                while self._in_flight() and not self.hurry.is_set():
                    # Some may have been accepted at the very end.
                    for connection in self.server_state.connections - asked:
                        asked.add(connection)
                        connection.shutdown()
                    await asyncio.sleep(_LOOK_S)
        self._cutting = True
        for task in (left := set(self.server_state.tasks)):
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=CUT_S)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await self.lifespan.shutdown()

    def _in_flight(self) -> bool:
        """Whether a request is being answered, or an answer is still on its way to a client that reads slowly."""
        return bool(self.server_state.tasks or self.server_state.connections)
