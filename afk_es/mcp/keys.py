"""The name that a call is done once by: the caller's, or one that is made for it. Nobody can name a call of another's: a run's id is derived from
the name and from who calls.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolRequestParams

from afk_es.clock import RandomIds
from afk_es.machine.values import digest
from afk_es.mcp.results import IDEMPOTENCY_KEY
from afk_es.serving import Principal

_LONGEST: Final = 256

_OPEN_KEPT: Final = 1_000
"""Calls without a key that wait for people, and that the same call goes on with."""


@dataclass(frozen=True, slots=True)
class Key:
    """The name of a call.

    Attributes:
        text: the name.
        given: whether the caller gave it as the call's key.
        known: whether the caller knows it, and can come again with it.
    """

    text: str
    given: bool
    known: bool


class Keys:
    """The keys of a server's calls. What waits for people is remembered for as long as the server lasts, by caller, tool and digest: the arguments
    themselves may be megabytes.
    """

    def __init__(self) -> None:
        self._ids = RandomIds()
        self._open: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    def key(self, params: CallToolRequestParams, principal: Principal, message: str) -> Key:
        """The name of the call: the caller's; or that under which it has asked already; or that of the same call that waits for a person; or a
        new one.

        Args:
            message: the call as its run has it.

        Raises:
            MCPError: what the caller sent is no name.
        """
        given = (params.meta or {}).get(IDEMPOTENCY_KEY)
        if given is not None:
            if not isinstance(given, str) or not 0 < len(given) <= _LONGEST:
                raise MCPError(INVALID_PARAMS, f"{IDEMPOTENCY_KEY} is a text of 1 to {_LONGEST} characters")
            return Key(given, given=True, known=True)
        if params.request_state is not None:
            if not 0 < len(params.request_state) <= _LONGEST:
                raise MCPError(INVALID_PARAMS, "requestState is none of this server's")
            return Key(params.request_state, given=False, known=True)
        waits = self._open.get(_call(params, principal, message))
        return Key(waits or self._ids.new("call"), given=False, known=False)

    def note(self, key: Key, params: CallToolRequestParams, principal: Principal, message: str, *, waits: bool) -> None:
        """The call has come to a result, or waits for a person: then whoever makes it again goes on with it, also without knowing its name."""
        if key.given:
            return
        call = _call(params, principal, message)
        if not waits:
            self._open.pop(call, None)
            return
        self._open[call] = key.text
        if len(self._open) > _OPEN_KEPT:
            self._open.popitem(last=False)


def _call(params: CallToolRequestParams, principal: Principal, message: str) -> tuple[str, str, str]:
    return principal.name, params.name, digest(message.encode(errors="surrogatepass"))
