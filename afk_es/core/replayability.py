"""Whether a recorded run can be run again on its recorded answers, or why not: one predicate for whoever records runs and whoever replays them."""

from __future__ import annotations

from collections.abc import Iterable

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL


def unreplayable(events: Iterable[AgentRunEvent]) -> str | None:
    """Why a run cannot be replayed, as a sentence with the way out; None where it can.

    A run that was laid down and resumed, or whose process died and that was resumed, can be, as long as one agent ran it all the way.

    Args:
        events: the run from its first event; of a fork, with what it shares.
    """
    last: AgentRunEvent | None = None
    for event in events:
        reason = _against(event)
        if reason is not None:
            return reason
        last = event
    if last is None:
        return "the run has no events"
    if last.type not in TERMINAL:
        return (
            f"run {last.run_id} has not ended (its last event is {last.type} at seq {last.seq}): wait for it, or go on with it by "
            f"`afk-es resume {last.run_id}` where its process is gone"
        )
    return None


def _against(event: AgentRunEvent) -> str | None:
    data, where = event.data, f"seq {event.seq} of run {event.run_id}"
    if event.type == "run_started":
        if event.seq > 1 and "agent" in data:
            return f"another agent went on with it at {where}: run today's agent from the beginning, and take that run"
        if data.get("agent", {}).get("retention", {}).get("alone"):
            return f"run {event.run_id} only compacts a thread: take a run of an agent on that thread"
    if event.type == "effect_in_doubt" and data["resolution"] == "ask":
        return f"at {where} a person decided whether an effect in doubt was to be done again, which a run without a crash never asks: take another run"
    return None
