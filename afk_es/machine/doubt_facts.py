"""What is found in doubt on resume, and what becomes of it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from afk_es.machine.compaction_facts import compaction_in_doubt
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.model_facts import call_under_way
from afk_es.machine.state import RunState
from afk_es.machine.tool_facts import turn_of, with_turn


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
