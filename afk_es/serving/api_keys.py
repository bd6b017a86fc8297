"""Callers known by a fixed key each. It keeps digests: the keys themselves are in no attribute, representation or message."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from afk_es.errors import ConfigurationError
from afk_es.serving.principals import LOCAL, LONGEST_TOKEN, Principal

SHORTEST_KEY = 16
"""Characters. Whoever may try often enough guesses a shorter one."""


class ApiKeys:
    """An `Authenticator` of fixed keys.

    Args:
        keys: each key, and whose it is: a `Principal`, or its name. A caller may have several, which is how keys are changed without a pause.
            Make one with `python -c "import secrets; print(secrets.token_urlsafe(32))"`.

    Raises:
        ConfigurationError: no keys at all, a key below 16 characters or with a character that no header carries, or a name that is reserved.
    """

    def __init__(self, keys: Mapping[str, str | Principal]) -> None:
        if not keys:
            raise ConfigurationError("ApiKeys without a key lets nobody in; give it at least one")
        self._bearers = tuple((_digest(_checked(key)), _principal(whose)) for key, whose in keys.items())

    def __repr__(self) -> str:
        return f"ApiKeys(<{len(self._bearers)} keys>)"

    async def authenticate(self, token: str) -> Principal | None:
        """Whose key this is. All keys are compared, each in constant time, so that how long it took says nothing."""
        if len(token) > LONGEST_TOKEN:
            return None
        found: Principal | None = None
        digest = _digest(token)
        for known, principal in self._bearers:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def _digest(key: str) -> bytes:
    # Lone surrogates can come from a header, and are no reason to fail.
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _checked(key: str) -> str:
    # The messages name no key: they end in logs.
    if len(key) < SHORTEST_KEY:
        raise ConfigurationError(f"an API key has at least {SHORTEST_KEY} characters; make one with secrets.token_urlsafe(32)")
    if len(key) > LONGEST_TOKEN or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigurationError(f"an API key is at most {LONGEST_TOKEN} printable ASCII characters without spaces, as a header carries it")
    return key


def _principal(whose: str | Principal) -> Principal:
    principal = whose if isinstance(whose, Principal) else Principal(whose)
    if principal.name == LOCAL.name:
        raise ConfigurationError(f"the name {LOCAL.name!r} is kept for callers without a token; choose another")
    return principal
