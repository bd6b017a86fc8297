"""Whether a recorded run can be run again on its recorded answers, or why not: one predicate for whoever records runs and whoever replays them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from afk_es.core.wiring import check_same_agent
from afk_es.errors import AgentMismatchError
from afk_es.machine import AgentRunEvent, RunSpec
from afk_es.machine.events import TERMINAL


def unreplayable(events: Iterable[AgentRunEvent]) -> str | None:
    """Why a run cannot be replayed, as a sentence with the way out; None where it can.

    A run that was laid down and resumed, or whose process died and that was resumed, can be, as long as one agent ran it all the way.

    Args:
        events: the run from its first event; of a fork, with what it shares.
    """
    last: AgentRunEvent | None = None
    spec: RunSpec | None = None
    for event in events:
        if event.type == "run_started" and "agent" in event.data:
            named = msgspec.convert(event.data["agent"], RunSpec)
            if spec is not None and (changed := _changed(event, spec, named)) is not None:
                return changed
            spec = spec or named
        reason = _against(event)
        if reason is not None:
            return reason
        last = event
    if last is None:
        return "it has no events"
    if last.type not in TERMINAL:
        return (
            f"it has not ended (its last event is {last.type} at seq {last.seq}): wait for it, or go on with it by "
            f"`afk-es resume {last.run_id}` where its process is gone"
        )
    return None


def _changed(event: AgentRunEvent, before: RunSpec, after: RunSpec) -> str | None:
    try:
        check_same_agent(before, after)
    except AgentMismatchError as error:
        what = str(error).partition(". Resume with")[0]
        return f"another agent went on with it at seq {event.seq} ({what}): run today's agent from the beginning, and take that run"
    return None


def _against(event: AgentRunEvent) -> str | None:
    data, where = event.data, f"seq {event.seq} of run {event.run_id}"
    if event.type == "run_started" and data.get("agent", {}).get("retention", {}).get("alone"):
        return "it only compacts a thread: take a run of an agent on that thread"
    if event.type == "effect_in_doubt" and data["resolution"] == "ask":
        return f"at {where} a person decided whether an effect in doubt was to be done again, which a run without a crash never asks: take another run"
    return None
