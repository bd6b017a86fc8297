"""What a thread remembers of a run: its conversation, made whole.

The chat APIs refuse a history in which a tool call has no result. A run that failed, was cancelled or was laid down in the middle of a
batch has such calls, so whoever builds on it sees, for each of them, a sentence that says so.
"""

from __future__ import annotations

from afk_es.machine.delegation_facts import reported
from afk_es.machine.state import RunState, ToolTurn
from afk_es.machine.values import Message, Messages

_NOT_RUN = "This call was not run: the run ended before it."
_OPEN = "The background tool {} (ticket {}) had not ended when this run did; its result did not reach this conversation."
_CUT = "This call was started, and the run ended before it returned; it may or may not have taken effect."


def remembered(state: RunState) -> Messages:
    """The run's conversation, with every tool call answered."""
    closing = [Message("tool", _NOT_RUN, (), call.id) for call in state.requested]
    if state.batch is not None and state.batch.delegation is not None and state.batch.delegation.plan is not None:
        told = reported(state.batch)
        closing += [told] if told is not None else []
    elif state.batch is not None:
        for turn in state.batch.turns:
            closing.append(Message("tool", _content(turn), (), turn.call.id))
    closing += state.notices
    # A log from before tickets could be resolved says nothing of them, and requests that build on it keep their hashes.
    if state.tickets and state.spec.background is not None:
        closing += [Message("user", _OPEN.format(ticket.tool_name, ticket.ticket_id)) for ticket in state.tickets]
    if not closing:
        return state.messages
    return state.messages.appended(*closing)


def _content(turn: ToolTurn) -> str:
    if turn.status == "done":
        return turn.content
    if turn.in_doubt or turn.status in ("running", "in_doubt", "parked", "cancelling"):
        return _CUT
    if turn.failure is not None:
        return f"This call failed: {turn.failure.error}"
    return _NOT_RUN
