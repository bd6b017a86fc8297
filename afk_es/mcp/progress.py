"""What a server says of a call's progress, passed on at a pace that nobody minds."""

from __future__ import annotations

import math

from afk_es.clock import Clock
from afk_es.mcp.remote_results import cleaned
from afk_es.tools import ToolContext

_PAUSE_S = 0.05
_MAX_CHARS = 300


class Progress:
    """Of one call.

    Args:
        ctx: the call, whose `report_progress` is told.
        clock: what the pace goes by.
    """

    def __init__(self, ctx: ToolContext, clock: Clock) -> None:
        self._ctx = ctx
        self._clock = clock
        self._told_at = -math.inf
        self._ended = False

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None:
        """Told by the server, as often as it likes."""
        now = self._clock.monotonic()
        # The end is told at once, and once.
        ended = progress == total and not self._ended
        if not math.isfinite(progress) or (now - self._told_at < _PAUSE_S and not ended):
            return
        self._told_at, self._ended = now, self._ended or ended
        self._ctx.report_progress(
            progress, total if total is not None and math.isfinite(total) else None, cleaned(message or "", _MAX_CHARS)
        )
