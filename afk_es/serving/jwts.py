"""Callers known by signed tokens of an issuer (RFC 7519, as RFC 8725 advises), checked by PyJWT. It reads from a token nothing but what the signature
covers, except for the name of the key that is to check it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import jwt

from afk_es.errors import ConfigurationError
from afk_es.serving.principals import LOCAL, LONGEST_TOKEN, Principal
from afk_es.serving.signing_keys import FetchedKeys, FixedKeys

_LOGGER = logging.getLogger("afk_es.serving")

_DIGEST_BYTES: Final = {"HS256": 32, "HS384": 48, "HS512": 64}
"""A shared secret has at least the length of the digest (RFC 7518, section 3.2)."""

_MALFORMED = (jwt.PyJWTError, ValueError, TypeError, OverflowError)
"""What PyJWT raises: its own errors for what it foresees, others for numbers and types that no issuer would sign."""


class JWTs:
    """An `Authenticator` of JSON Web Tokens. A token is let in if it is signed by the issuer's key, is meant for this audience, has an `exp`, is in its
    time, and names its bearer.

    Args:
        key: the issuer's public key in PEM, or the secret that is shared with it (HS256 and its kin).
        jwks: instead of `key`, the issuer's JSON Web Key Set, or its URL: https, or http on this machine. It is fetched again after 5 minutes, and for
            a key that it does not have, at most twice a minute.
        algorithms: those that are allowed, such as ("RS256",). What a token says of its own is compared with these, and never followed.
        audience: whom tokens must be meant for (`aud`); of several, any one.
        issuer: whom tokens must come from (`iss`); default: not looked at, since the key says it.
        name_claim: what names the bearer; default "sub".
        scope_claim: what lists the scopes, separated by spaces or as an array; default "scope".
        leeway_s: how far clocks may be apart, in seconds; default 0.

    Raises:
        ConfigurationError: neither or both of `key` and `jwks`, a key that does not fit the algorithms, "none", secrets mixed with public keys, or no
            audience.
    """

    def __init__(
        self,
        *,
        algorithms: Sequence[str],
        audience: str | Sequence[str],
        key: str | bytes | None = None,
        jwks: str | Mapping[str, Any] | None = None,
        issuer: str | None = None,
        name_claim: str = "sub",
        scope_claim: str = "scope",
        leeway_s: float = 0.0,
    ) -> None:
        self._algorithms = _checked_algorithms(algorithms)
        self._audience = [audience] if isinstance(audience, str) else list(audience)
        if not self._audience or not all(self._audience):
            raise ConfigurationError(
                "JWTs needs the audience that tokens must be meant for; without one, a token for any other service would do"
            )
        if (key is None) == (jwks is None):
            raise ConfigurationError("JWTs checks signatures by a key or by a key set: give one of key and jwks")
        self._key = _checked_key(key, self._algorithms) if key is not None else None
        self._keys = _key_set(jwks, self._algorithms) if jwks is not None else None
        self._issuer = issuer
        self._name_claim, self._scope_claim = name_claim, scope_claim
        self._required = list(dict.fromkeys(("exp", "aud", name_claim, *(("iss",) if issuer is not None else ()))))
        if not 0 <= leeway_s < float("inf"):
            raise ConfigurationError(f"leeway_s is a number of seconds that is not negative, not {leeway_s!r}")
        self._leeway_s = leeway_s

    def __repr__(self) -> str:
        return f"JWTs(algorithms={self._algorithms!r}, audience={self._audience!r}, issuer={self._issuer!r})"

    async def authenticate(self, token: str) -> Principal | None:
        """The bearer of a token that passes every check, or None. What was wrong is told to the log "afk_es.serving" at level DEBUG, by the kind of the
        error alone.
        """
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            claims = await self._claims(token)
            principal = Principal(claims[self._name_claim], _scopes(claims.get(self._scope_claim)))
        except _MALFORMED as error:
            _LOGGER.debug("a token was refused: %s", type(error).__name__)
            return None
        return None if principal.name == LOCAL.name else principal

    async def _claims(self, token: str) -> dict[str, Any]:
        key: str | bytes | jwt.PyJWK | None = self._key
        if self._keys is not None:
            key = await self._keys.key(jwt.get_unverified_header(token).get("kid"))
        if key is None:
            raise jwt.InvalidKeyError
        return jwt.decode(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=self._leeway_s,
            options={"require": self._required},
        )


def _scopes(claim: object) -> frozenset[str]:
    named = claim.split() if isinstance(claim, str) else [] if claim is None else claim
    if not isinstance(named, list) or not all(isinstance(each, str) for each in named):
        raise TypeError("the scopes of a token are a string or an array of strings")
    return frozenset(named)


def _checked_algorithms(algorithms: Sequence[str]) -> tuple[str, ...]:
    named = (algorithms,) if isinstance(algorithms, str) else tuple(algorithms)
    known = sorted(set(jwt.PyJWS().get_algorithms()) - {"none"})
    if not named or not set(named) <= set(known):
        raise ConfigurationError(
            f"the algorithms of tokens are some of {', '.join(known)}, not {', '.join(map(str, named)) or 'none at all'}"
        )
    if len({each in _DIGEST_BYTES for each in named}) == 2:
        # Whoever knows the public key could sign with it as a secret.
        raise ConfigurationError("algorithms of a shared secret (HS...) and of public keys are not allowed together; choose one kind")
    return named


def _checked_key(key: str | bytes, algorithms: Sequence[str]) -> str | bytes:
    # The messages say nothing of the key: it may be the secret.
    for name in algorithms:
        if name in _DIGEST_BYTES and len(key.encode() if isinstance(key, str) else key) < _DIGEST_BYTES[name]:
            raise ConfigurationError(
                f"the secret for {name} has at least {_DIGEST_BYTES[name]} bytes; make one with secrets.token_urlsafe(64)"
            )
        try:
            jwt.get_algorithm_by_name(name).prepare_key(key)
        except _MALFORMED:
            raise ConfigurationError(
                f"the key of JWTs is not one for {name}: that takes a public key in PEM, or, for HS..., a secret"
            ) from None
    return key


def _key_set(jwks: str | Mapping[str, Any], algorithms: Sequence[str]) -> FetchedKeys | FixedKeys:
    if isinstance(jwks, Mapping):
        return FixedKeys(jwks)
    if algorithms[0] in _DIGEST_BYTES:
        raise ConfigurationError("a shared secret is not to be had from a URL; give JWTs its key")
    return FetchedKeys(jwks)
