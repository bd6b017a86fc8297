"""The port of whoever may stop a run from outside the machine before it makes its next call. It is told of events, and starts nothing.

A limit of the agent is part of the run's record, and the machine keeps it. A guard holds for one time that a run is run, as the budget of an
evaluation does: it leaves the agent and its record alone. What it does to the run is in the log as anybody's request to lay it down.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from afk_es.machine import AgentRunEvent, Draft, RunState


class Guard(Protocol):
    """Watches a run, and the runs of its subagents at every level, in one event loop."""

    def note(self, event: AgentRunEvent) -> None:
        """Take in an event of one of these runs, in the run's order, when it is folded and before it is durable."""
        ...

    def objection(self, state: RunState, drafts: Sequence[Draft]) -> str | None:
        """Why the run must not go on with what follows by itself; None where it may.

        With a reason the run is interrupted in place of these events, so nothing is announced or called that was objected to; what is
        under way is cut. It must return at once.

        Args:
            drafts: what the machine would append next, never empty, such as a `step_started`, `llm_called` or `tool_started`.
        """
        ...
