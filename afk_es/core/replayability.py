"""Whether a recorded run can be run again on its recorded answers, or why not: one predicate for whoever records runs and whoever replays them."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

import msgspec

from afk_es.core.wiring import check_same_agent
from afk_es.errors import AgentMismatchError
from afk_es.machine import AgentRunEvent, RunSpec
from afk_es.machine.events import TERMINAL


def unreplayable(events: Iterable[AgentRunEvent], *, part: bool = False) -> str | None:
    """Why a run cannot be replayed, as a sentence with the way out; None where it can.

    A run that was laid down and resumed, that failed and was reopened, or whose process died and that was resumed, can be, as long as one
    agent ran it all the way. What the operator chooses, such as how tool outputs are rendered, may have changed.

    Args:
        events: the run from its first event; of a fork, with what it shares.
        part: it need not have ended: a subagent's run may have died with its parent's.
    """
    last: AgentRunEvent | None = None
    begun = _Begun()
    for event in events:
        reason = begun.against(event, last)
        if reason is not None:
            return reason
        last = event
    if last is None:
        return "the run has no events"
    if last.type not in TERMINAL and not part:
        return (
            f"run {last.run_id} has not ended (its last event is {last.type} at seq {last.seq}): wait for it, or go on with it by "
            f"`afk-es resume {shlex.quote(last.run_id)}` where its process is gone"
        )
    return None


class _Begun:
    """The agent that a run began with, and where the stretch under way began that nothing but an end stands before."""

    def __init__(self) -> None:
        self._spec: RunSpec | None = None
        self._stretch = 1

    def against(self, event: AgentRunEvent, before: AgentRunEvent | None) -> str | None:
        """Why this event, behind that one, keeps the run from being replayed."""
        if event.type == "run_started":
            return self._against_start(event, before)
        data = event.data
        if event.type == "effect_in_doubt" and data["resolution"] == "ask" and data["intent_seq"] > self._stretch:
            return (
                f"at seq {event.seq} of run {event.run_id} a person decided whether an effect in doubt was to be done again, which a run without a "
                "crash never asks: take another run"
            )
        return None

    def _against_start(self, event: AgentRunEvent, before: AgentRunEvent | None) -> str | None:
        data = event.data
        if data.get("agent", {}).get("retention", {}).get("alone"):
            return f"run {event.run_id} only compacts a thread: take a run of an agent on that thread"
        if before is not None and (before.type == "run_interrupted" or data.get("reopened")):
            self._stretch = event.seq
        elif before is not None and before.type in TERMINAL:
            return f"run {event.run_id} is a fork that goes on behind the end of another run: take that run, or one that was forked earlier"
        if "agent" not in data:
            return None
        spec = msgspec.convert(data["agent"], RunSpec)
        if self._spec is None:
            self._spec = spec
            return None
        try:
            check_same_agent(self._spec, spec)
        except AgentMismatchError as error:
            where = f"seq {event.seq} of run {event.run_id}"
            return f"another agent went on with it at {where} ({error}): run today's agent from the beginning, and take that run"
        return None
