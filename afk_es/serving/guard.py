"""Lets nobody through to an ASGI application whose token is not good. It knows nothing of the application, and says the same to all whom it refuses."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Final

from starlette.authentication import AuthCredentials, BaseUser
from starlette.types import ASGIApp, Receive, Scope, Send

from afk_es.errors import ConfigurationError, UsageError
from afk_es.serving.answers import answer
from afk_es.serving.principals import Authenticator, Principal

_LOGGER = logging.getLogger("afk_es.serving")

_HEADERS: Final = (b"authorization", b"x-api-key")


class ServedUser(BaseUser):
    """The caller, as Starlette's `request.user` has it."""

    def __init__(self, principal: Principal) -> None:
        self.principal = principal

    @property
    def is_authenticated(self) -> bool:
        """True: nobody else gets here."""
        return True

    @property
    def display_name(self) -> str:
        """The principal's name."""
        return self.principal.name

    @property
    def identity(self) -> str:
        """The principal's name."""
        return self.principal.name


def principal_of(scope: Scope) -> Principal:
    """Who sent the request of this ASGI scope, behind `guarded`.

    Raises:
        UsageError: it did not come through `guarded`.
    """
    user = scope.get("user")
    if not isinstance(user, ServedUser):
        raise UsageError("nobody was authenticated for this request: put the application behind afk_es.serving.guarded")
    return user.principal


def guarded(app: ASGIApp, authenticator: Authenticator, *, realm: str = "afk_es", public: Collection[str] = ()) -> ASGIApp:
    """The application, for those only whose token the authenticator knows: `Authorization: Bearer TOKEN`, or `X-API-Key: TOKEN`.

    Others are answered 401 with the same header and body, whatever was wrong, and 503 where the authenticator itself fails. The application gets the
    caller as Starlette's `request.user` (see `principal_of`), and no longer sees the token.

    Args:
        app: what is to be guarded.
        authenticator: who tells callers by their tokens.
        realm: what `WWW-Authenticate` calls the place; default "afk_es".
        public: paths that everybody may read, exactly as written, such as an agent's card; default: none.

    Raises:
        ConfigurationError: a realm that a header cannot carry.
    """
    if not (realm.isascii() and realm.isprintable()) or '"' in realm or "\\" in realm:
        raise ConfigurationError(f"a realm is printable ASCII without quotes and backslashes, not {realm!r}")
    challenge = (b"www-authenticate", f'Bearer realm="{realm}"'.encode())
    open_to_all = frozenset(public)

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or (scope["type"] == "http" and scope["path"] in open_to_all):
            await app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        token = _token(scope)
        try:
            principal = await authenticator.authenticate(token) if token is not None else None
        except Exception as error:  # noqa: BLE001 - a user's authenticator: its message may hold the token, and nobody is let in
            _LOGGER.error("the authenticator failed: %s", type(error).__name__)
            await answer(send, 503, {"error": "unavailable"})
            return
        if principal is None:
            await answer(send, 401, {"error": "unauthorized"}, challenge)
            return
        headers = [(name, value) for name, value in scope["headers"] if name not in _HEADERS]
        user = {"user": ServedUser(principal), "auth": AuthCredentials(sorted(principal.scopes))}
        await app({**scope, **user, "headers": headers}, receive, send)

    return guard


def _token(scope: Scope) -> str | None:
    """The one token of the request. None where there is none, or more than one: whose would it be?"""
    given = [(name, value) for name, value in scope["headers"] if name in _HEADERS]
    if len(given) != 1:
        return None
    (name, value) = given[0]
    text = value.decode("latin-1")
    if name == b"x-api-key":
        return text or None
    scheme, _space, token = text.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
