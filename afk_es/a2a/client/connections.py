"""HTTP to one remote agent: where it may go, what it carries, how much may come back, and when it is closed. It knows nothing of A2A.

Nobody tells a model that the last run is over; only the end of an event loop can be told for sure. So the connections of a loop are closed by
an async generator that waits for nothing else: `asyncio.run` and whoever else ends a loop in good form calls its `shutdown_asyncgens`. Those of
a client that nobody holds any more are closed at once.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TypeAlias

import httpx

from afk_es.a2a.client.failures import RefusedError, TooLargeError
from afk_es.errors import ConfigurationError

Secret: TypeAlias = str | Callable[[], str | Awaitable[str]]
"""A token or key, or a function that is called for each request and answers the one that is good now."""

_PORTS = {"http": 80, "https": 443}
_SECRETS_KEPT = 8


def checked_url(url: object) -> httpx.URL:
    """The address of a remote agent.

    Raises:
        ConfigurationError: it is no http or https address, or holds credentials, a query or a fragment.
    """
    try:
        parsed = httpx.URL(url) if isinstance(url, str) else None
    except (httpx.InvalidURL, ValueError):
        parsed = None
    if parsed is None or parsed.scheme not in _PORTS or not parsed.host:
        raise ConfigurationError(f"the address of a remote agent is like 'https://agents.example.com/billing'; this is {url!r:.200}")
    if parsed.userinfo or parsed.query or parsed.fragment:
        # Not repeated in the message: what stands there is likely to be a secret.
        raise ConfigurationError(
            f"the address of a remote agent at {parsed.host!r} holds credentials, a query or a fragment; pass token= or api_key= instead"
        )
    return parsed


def origin_of(url: httpx.URL) -> str:
    """Scheme, host and port of an address, as RFC 6454 compares them."""
    return f"{url.scheme}://{url.host.lower()}:{url.port or _PORTS.get(url.scheme, 0)}"


def is_loopback(host: str) -> bool:
    """Whether the host is this machine, by name or address."""
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost" or host.lower().endswith(".localhost")


def fits_a_header(secret: object) -> bool:
    """Whether a secret can be sent as it is."""
    return isinstance(secret, str) and secret != "" and secret.isascii() and secret.isprintable()


class Credentials(httpx.Auth):
    """Puts a secret into a header of each request. It is shown nowhere.

    Args:
        header: the header's name.
        prefix: what stands before the secret in it.

    Attributes:
        sent: the last secrets, which are to be told to nobody.
    """

    def __init__(self, header: str, prefix: str, secret: Secret) -> None:
        self._header = header
        self._prefix = prefix
        self._secret = secret
        # Those of a function change, and an answer may repeat one that was good a moment ago.
        self.sent: deque[str] = deque(maxlen=_SECRETS_KEPT)

    def __repr__(self) -> str:
        return f"Credentials({self._header!r})"

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Once; a refusal is not answered by another try."""
        secret = self._secret if isinstance(self._secret, str) else await self._asked_for(self._secret)
        if secret not in self.sent:
            self.sent.append(secret)
        request.headers[self._header] = f"{self._prefix}{secret}"
        yield request

    async def _asked_for(self, give: Callable[[], str | Awaitable[str]]) -> str:
        try:
            found = give()
            secret: object = await found if inspect.isawaitable(found) else found
        except Exception as error:  # noqa: BLE001 - it is the user's; what it says may hold what it should not
            raise RefusedError(f"the function that gives the secret for {self._header!r} raised {type(error).__name__}") from None
        if not isinstance(secret, str) or not fits_a_header(secret):
            raise RefusedError(f"the function that gives the secret for {self._header!r} must answer a text that fits a header")
        return secret


class Guarded(httpx.AsyncBaseTransport):
    """Lets requests go to some origins and to no other, and takes responses up to a size.

    Args:
        origins: where requests may go.
        max_bytes: of one response, a stream as a whole.
        connect_s: seconds until a connection that does not come about is given up, whatever the request allows.
        owned: whether closing this closes the transport behind it.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport, origins: frozenset[str], max_bytes: int, connect_s: float, *, owned: bool) -> None:
        self._inner = inner
        self._origins = origins
        self._max_bytes = max_bytes
        self._connect_s = connect_s
        self._owned = owned

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The response, whose body is counted as it is read.

        Raises:
            RefusedError: it would go elsewhere, or what comes back is compressed.
            TooLargeError: it says itself that it is too large.
        """
        origin = origin_of(request.url)
        if origin not in self._origins:
            raise RefusedError(f"a request to {origin} is not sent: it is none of the hosts that are trusted")
        timeout = request.extensions.get("timeout")
        if isinstance(timeout, dict):
            for name in ("connect", "pool"):
                timeout[name] = min(timeout.get(name) or self._connect_s, self._connect_s)
        response = await self._inner.handle_async_request(request)
        try:
            self._judge(response)
        except BaseException:
            await response.aclose()
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        body = _Counted(response.stream, self._max_bytes)
        return httpx.Response(response.status_code, headers=response.headers, stream=body, extensions=response.extensions)

    def _judge(self, response: httpx.Response) -> None:
        # What is small on the wire may be huge once it is unpacked; it was asked for as it is.
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise RefusedError("the answer is compressed, which was not asked for")
        length = response.headers.get("content-length", "")
        if length.isdecimal() and int(length[:19]) > self._max_bytes:
            raise TooLargeError(_too_large(self._max_bytes))

    async def aclose(self) -> None:
        """Close the connections, if they are ours."""
        if self._owned:
            await self._inner.aclose()


class _Counted(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, max_bytes: int) -> None:
        self._inner = inner
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        taken = 0
        async for chunk in self._inner:
            taken += len(chunk)
            if taken > self._max_bytes:
                raise TooLargeError(_too_large(self._max_bytes))
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _too_large(max_bytes: int) -> str:
    return f"the answer has more than {max_bytes:,} bytes; if that is right, pass a larger max_bytes to A2AClient"


@dataclass(slots=True)
class _Held:
    client: httpx.AsyncClient
    end: AsyncGenerator[None, None]
    turn: asyncio.Lock


class Connections:
    """The HTTP clients of one remote agent, one for each event loop.

    Args:
        transport: what to go through instead of sockets; it is not closed.
    """

    def __init__(
        self,
        origins: frozenset[str],
        credentials: Credentials | None,
        *,
        max_bytes: int,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        self._origins = origins
        self._credentials = credentials
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._transport = transport
        self._checking: ssl.SSLContext | None = None
        self._held: dict[asyncio.AbstractEventLoop, _Held] = {}
        # It holds them, and so they are whole when this is gone, in whatever order the collector finds the rest.
        weakref.finalize(self, _let_go, self._held).atexit = False

    async def client(self) -> httpx.AsyncClient:
        """That of the running event loop."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            for gone in [other for other in self._held if other.is_closed()]:
                del self._held[gone]
            client = await self._made()
            turn = asyncio.Lock()
            held = self._held.setdefault(loop, _Held(client, _until_the_end(self._held, loop, client, turn), turn))
            if held.client is client:
                await anext(held.end)
            else:
                await client.aclose()
        return held.client

    async def aclose(self) -> None:
        """Close those of the running event loop; they open again when they are needed."""
        held = self._held.get(asyncio.get_running_loop())
        if held is not None:
            await held.end.aclose()

    async def _made(self) -> httpx.AsyncClient:
        inner = self._transport or httpx.AsyncHTTPTransport(verify=await self._certificates())
        guarded = Guarded(inner, self._origins, self._max_bytes, self._timeout_s, owned=self._transport is None)
        return httpx.AsyncClient(
            transport=guarded,
            auth=self._credentials,
            timeout=self._timeout_s,
            headers={"Accept-Encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )

    async def _certificates(self) -> ssl.SSLContext | bool:
        """What servers are checked by; it takes a while to load, and is the same for all loops. Where all are plain http, there is nothing to check."""
        if not any(origin.startswith("https:") for origin in self._origins):
            return False
        if self._checking is None:
            self._checking = await asyncio.to_thread(httpx.create_ssl_context)
        return self._checking


async def _until_the_end(
    held: dict[asyncio.AbstractEventLoop, _Held], loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient, turn: asyncio.Lock
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        held.pop(loop, None)
        async with turn:
            await client.aclose()


_CLOSING: set[asyncio.Task[None]] = set()
"""Tasks that close what nobody holds any more; an event loop alone would let go of them."""


def _let_go(held: dict[asyncio.AbstractEventLoop, _Held]) -> None:
    """Close connections whose owner is gone, each in its own event loop; called in any thread, at any moment."""
    for loop, each in list(held.items()):
        # A loop that is closed has closed them, or it was not ended in good form.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_close, loop, each)


def _close(loop: asyncio.AbstractEventLoop, held: _Held) -> None:
    closing = loop.create_task(_closed(held))
    _CLOSING.add(closing)
    closing.add_done_callback(_CLOSING.discard)


async def _closed(held: _Held) -> None:
    # Not by the generator alone, which the end of the loop may come to close meanwhile, and would find running. Afterwards it ends in one go.
    async with held.turn:
        await held.client.aclose()
    with suppress(RuntimeError):
        # The end of the loop is closing it already.
        await held.end.aclose()
