"""The calls that were laid down until people answer, as they were left. To go on with a run is to write into the log, so whoever asks again and
again has it done only where there is news. It knows no protocol.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from afk_es.clock import SystemClock
from afk_es.core import Runner
from afk_es.interaction import ApprovalRequest, InputRequest
from afk_es.log import RunHead

_KEPT: Final = 1_000

Requests = tuple[ApprovalRequest | InputRequest, ...]


@dataclass(frozen=True, slots=True)
class _Left:
    """How a run was left."""

    message: str
    head: RunHead | None
    pending: Requests


class LaidDown:
    """Of one server.

    Args:
        runner: has the runs.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._left: OrderedDict[str, _Left] = OrderedDict()

    async def note(self, run_id: str, message: str, pending: Requests) -> None:
        """The run of this message was laid down with these questions."""
        self._left[run_id] = _Left(message, await self._runner.log.head(run_id), pending)
        self._left.move_to_end(run_id)
        if len(self._left) > _KEPT:
            self._left.popitem(last=False)

    async def still_waits(self, run_id: str, message: str) -> Requests:
        """The questions that it waits with, where nothing has come of it since; none where it has to be looked at."""
        left = self._left.get(run_id)
        if left is None or left.message != message:
            return ()
        now = SystemClock().now()
        same = (
            all(request.expires_at is None or request.expires_at > now for request in left.pending)
            and await self._runner.log.head(run_id) == left.head
            and await self._runner.pending_requests(run_id=run_id) == left.pending
        )
        if not same:
            # It may be another's by now who notes it anew.
            self._left.pop(run_id, None)
        return left.pending if same else ()
