"""An event as it may be shown: what is redacted of it, and what never is. What a secret is, `afk_es.redaction` knows."""

from __future__ import annotations

from msgspec.structs import replace

from afk_es.machine.events import AgentRunEvent
from afk_es.redaction import Redaction


def redacted_event(event: AgentRunEvent, redaction: Redaction | None) -> AgentRunEvent:
    """The event without secrets in its data, its message and its thread's name; the event itself is not changed.

    What tells events apart and holds them together (run, seq, time, type, step) stays as it is.

    Args:
        redaction: None for whoever must see everything.
    """
    if redaction is None:
        return event
    return replace(
        event,
        thread_id=redaction.text(event.thread_id),
        message=redaction.text(event.message),
        data=redaction.value(event.data),
    )
