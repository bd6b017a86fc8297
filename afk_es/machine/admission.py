"""What becomes of a letter: the event it asks for, where that still fits the run's state, else a warning that says why not.

Whoever writes a letter sees the run as it was, and the run goes on meanwhile: the question may have been answered, the ticket may have
expired. That is nobody's mistake, so it is a fact of the run and not an exception.
"""

from __future__ import annotations

from typing import Any

from afk_es.machine.events import Draft
from afk_es.machine.state import RunState


def admitted(state: RunState, draft: Draft, letter: int) -> Draft:
    """The draft to append for the letter at that position, in this state."""
    refusal = _refusal(state, draft)
    if refusal is None:
        return Draft(draft.type, {**draft.data, "letter": letter}, draft.message)
    message = f"letter {letter} ({draft.type}) was not taken in: {refusal}"
    return Draft("warning", {"kind": "letter_refused", "letter": letter, "type": draft.type, "reason": refusal}, message)


def _refusal(state: RunState, draft: Draft) -> str | None:
    match draft.type:
        case "approval_resolved":
            return _unasked(state, draft.data, "approval", ("request_id", "arguments_hash"))
        case "input_resolved":
            return _unasked(state, draft.data, "input", ("request_id",))
        case "tool_background_resolved" | "tool_background_failed":
            ticket_id = draft.data["ticket_id"]
            if all(ticket.ticket_id != ticket_id for ticket in state.tickets):
                return f"ticket {ticket_id!r} is not open"
            return None
        case _:
            return None


def _unasked(state: RunState, data: dict[str, Any], asks: str, keys: tuple[str, ...]) -> str | None:
    """Why this is no answer to a question that is open, or None."""
    turn = state.batch.find(data["tool_call_id"]) if state.batch is not None and state.phase == "tools" else None
    if turn is None or turn.status != "asking" or turn.asks != asks or turn.request is None:
        return f"no {asks} is pending for tool call {data['tool_call_id']!r}"
    if any(turn.request[key] != data[key] for key in keys):
        return f"{data['request_id']!r} is not what is asked now, or not with these arguments"
    return None
