"""Who calls, from the request to the handler: the SDK's own call context has no place for a principal, so it is kept in its state."""

from __future__ import annotations

from a2a.server.context import ServerCallContext
from a2a.server.routes.common import DefaultServerCallContextBuilder, StarletteUser
from a2a.utils.constants import VERSION_HEADER
from starlette.requests import Request

from afk_es.serving import LOCAL, Principal, principal_of

_KEY = "afk_es.principal"


class CallerContexts(DefaultServerCallContextBuilder):
    """Builds the call context of each request.

    Args:
        guarded: whether callers were authenticated; where not, everybody is the local user.
    """

    def __init__(self, *, guarded: bool) -> None:
        self._guarded = guarded

    def build(self, request: Request) -> ServerCallContext:
        """The context: who calls, and of the headers only the protocol's version, which the SDK checks."""
        headers = {VERSION_HEADER: request.headers.get(VERSION_HEADER, "")}
        if not self._guarded:
            return ServerCallContext(state={"headers": headers, _KEY: LOCAL})
        return ServerCallContext(user=StarletteUser(request.user), state={"headers": headers, _KEY: principal_of(request.scope)})


def caller(context: ServerCallContext) -> Principal:
    """Who calls."""
    principal = context.state[_KEY]
    assert isinstance(principal, Principal)
    return principal
