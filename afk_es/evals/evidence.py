"""What a check of a run may look at: its result and its log, whether it has just ended or was recorded long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING

from afk_es.core import AgentResult
from afk_es.debugger.recording import Recording
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent

if TYPE_CHECKING:
    from afk_es.evals.models import EvalCase

LONGEST = 200_000
"""Events of a run that are held at once for checks that look at all of them."""


class Evidence:
    """A run that is checked.

    Attributes:
        result: what it came to.
        log: the open log that holds it.
        case: the case that it was run for; None for a run that is looked at by itself.

    Args:
        events: all its events, where they were read already.
    """

    def __init__(
        self, result: AgentResult, log: EventLog, case: EvalCase | None = None, *, events: list[AgentRunEvent] | None = None
    ) -> None:
        self.result: AgentResult = result
        self.log: EventLog = log
        self.case: EvalCase | None = case
        self._events: list[AgentRunEvent] | None = events

    @property
    def run_id(self) -> str:
        """The run."""
        return self.result.run_id

    async def events(self) -> list[AgentRunEvent]:
        """Its events in order, the first `LONGEST` of them; without those of its subagents, which are runs of their own."""
        if self._events is None:
            self._events = await self.log.read(self.run_id, limit=LONGEST)
        return self._events

    async def recording(self) -> Recording:
        """The run for reading at any place, as the debugger has it."""
        return await Recording.open(self.log, self.run_id)
