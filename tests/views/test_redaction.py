"""An event that is shown has no secrets in it, and is still the same event."""

from __future__ import annotations

import datetime as dt

import pytest
from msgspec.structs import replace

from afk_es.machine import AgentRunEvent
from afk_es.machine.events import validate
from afk_es.redaction import MARK, Redaction
from afk_es.views import redacted_at, redacted_event, redacted_facts, run_metrics
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


async def test_the_shape_stays_whatever_the_values_read_like() -> None:
    """A scope may hold what is no secret, and a secret may be a word: sinks still get events that they can read."""
    values = ["agent_name", "tool_calls", "arguments", "tool_name", "returned", "returned.", "input_tokens", "output"]
    for event in await eventful():
        shown = redacted_event(event, Redaction(values=values))
        validate(shown.type, shown.data)
        assert shown.data.keys() == event.data.keys()


async def test_numbers_of_the_shape_stay_and_those_of_a_tool_do_not() -> None:
    events = await eventful()
    answered = next(event for event in events if event.type == "llm_completed")
    done = next(event for event in events if event.type == "tool_completed")
    ours = Redaction(values=["123456"])
    usage = {"input_tokens": 123456, "output_tokens": 1, "total_tokens": 123457}
    assert redacted_event(replace(answered, data={**answered.data, "usage": usage}), ours).data["usage"] == usage
    told = redacted_event(replace(done, data={**done.data, "output": 123456, "latency_ms": 123456.0, "own_pin": 123456}), ours)
    assert (told.data["output"], told.data["latency_ms"], told.data["own_pin"]) == (MARK, 123456.0, MARK)


async def test_a_declared_name_can_be_kept_back_too() -> None:
    first = (await eventful())[0]
    assert redacted_event(first, Redaction(keys=["user_message"])).data["user_message"] == MARK


def test_events_of_a_newer_version_are_redacted_as_plain_data() -> None:
    event = AgentRunEvent("of_tomorrow", "r", "t", 1, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "running", 0, "", {"password": "x", "n": 1})
    assert redacted_event(event, Redaction()).data == {"password": MARK, "n": 1}


async def test_whoever_must_see_sees() -> None:
    event = (await eventful())[0]
    assert redacted_event(event, None) is event


async def test_facts_stay_facts_of_their_kind() -> None:
    metrics = run_metrics(await eventful())
    secret = replace(metrics, agent_name="hunter22")
    assert redacted_facts(secret, Redaction(values=["hunter22"])) == replace(metrics, agent_name=MARK)
    assert redacted_facts(secret, None) is secret


@pytest.mark.parametrize("path", ["password", "context.credentials.user", 'turns[0]["api key"].parts[1]', "state.context.password[0]"])
def test_a_value_is_judged_by_every_name_in_its_path(path: str) -> None:
    assert redacted_at(path, {"a": ["PLANTED"]}, Redaction()) == {"a": ["[redacted]"]}


@pytest.mark.parametrize(("path", "value"), [("", "Ulm"), ("context.city", "Ulm"), ("state.usage.input_tokens", 7)])
def test_a_path_without_a_secret_s_name_shows_its_value(path: str, value: object) -> None:
    assert redacted_at(path, value, Redaction()) == value


def test_changes_are_judged_by_the_path_that_they_name() -> None:
    changes = [
        {"path": "context.credentials.user", "before": "PLANTED", "after": ["PLANTED"], "n": 1},
        {"path": "context.city", "before": "Ulm"},
        {"path": ["password"], "before": "Ulm"},
    ]
    assert redacted_facts(changes, Redaction()) == [
        {"path": "context.credentials.user", "before": MARK, "after": [MARK], "n": 1},
        {"path": "context.city", "before": "Ulm"},
        {"path": ["password"], "before": "Ulm"},
    ]
