"""What the doors to the outside share: who calls, how often, whose a run is, and a server for HTTP. It knows no protocol: MCP and A2A are
doors of their own, above this.

A name is loaded when it is first used, so that a door over stdin loads no HTTP server.
"""

from typing import TYPE_CHECKING, Any

from afk_es.extras import loaded

if TYPE_CHECKING:
    from afk_es.serving.api_keys import ApiKeys
    from afk_es.serving.guard import guarded, principal_of
    from afk_es.serving.http_server import HttpServer
    from afk_es.serving.jwts import JWTs
    from afk_es.serving.ownership import owned, run_id_of, served_context
    from afk_es.serving.principals import LOCAL, Authenticator, Principal
    from afk_es.serving.rates import Limited, RateLimiter

_HOMES = {
    "ApiKeys": "afk_es.serving.api_keys",
    "Authenticator": "afk_es.serving.principals",
    "HttpServer": "afk_es.serving.http_server",
    "JWTs": "afk_es.serving.jwts",
    "LOCAL": "afk_es.serving.principals",
    "Limited": "afk_es.serving.rates",
    "Principal": "afk_es.serving.principals",
    "RateLimiter": "afk_es.serving.rates",
    "guarded": "afk_es.serving.guard",
    "owned": "afk_es.serving.ownership",
    "principal_of": "afk_es.serving.guard",
    "run_id_of": "afk_es.serving.ownership",
    "served_context": "afk_es.serving.ownership",
}

_LIBRARIES = frozenset({"h11", "jwt", "starlette", "uvicorn"})
"""What may be missing where neither extra is installed."""


def __getattr__(name: str) -> Any:
    return loaded(__name__, name, _HOMES, libraries=_LIBRARIES, extras=("mcp", "a2a"))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "ApiKeys",
    "Authenticator",
    "HttpServer",
    "JWTs",
    "LOCAL",
    "Limited",
    "Principal",
    "RateLimiter",
    "guarded",
    "owned",
    "principal_of",
    "run_id_of",
    "served_context",
]
