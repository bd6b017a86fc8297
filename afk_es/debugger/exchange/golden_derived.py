"""What of an event follows from the state before it: golden files leave it out, and whoever reads one puts it back. Pure.

So a golden that was edited by hand, redacted, or recorded under other ids is consistent by itself: no hash in it can be out of date, and
an edit of one fact changes one line.
"""

from __future__ import annotations

from typing import Any

from afk_es.machine.compaction import input_hash
from afk_es.machine.effects import tool_key
from afk_es.machine.events import EVENT_TYPES
from afk_es.machine.requests import request_hash
from afk_es.machine.state import RunState, ToolTurn
from afk_es.machine.values import digest_json

OWNER = "golden"
"""Who claims the runs of a golden. No process has that name, so nobody takes it for one that is alive."""

DERIVED: dict[str, frozenset[str]] = {
    "run_started": frozenset({"epoch", "owner", "resumed"}),
    "llm_called": frozenset({"request_hash"}),
    "tool_started": frozenset({"arguments_hash", "idempotency_key"}),
    "approval_requested": frozenset({"arguments_hash"}),
    "approval_resolved": frozenset({"arguments_hash"}),
    "compaction_started": frozenset({"input_hash"}),
}
"""The keys that are left out, by the type of the event."""


def derived(state: RunState, event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """The keys of an event that follow from the state before it and from its other keys; none where they do not.

    Raises:
        LookupError, TypeError, ValueError: the data is none that the machine writes.
    """
    match event_type:
        case "run_started":
            return {"epoch": state.epoch + 1, "owner": OWNER, "resumed": state.phase != "new"}
        case "llm_called":
            return {"request_hash": request_hash(state, state.spec.models[data.get("model_index", 0)].model)}
        case "tool_started":
            turn = _turn(state, data)
            if turn is None:
                return {}
            return {"arguments_hash": digest_json(turn.effective.arguments), "idempotency_key": tool_key(state.run_id, turn.ordinal)}
        case "approval_requested":
            return {"arguments_hash": digest_json(data["arguments"])}
        case "approval_resolved":
            turn = _turn(state, data)
            asked = turn.request if turn is not None else None
            return {"arguments_hash": asked["arguments_hash"]} if asked is not None and "arguments_hash" in asked else {}
        case "compaction_started":
            kept = frozenset(data["kept"])
            goes = tuple(message for index, message in enumerate(state.messages[: data["cut"]]) if index not in kept)
            return {"input_hash": input_hash(goes)}
        case _:
            return {}


def shortened(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data without what follows from the rest, and without keys that have the value declared for them."""
    row = EVENT_TYPES.get(event_type)
    defaults = row.defaults if row is not None else {}
    left_out = DERIVED.get(event_type, frozenset())
    return {
        key: item
        for key, item in data.items()
        if key not in left_out and not (key in defaults and type(item) is type(defaults[key]) and item == defaults[key])
    }


def with_defaults(event_type: str, data: dict[str, Any]) -> dict[str, Any]:
    """The data with the declared defaults where it has nothing."""
    row = EVENT_TYPES.get(event_type)
    if row is None or not row.defaults:
        return data
    missing = {
        key: default.copy() if isinstance(default, (list, dict)) else default for key, default in row.defaults.items() if key not in data
    }
    return {**data, **missing} if missing else data


def _turn(state: RunState, data: dict[str, Any]) -> ToolTurn | None:
    return state.batch.find(data["tool_call_id"]) if state.batch is not None else None
