"""A server as an ASGI application: the SDK's, behind our tokens. It opens no sockets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from mcp.server import ServerRequestContext
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from afk_es.serving import Authenticator, Principal, guarded, principal_of

if TYPE_CHECKING:
    from afk_es.mcp.places import Place
    from afk_es.mcp.server import MCPServer

PATH: Final = "/mcp"

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


class _Caller(AuthenticatedUser):
    """The caller as the SDK knows one, so that nobody else can use the session that this one has opened. It holds no token."""

    def __init__(self, principal: Principal) -> None:
        super().__init__(AccessToken(token="", client_id=principal.name, scopes=sorted(principal.scopes), subject=principal.name))
        self.principal = principal


def application(
    server: MCPServer, authenticator: Authenticator | None, *, hosts: Sequence[str], origins: Sequence[str], max_sessions: int
) -> ASGIApp:
    """The server at `/mcp`.

    Args:
        hosts: names by which clients call it beside those of loopback; "*" for any.
        origins: pages of which may call it, such as "https://app.example"; none of them gets CORS headers.
        max_sessions: clients of the older protocol at once.
    """
    security = TransportSecuritySettings(
        enable_dns_rebinding_protection="*" not in hosts,
        allowed_hosts=[form for host in (*_LOOPBACK, *hosts) for form in (host, f"{host}:*")],
        allowed_origins=list(origins),
    )
    app: ASGIApp = server.streamable_http_app(streamable_http_path=PATH, transport_security=security, max_sessions=max_sessions)
    return app if authenticator is None else guarded(_known_to_the_sdk(app), authenticator, realm="mcp")


def caller_of(ctx: ServerRequestContext[Place]) -> Principal | None:
    """Who sent the request, where it came over HTTP with a token."""
    user = ctx.request.scope.get("user") if ctx.request is not None else None
    return user.principal if isinstance(user, _Caller) else None


def _known_to_the_sdk(app: ASGIApp) -> ASGIApp:
    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "user": _Caller(principal_of(scope))} if scope["type"] == "http" else scope, receive, send)

    return known
