"""What people's answers change, and what is found in doubt on resume."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from afk_es.machine.compaction_facts import compaction_in_doubt
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.legality import broken
from afk_es.machine.model_facts import call_under_way
from afk_es.machine.state import RunState, ToolTurn
from afk_es.machine.tool_facts import turn_of, with_turn


def requested(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    _asked(turn, event)
    return with_turn(state, event, replace(turn, status="asking", request=data, intent_seq=event.seq))


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
    if data["outcome"] == "granted":
        return with_turn(state, event, replace(turn, status="allowed"))
    if turn.in_doubt:
        return with_turn(state, event, replace(turn, status="unknown"))
    reason = data["reason"] or ("put off" if data["outcome"] == "deferred" else "denied")
    return with_turn(state, event, replace(turn, status="denied", reason=f"{reason} (by {data['by']})"))


def input_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    _answers(turn, event, "request_id")
    if data["outcome"] != "answered":
        return with_turn(state, event, replace(turn, status="denied", reason=f"no input was given (by {data['by']})"))
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


def effect_in_doubt(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if data["effect"] == "compaction":
        return compaction_in_doubt(state, event)
    if state.phase == "model":
        return replace(state, seq=event.seq, at=event.at, call=replace(call_under_way(state, event), status="allowed"))
    turn = replace(turn_of(state, event), in_doubt=True)
    resolution = data["resolution"]
    if resolution == "run_again":
        return with_turn(state, event, replace(turn, status="allowed"))
    if resolution == "ask":
        return with_turn(state, event, replace(turn, status="approval", asks="approval"))
    return with_turn(state, event, replace(turn, status="unknown"))
