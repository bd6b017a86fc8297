"""What questions to people and their answers change."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from afk_es.machine.events import AgentRunEvent
from afk_es.machine.inquiries import term
from afk_es.machine.legality import broken
from afk_es.machine.spec import Interaction
from afk_es.machine.state import Failure, RunState, ToolTurn
from afk_es.machine.tool_facts import turn_of, with_turn


def requested(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    _asked(turn, event)
    asked = replace(turn, status="asking", request=data, intent_seq=event.seq, asked_at=event.at)
    if data.get("deferred"):
        return with_turn(state, event, replace(asked, status="deferred"))
    return with_turn(state, event, replace(asked, wait=term(event.seq, event.at, data["timeout_s"])))


def _asked(turn: ToolTurn, event: AgentRunEvent) -> None:
    if not event.type.startswith(turn.asks):
        raise broken(event, f"{event.type} for tool call {turn.call.id!r}, which waits for {turn.asks}")


def _answers(turn: ToolTurn, event: AgentRunEvent, *keys: str) -> None:
    """A grant holds for this call with these arguments, and for nothing else."""
    _asked(turn, event)
    request = turn.request
    assert request is not None
    if any(request[key] != event.data[key] for key in keys):
        raise broken(event, f"an answer to {event.data['request_id']!r}, which was not asked, or not with these arguments")


def approval_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    _answers(turn, event, "request_id", "arguments_hash")
    turn = replace(turn, wait=None, failure=None)
    match data["outcome"]:
        case "granted":
            return with_turn(state, event, replace(turn, status="allowed"))
        case "deferred":
            return with_turn(state, event, replace(turn, status="deferred"))
        case _ if turn.in_doubt:
            return with_turn(state, event, replace(turn, status="unknown"))
        case _:
            return with_turn(state, event, replace(turn, status="denied", reason=f"{data['reason'] or 'denied'} (by {data['by']})"))


def input_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    _answers(turn, event, "request_id")
    turn = replace(turn, wait=None, failure=None)
    if data["outcome"] == "deferred":
        return with_turn(state, event, replace(turn, status="deferred"))
    if data["outcome"] != "answered":
        why = f": {data['reason']}" if data.get("reason") else ""
        return with_turn(state, event, replace(turn, status="denied", reason=f"no input was given (by {data['by']}){why}"))
    argument = turn.payload.get("argument")
    value = data["value"]
    if value is None:
        # Nobody answered and the fallback allows it: the call runs as the model asked for it.
        return with_turn(state, event, replace(turn, status="allowed"))
    if argument is None:
        return with_turn(state, event, replace(turn, status="answered", reason=value))
    current = turn.effective.arguments
    arguments = {**(current if isinstance(current, dict) else {}), argument: value}
    return with_turn(state, event, replace(turn, status="allowed", arguments=arguments))


def warned(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    """A warning changes nothing, but for the one that says why a person could not be asked: then the fallback has to answer."""
    if data["kind"] != "interaction_failed" or state.batch is None:
        return replace(state, seq=event.seq, at=event.at)
    turn = state.batch.find(data["tool_call_id"])
    if turn is None or turn.status != "asking":
        return replace(state, seq=event.seq, at=event.at)
    failure = Failure(data["reason"], "InteractionFailed", "non_fatal")
    return with_turn(state, event, replace(turn, status="overdue", wait=None, failure=failure))


def taken_over(turn: ToolTurn, event: AgentRunEvent, interaction: Interaction) -> ToolTurn:
    """The question about a call as a new owner finds it: its term may have passed, and what was put off may be asked again here."""
    if turn.status == "asking" and turn.wait is not None and turn.wait.until <= event.at:
        return replace(turn, status="overdue")
    if turn.status == "deferred" and interaction.mode == "interactive":
        return replace(turn, status="asking")
    return turn
