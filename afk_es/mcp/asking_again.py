"""A call that its server has laid down until a person answers there: asked for again, by the same key, until it has come to something. It knows no
connection.

The server says that a call waits (`WAITS_FOR`). Somebody else's may say so of a call that it has made, and make it once more when it is asked
again. So only one that says of the tool that it keeps to keys is asked again, which is what such a server promises; and a bounded number of
times, within the call's time. A server that lies about both could as well have made the call twice at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from mcp_types import CallToolResult, InputRequiredResult

from afk_es.clock import Clock
from afk_es.errors import ToolError, ToolUnavailableError, text_of
from afk_es.machine.values import digest_json, plain
from afk_es.mcp.remote_results import said_by
from afk_es.mcp.results import RETRY_AFTER_S, WAITS_FOR
from afk_es.tools import ToolContext

_LOG = logging.getLogger("afk_es.mcp")

_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 5.0

_MOST: Final = 1_000
"""Times that a call is asked for: with the pauses, for well over an hour."""

_LAST_S: Final = 5.0
"""What is left of a call's time for the last answer, and for telling the model; of a short time a quarter."""

_WITHDRAWING_S: Final = 5.0

_OPEN_KEPT: Final = 1_000
"""Calls that were given up while they waited."""

Result = CallToolResult | InputRequiredResult


@dataclass(frozen=True, slots=True)
class Asking:
    """How a call is put to its server.

    Attributes:
        tool: what the model calls it.
        args: its arguments.
        timeout_s: the seconds that it has.
        ask: makes the call under a key; its result, and whether the server says that it keeps to keys.
        withdraw: tells the server that the call of that key is not wanted any more.
    """

    tool: str
    args: dict[str, Any]
    timeout_s: float
    ask: Callable[[str], Awaitable[tuple[Result, bool]]]
    withdraw: Callable[[str], Awaitable[object]]


class AskingAgain:
    """Has the results of one server's calls, also where people take their time.

    A call whose time is over while it waits stays open at the server. The same call of the same run, made again, goes on with it, whether it was
    answered meanwhile or not, so one question is never asked twice; in another run, or after a restart of this program, it is a new call.

    Args:
        server: its name.
        clock: what the pauses go by.
    """

    def __init__(self, server: str, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._open: OrderedDict[tuple[str, str, str], tuple[str, ...]] = OrderedDict()

    async def result(self, asking: Asking, ctx: ToolContext) -> Result:
        """What the call came to.

        Raises:
            ToolError: it still waits, at the end of its time; or what `ask` raised.
        """
        key = self._left_open(asking, ctx) or ctx.idempotency_key
        until = self._clock.monotonic() + asking.timeout_s - min(_LAST_S, asking.timeout_s / 4)
        pause_s, waiting = _FIRST_PAUSE_S, None
        lost: ToolUnavailableError | None = None
        try:
            for _ in range(_MOST):
                try:
                    result, keyed = await asking.ask(key)
                except ToolUnavailableError as error:
                    if waiting is None:
                        if key != ctx.idempotency_key:
                            self._leave_open(asking, ctx, key)
                        raise
                    # Whatever has become of it: by its key it can be asked for.
                    lost = error
                else:
                    if not (keyed and key) or not _waits(result, before=waiting is not None):
                        return result
                    assert isinstance(result, CallToolResult)
                    lost, waiting = None, result if waiting is None else waiting
                left_s = until - self._clock.monotonic()
                if left_s <= 0:
                    break
                await self._clock.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        except asyncio.CancelledError:
            if waiting is not None:
                await self._withdraw(asking, key)
            raise
        self._leave_open(asking, ctx, key)
        assert waiting is not None
        raise lost or ToolError(
            f"{asking.tool} waits for a person at server {self._server!r}, who has not answered in the {asking.timeout_s:g} s that the call "
            f"has. By what that server says it has not run:\n{said_by(waiting)}\n"
            f"The question stays open there. To go on with it, call {asking.tool} again with the same arguments."
        )

    async def _withdraw(self, asking: Asking, key: str) -> None:
        """Nobody waits any more: what lies at the server is not to be run by a late yes."""
        saying = asyncio.ensure_future(asking.withdraw(key))
        try:
            await asyncio.wait({saying}, timeout=_WITHDRAWING_S)
        finally:
            saying.cancel()
            await asyncio.wait({saying})
            if saying.cancelled() or saying.exception() is not None:
                reason = "no answer" if saying.cancelled() else text_of(saying.exception() or ToolError())
                _LOG.warning("server %r could not be told that %s is cancelled, which waits there: %s", self._server, asking.tool, reason)

    def _left_open(self, asking: Asking, ctx: ToolContext) -> str | None:
        """The key of the same call that was given up while it waited."""
        if not self._open:
            return None
        same = _same(asking, ctx)
        keys = self._open.pop(same, ())
        if keys[1:]:
            self._open[same] = keys[1:]
        return keys[0] if keys else None

    def _leave_open(self, asking: Asking, ctx: ToolContext, key: str) -> None:
        same = _same(asking, ctx)
        self._open[same] = (*self._open.get(same, ()), key)
        if len(self._open) > _OPEN_KEPT:
            self._open.popitem(last=False)


def _same(asking: Asking, ctx: ToolContext) -> tuple[str, str, str]:
    return ctx.run_id, asking.tool, digest_json(plain(asking.args))


def _waits(result: Result, *, before: bool) -> bool:
    """Whether the call has come to nothing yet. One that is asked for too often is refused, and waits as it did."""
    meta = result.meta or {}
    return (
        isinstance(result, CallToolResult) and result.is_error is True and (bool(meta.get(WAITS_FOR)) or (before and RETRY_AFTER_S in meta))
    )
