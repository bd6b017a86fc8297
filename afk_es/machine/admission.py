"""What becomes of a letter: the event it asks for, where that still fits the run's state, else a warning that says why not. And whether an
effect's answer still fits.

Whoever writes a letter sees the run as it was, and the run goes on meanwhile: the question may have been answered, the ticket may have
expired. That is nobody's mistake, so it is a fact of the run and not an exception.
"""

from __future__ import annotations

from typing import Any

from afk_es.machine.events import Draft
from afk_es.machine.state import PENDING, RunState


def admitted(state: RunState, draft: Draft, letter: int) -> Draft:
    """The draft to append for the letter at that position, in this state."""
    why = refusal(state, draft)
    if why is None:
        return Draft(draft.type, {**draft.data, "letter": letter}, draft.message)
    message = f"letter {letter} ({draft.type}) was not taken in: {why}"
    return Draft("warning", {"kind": "letter_refused", "letter": letter, "type": draft.type, "reason": why}, message)


def overtaken(state: RunState, draft: Draft) -> bool:
    """Whether an effect's answer came too late: a fact of the same moment has settled what it was asked for, as a join may."""
    if draft.type == "subagent_waiting":
        turn = state.batch.find(draft.data["tool_call_id"]) if state.batch is not None else None
        return turn is None or turn.status != "running"
    return refusal(state, draft) is not None


def refusal(state: RunState, draft: Draft) -> str | None:
    """Why what a letter asks for does not fit this state, or None."""
    match draft.type:
        case "approval_resolved":
            return _unasked(state, draft.data, "approval", ("request_id", "arguments_hash"))
        case "input_resolved":
            return _unasked(state, draft.data, "input", ("request_id",))
        case "tool_background_resolved" | "tool_background_failed":
            ticket_id = draft.data["ticket_id"]
            open_one = next((ticket for ticket in state.tickets if ticket.ticket_id == ticket_id), None)
            if open_one is None:
                return f"ticket {ticket_id!r} is not open"
            if open_one.tool_call_id != draft.data["tool_call_id"]:
                return f"ticket {ticket_id!r} is of tool call {open_one.tool_call_id!r}, and not of {draft.data['tool_call_id']!r}"
            return None
        case _:
            return None


def _unasked(state: RunState, data: dict[str, Any], asks: str, keys: tuple[str, ...]) -> str | None:
    """Why this is no answer to a question that is open, or None."""
    turn = state.batch.find(data["tool_call_id"]) if state.batch is not None else None
    if turn is None or turn.status not in PENDING or turn.asks != asks or turn.request is None:
        return f"no {asks} is pending for tool call {data['tool_call_id']!r}"
    if any(turn.request[key] != data[key] for key in keys):
        return f"{data['request_id']!r} is not what is asked now, or not with these arguments"
    return None
