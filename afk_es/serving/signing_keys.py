"""The keys of an issuer, found by the name that a token gives: from a set that was handed in, or from a URL. It judges no token."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import jwt

from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError

_LOGGER = logging.getLogger("afk_es.serving")

FRESH_S = 300.0
"""A fetched set is fetched again after this."""

STALE_S = 3600.0
"""A set that cannot be fetched again is good for this long: an issuer that is down for a minute shuts nobody out, and one that withdrew a key and is
kept from saying so is not believed for ever."""

BETWEEN_FETCHES_S = 30.0
"""Tokens with keys that do not exist cost the issuer not more requests than one in this time."""

FETCH_TIMEOUT_S = 10.0


class FixedKeys:
    """The keys of a set that was handed in."""

    def __init__(self, jwks: Mapping[str, Any]) -> None:
        try:
            self._set = jwt.PyJWKSet.from_dict(dict(jwks))
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            # The set may hold secrets: nothing of it is told.
            raise ConfigurationError(
                "jwks is a JSON Web Key Set, such as {'keys': [...]}, with at least one key that can be used"
            ) from None

    async def key(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of that name; without a name, the only one."""
        return chosen(self._set, kid)


class FetchedKeys:
    """The keys of a set at a URL, which is fetched when it is first needed, and again when it is old or lacks a key."""

    def __init__(self, url: str, *, clock: Clock | None = None) -> None:
        self._client = jwt.PyJWKClient(_checked_url(url), cache_jwk_set=False, timeout=FETCH_TIMEOUT_S)
        parts = urlsplit(url)
        # Without what may be a password.
        self._site = f"{parts.scheme}://{parts.hostname}"
        self._clock = clock or SystemClock()
        self._set: jwt.PyJWKSet | None = None
        self._fetched_at = self._tried_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of that name; without a name, the only one; None while the set cannot be had."""
        now = self._clock.monotonic()
        if now - self._fetched_at < FRESH_S and self._set is not None and (found := chosen(self._set, kid)) is not None:
            return found
        await self._fetch()
        if self._set is None or self._clock.monotonic() - self._fetched_at >= STALE_S:
            return None
        return chosen(self._set, kid)

    async def _fetch(self) -> None:
        """Fetch the set, or wait for whoever does."""
        if self._fetching is None or self._fetching.done():
            if self._clock.monotonic() - self._tried_at < BETWEEN_FETCHES_S:
                return
            self._tried_at = self._clock.monotonic()
            self._fetching = asyncio.get_running_loop().create_task(self._refresh())
        # Whoever began it may be cut off; the others still wait for it.
        await asyncio.shield(self._fetching)

    async def _refresh(self) -> None:
        try:
            self._set = await asyncio.to_thread(self._client.get_jwk_set, True)
        except (jwt.PyJWTError, OSError, ValueError) as error:
            _LOGGER.warning("the signing keys of %s cannot be had: %s", self._site, type(error).__name__)
        else:
            self._fetched_at = self._clock.monotonic()


def chosen(keys: jwt.PyJWKSet, kid: str | None) -> jwt.PyJWK | None:
    """The key that is for signatures and has that name; without a name, the only one."""
    signing = [key for key in keys.keys if key.public_key_use in ("sig", None)]
    if kid is None:
        return signing[0] if len(signing) == 1 else None
    return next((key for key in signing if key.key_id == kid), None)


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")):
        return url
    # A URL may hold a password: it is not told.
    raise ConfigurationError("the URL of jwks begins with https://, or is one of this machine: whoever can change the keys can be anybody")
