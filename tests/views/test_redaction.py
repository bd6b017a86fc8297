"""An event that is shown has no secrets in it, and is still the same event."""

from __future__ import annotations

from msgspec.structs import replace

from afk_es.redaction import MARK, Redaction
from afk_es.views import redacted_event
from tests.views.runs import eventful


async def test_data_message_and_thread_are_redacted_and_what_tells_events_apart_is_not() -> None:
    first = (await eventful())[0]
    event = replace(first, thread_id="of hunter22", message="hunter22 came", data={**first.data, "context": {"apiKey": "k", "n": 1}})
    shown = redacted_event(event, Redaction(values=["hunter22"]))
    assert (shown.thread_id, shown.message, shown.data["context"]) == (f"of {MARK}", f"{MARK} came", {"apiKey": MARK, "n": 1})
    assert (shown.run_id, shown.seq, shown.at, shown.type) == (event.run_id, event.seq, event.at, event.type)
    assert event.data["context"]["apiKey"] == "k", "the event itself is not changed"


async def test_events_without_secrets_stay_as_they_are() -> None:
    events = await eventful()
    assert [redacted_event(event, Redaction()) for event in events] == events


async def test_whoever_must_see_sees() -> None:
    event = (await eventful())[0]
    assert redacted_event(event, None) is event
