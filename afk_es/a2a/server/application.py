"""The ASGI application: the SDK's JSON-RPC and REST routes and the cards of the agents, behind a door that lets in who may. It knows no runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from a2a.server.request_handlers.request_handler import RequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.types.a2a_pb2 import AgentCard
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from afk_es.a2a.server.callers import CallerContexts
from afk_es.serving import LOCAL, Authenticator, Principal, RateLimiter, guarded, principal_of

MayUse = Callable[[Principal, str], bool]


def application(
    handlers: Mapping[str, RequestHandler],
    card: Callable[[str], AgentCard],
    *,
    authenticator: Authenticator | None,
    limiter: RateLimiter | None,
    may_use: MayUse | None,
    lifespan: Lifespan[Starlette],
) -> ASGIApp:
    """The application that answers for these agents, by name: a single one at the root, several each under /NAME.

    Args:
        card: makes the public card of an agent.
    """
    contexts = CallerContexts(guarded=authenticator is not None)
    routes: list[BaseRoute] = []
    public: list[str] = []
    for name, handler in handlers.items():
        prefix = prefix_of(name, handlers)
        own: list[BaseRoute] = [
            *create_jsonrpc_routes(handler, prefix or "/", contexts),
            # Without its mount for tenants: that would answer under any first segment, another agent's too.
            *(route for route in create_rest_routes(handler, contexts, path_prefix=prefix) if isinstance(route, Route)),
        ]
        for route in own:
            assert isinstance(route, Route)
            route.app = _turnstile(route.app, name, limiter, may_use)
        public.append(f"{prefix}{AGENT_CARD_WELL_KNOWN_PATH}")
        routes += [*_card_routes(card, name, public[-1]), *own]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    return guarded(app, authenticator, realm="a2a", public=public) if authenticator is not None else app


def prefix_of(name: str, names: Mapping[str, object]) -> str:
    """The path of an agent: nothing where it is the only one."""
    return f"/{name}" if len(names) > 1 else ""


def _card_routes(card: Callable[[str], AgentCard], name: str, path: str) -> list[Route]:
    async def current(_card: AgentCard) -> AgentCard:
        # The server's address may be known only once it listens.
        return card(name)

    return create_agent_card_routes(card(name), current, path)


def _turnstile(app: ASGIApp, name: str, limiter: RateLimiter | None, may_use: MayUse | None) -> ASGIApp:
    """The routes of an agent, for those who may use it, and not more often than they may. For all others there is no such agent."""

    async def turn(scope: Scope, receive: Receive, send: Send) -> None:
        principal = principal_of(scope) if "user" in scope else LOCAL
        if may_use is not None and not may_use(principal, name):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
            return
        wait_s = limiter.admitted(principal.name) if limiter is not None else None
        if wait_s is not None:
            refusal = JSONResponse({"error": "too many requests"}, 429, {"Retry-After": str(math.ceil(wait_s))})
            await refusal(scope, receive, send)
            return
        await app(scope, receive, send)

    return turn
