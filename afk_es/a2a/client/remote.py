"""One remote agent as everything here reaches it: its address, its card, its connections, and the bounds of what it may do to us."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from dataclasses import replace

import httpx
from a2a.client import ClientConfig, ClientFactory

from afk_es.a2a.client.cards import BINDINGS, Cards, KnownCard
from afk_es.a2a.client.connections import Connections, Credentials, Secret, checked_url, fits_a_header, is_loopback, origin_of
from afk_es.a2a.client.exchange import Exchange
from afk_es.a2a.client.failures import translated
from afk_es.a2a.client.scrubbing import Scrubber
from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError, LLMTimeoutError


class Remote:
    """See `A2AClient`, whose arguments these are.

    Raises:
        ConfigurationError: they cannot work.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Secret | None,
        api_key: Secret | None,
        api_key_header: str,
        timeout_s: float,
        task_timeout_s: float | None,
        max_bytes: int,
        trusted_hosts: Iterable[str],
        allow_cleartext: bool,
        card_path: str | None,
        card_ttl_s: float,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock | None,
    ) -> None:
        for name, seconds in (("timeout_s", timeout_s), ("card_ttl_s", card_ttl_s), ("task_timeout_s", task_timeout_s)):
            if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
                raise ConfigurationError(f"{name} is a positive number of seconds; this is {seconds!r}")
        if max_bytes < 1:
            raise ConfigurationError(f"max_bytes is at least 1; this is {max_bytes!r}")
        self.url: httpx.URL = checked_url(url)
        self.clock: Clock = clock or SystemClock()
        self.task_timeout_s: float | None = task_timeout_s
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._credentials = _credentials(token, api_key, api_key_header)
        urls = [self.url, *(self._url_of(host) for host in _hosts(trusted_hosts))]
        for each in urls:
            if self._credentials is not None and each.scheme == "http" and not (is_loopback(each.host) or allow_cleartext):
                raise ConfigurationError(
                    f"{each} is reached without encryption, and a secret would be readable on the way; use https, or pass "
                    "allow_cleartext=True where the network is your own"
                )
        origins = frozenset(origin_of(each) for each in urls)
        self._connections = Connections(origins, self._credentials, max_bytes=max_bytes, timeout_s=timeout_s, transport=transport)
        self._scrubber = Scrubber(self._credentials.sent if self._credentials is not None else ())
        self._cards = Cards(self.url, card_path, origins, card_ttl_s, self.clock)

    def __str__(self) -> str:
        return str(self.url)

    async def card(self, *, refresh: bool = False) -> KnownCard:
        """The agent's card, fetched where it is not known.

        Raises:
            LLMError: it cannot be fetched, or may not be used.
        """
        http = await self._connections.client()
        try:
            async with asyncio.timeout(self._timeout_s):
                known = await self._cards.card(http, refresh=refresh)
        except TimeoutError as error:
            raise LLMTimeoutError(f"{self.url} did not give its card within {self._timeout_s:g} s") from error
        except Exception as error:  # what the SDK raises over a body that is no card has no class
            raise translated(error, str(self.url), self._scrubber.text) from error
        # An agent that asks for the token before it shows its card may have put it there.
        return replace(known, told=self._scrubber.value(known.told))

    async def exchange(self, timeout_s: float | None = None) -> Exchange:
        """A way to speak to the agent, in this event loop and for so many seconds; default `task_timeout_s`.

        Raises:
            LLMError: its card cannot be fetched, or may not be used.
        """
        limit_s = timeout_s if timeout_s is not None else self.task_timeout_s
        deadline = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
        known = await self.card()
        streaming = known.card.capabilities.streaming
        config = ClientConfig(streaming=streaming, httpx_client=await self._connections.client(), supported_protocol_bindings=[*BINDINGS])
        return Exchange(
            ClientFactory(config).create(known.card),
            streaming=streaming,
            agent=str(self.url),
            scrubber=self._scrubber,
            timeout_s=self._timeout_s,
            deadline=deadline,
            max_bytes=self._max_bytes,
            clock=self.clock,
            doubt=self._cards.forget,
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop; they open again when they are needed."""
        await self._connections.aclose()

    def _url_of(self, host: str) -> httpx.URL:
        return checked_url(host if "://" in host else f"{self.url.scheme}://{host}")


def _hosts(trusted: Iterable[str]) -> Iterable[str]:
    if isinstance(trusted, str):
        raise ConfigurationError(f"trusted_hosts is a sequence of hosts, not {trusted!r} alone; write [...]")
    return trusted


def _credentials(token: Secret | None, api_key: Secret | None, header: str) -> Credentials | None:
    if token is not None and api_key is not None:
        raise ConfigurationError("token and api_key are both given; keep one of them")
    secret = token if token is not None else api_key
    if secret is None:
        return None
    if isinstance(secret, str) and not fits_a_header(secret):
        raise ConfigurationError(f"{'token' if token is not None else 'api_key'} is empty, or does not fit into a header")
    if not isinstance(secret, str) and not callable(secret):
        raise ConfigurationError(f"{'token' if token is not None else 'api_key'} is a str or a function, not {type(secret).__name__}")
    return Credentials("Authorization", "Bearer ", secret) if token is not None else Credentials(header, "", secret)
