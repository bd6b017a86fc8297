"""A server as an ASGI application: the SDK's, behind our tokens. It opens no sockets."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

from mcp.server import ServerRequestContext
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from afk_es.serving import Authenticator, Principal, guarded, principal_of
from afk_es.serving.answers import answer
from afk_es.serving.intake import refusal
from afk_es.serving.listening import address_of, hosts_of, origins_of

if TYPE_CHECKING:
    from afk_es.mcp.places import Place
    from afk_es.mcp.server import MCPServer

PATH: Final = "/mcp"


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

    Raises:
        ConfigurationError: a host with a port or a scheme, or an origin without one.
    """
    # The SDK's own check of these headers looks at no Origin where any Host will do, takes a page of this very server for another's, and knows
    # no address of IPv6.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    served = server.streamable_http_app(streamable_http_path=PATH, transport_security=security, max_sessions=max_sessions)
    app = _addressed(served, hosts_of(address_of("127.0.0.1"), hosts), origins_of(origins))
    return app if authenticator is None else guarded(_known_to_the_sdk(app), authenticator, realm="mcp")


def _addressed(app: ASGIApp, hosts: Collection[str], origins: Collection[str]) -> ASGIApp:
    """The application, for requests that are meant for it, and from no page of another site. `HttpServer` sees to that as well, and knows more
    names; this is for those who serve the application by something else.
    """

    async def addressed(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (refused := refusal(scope, hosts, origins)) is not None:
            await answer(send, refused[0], {"error": refused[1]})
            return
        await app(scope, receive, send)

    return addressed


def caller_of(ctx: ServerRequestContext[Place]) -> Principal | None:
    """Who sent the request, where it came over HTTP with a token."""
    user = ctx.request.scope.get("user") if ctx.request is not None else None
    return user.principal if isinstance(user, _Caller) else None


def session_of(ctx: ServerRequestContext[Place]) -> str | None:
    """The session that the request is of, where it came over HTTP by the older protocol."""
    return ctx.request.headers.get("mcp-session-id") if ctx.request is not None else None


def _known_to_the_sdk(app: ASGIApp) -> ASGIApp:
    async def known(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "user": _Caller(principal_of(scope))} if scope["type"] == "http" else scope, receive, send)

    return known
