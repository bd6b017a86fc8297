"""What the beginning of a fork changes: the state that it shares with another run becomes one that a run of its own can go on from.

Nothing is in doubt in a fork: what was under way where it begins is under way again, and its handlers answer from the record or from the
world. What people said is not carried over: a question that was open is put anew, and so is one whose answer had not led to a result yet.
Whatever the fork starts or goes on with is its own, by its id: a write in it never has the idempotency key of a write of the other run.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from msgspec.structs import replace

from afk_es.machine.delegation import child_run_id
from afk_es.machine.delegation_facts import taken_over as child_taken_over
from afk_es.machine.effects import tool_key
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.legality import broken
from afk_es.machine.spec import RunSpec
from afk_es.machine.state import PENDING, ModelCall, RunState, ToolBatch, ToolTurn

_ANSWERED = frozenset({"allowed", "denied", "answered", "running", "backoff", "unknown"})
"""Statuses in which a call may be after a person has answered, and before it is over."""


def forked(state: RunState, event: AgentRunEvent, data: dict[str, Any], spec: RunSpec) -> dict[str, Any]:
    """What is different in the first state of a fork that shares events, beside what is so in every new stretch."""
    if data["forked_from"]["seq"] != state.seq:
        raise broken(event, f"a fork from seq {data['forked_from']['seq']} that shares what is before seq {event.seq}")
    pause = event.at - state.at
    own_id = data["forked_as"]
    # A wish to end was one about the other run.
    changes: dict[str, Any] = {"control": None}
    if state.compaction is not None and spec.retention is None:
        changes["compaction"] = None
    if state.call is not None and _asks_otherwise(spec, state.spec):
        # Another agent asks from the start of its model call: with its own instructions, before its own policy, its own models in turn.
        changes["call"] = ModelCall(routed=state.call.routed)
    if state.batch is not None:
        turns = tuple([_own(turn, own_id, pause) for turn in state.batch.turns])
        changes["batch"] = ToolBatch(state.batch.seq, turns, state.batch.delegation)
        # Starts that are announced again count once.
        changes["tool_calls"] = state.tool_calls - sum(map(_restarts, state.batch.turns, turns))
    if state.tickets:
        # The time between the two is nobody's.
        changes["tickets"] = tuple([replace(ticket, expires_at=ticket.expires_at + pause) for ticket in state.tickets])
    if state.grace is not None:
        changes["grace"] = replace(state.grace, wait=replace(state.grace.wait, until=state.grace.wait.until + pause))
    return changes


def _asks_otherwise(spec: RunSpec, before: RunSpec) -> bool:
    """Whether an agent differs from another in more than how people are asked and what is done about doubts, which no model hears of."""
    return replace(spec, interaction=before.interaction, in_doubt=before.in_doubt) != before


def _restarts(before: ToolTurn, after: ToolTurn) -> bool:
    return before.status in ("running", "parked") and after.status not in ("running", "parked")


def _own(turn: ToolTurn, own_id: str, pause: dt.timedelta) -> ToolTurn:
    """A call of the shared part as the fork goes on with it."""
    if turn.request is not None and (turn.status in PENDING or turn.status in _ANSWERED):
        return _asked_anew(turn, turn.request)
    if turn.child is not None:
        if turn.status in ("running", "parked"):
            # The other run's child is not this one's to go on with, and one of its own has to be announced before it begins.
            return replace(turn, status="allowed", attempt=turn.attempt - 1, child=replace(turn.child, deadline=None))
        if turn.status == "cancelling":
            turn = replace(turn, child=replace(turn.child, run_id=child_run_id(own_id, turn.ordinal, turn.attempt)))
        return child_taken_over(turn, pause)
    if turn.status == "running":
        return replace(turn, idempotency_key=tool_key(own_id, turn.ordinal))
    return turn


def _asked_anew(turn: ToolTurn, request: dict[str, Any]) -> ToolTurn:
    """The call as it was before its question was put: with the arguments and the reason that it was put with."""
    arguments = request.get("arguments")
    return replace(
        turn,
        status="put_off" if request.get("deferred") else "approval",
        attempt=turn.attempt - (turn.status == "running"),
        arguments=arguments if isinstance(arguments, dict) and arguments != turn.call.arguments else None,
        reason=request.get("reason"),
        request=None,
        asked_at=None,
        wait=None,
        failure=None,
        child=replace(turn.child, deadline=None) if turn.child is not None else None,
    )
