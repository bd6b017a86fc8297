"""Goal: what a program answers reaches the request that is meant, and no other. Method: requests without a run."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es.errors import UsageError
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InMemoryInteraction, InputDecision, InputRequest, InteractionProvider

ASKED_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def shared(**changes: Any) -> dict[str, Any]:
    """What a request of either kind has."""
    fields = {
        "request_id": "approval:1:0",
        "run_id": "run_1",
        "thread_id": "thread_1",
        "tool_name": "pay",
        "tool_call_id": "c1",
        "arguments": {"amount": 3},
        "rule": "four_eyes",
        "reason": "it costs",
        "payload": {},
        "agent_path": ("clerk",),
        "asked_at": ASKED_AT,
        "expires_at": ASKED_AT + dt.timedelta(seconds=300),
        "deferred": False,
    }
    return fields | changes


def approval(**changes: Any) -> ApprovalRequest:
    return ApprovalRequest(**shared(purpose="policy", arguments_hash="0", **changes))


def words(**changes: Any) -> InputRequest:
    return InputRequest(**shared(prompt="Which?", **{"request_id": "input:1:0", **changes}))


async def test_requests_wait_in_order_and_each_gets_its_answer() -> None:
    people = InMemoryInteraction()
    assert isinstance(people, InteractionProvider)
    first = asyncio.ensure_future(people.request_approval(approval()))
    second = asyncio.ensure_future(people.request_input(words()))
    assert await people.next_request() == approval()
    await asyncio.sleep(0)
    assert people.pending() == (approval(), words())
    people.answer("input:1:0", "blue", by="ann")
    assert people.pending() == (approval(),)
    people.deny("approval:1:0", by="bob", reason="too dear")
    assert await second == InputDecision(outcome="answered", by="ann", value="blue")
    assert await first == ApprovalDecision(outcome="denied", by="bob", reason="too dear")


@pytest.mark.parametrize(("verb", "outcome"), [("deny", "denied"), ("defer", "deferred")])
async def test_a_request_for_words_can_be_refused_and_put_off(verb: str, outcome: Any) -> None:
    people = InMemoryInteraction()
    asked = asyncio.ensure_future(people.request_input(words()))
    await people.next_request()
    getattr(people, verb)("input:1:0", by="ann")
    assert await asked == InputDecision(outcome=outcome, by="ann")


async def test_a_cancelled_call_is_withdrawn() -> None:
    people = InMemoryInteraction()
    asked = asyncio.ensure_future(people.request_approval(approval()))
    await people.next_request()
    asked.cancel()
    await asyncio.wait([asked])
    assert people.pending() == ()
    with pytest.raises(UsageError, match="not pending; what is: nothing"):
        people.approve("approval:1:0", by="ann")


async def test_answers_to_what_is_not_asked_are_errors() -> None:
    people = InMemoryInteraction()
    asked = [asyncio.ensure_future(people.request_approval(approval(run_id=run_id))) for run_id in ("run_1", "run_2")]
    await people.next_request()
    await asyncio.sleep(0)
    with pytest.raises(UsageError, match="pending in several runs"):
        people.approve("approval:1:0", by="ann")
    with pytest.raises(UsageError, match="input 'approval:1:0' is not pending; what is: approval 'approval:1:0' of run run_1"):
        people.answer("approval:1:0", "yes", by="ann")
    with pytest.raises(UsageError, match="of run run_3 is not pending"):
        people.approve("approval:1:0", by="ann", run_id="run_3")
    with pytest.raises(ValidationError, match="name who did"):
        people.approve("approval:1:0", by="fallback", run_id="run_1")
    assert len(people.pending()) == 2
    for run_id in ("run_1", "run_2"):
        people.approve("approval:1:0", by="ann", run_id=run_id)
    assert [(await each).outcome for each in asked] == ["granted", "granted"]


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": "answered", "by": "ann"},
        {"outcome": "denied", "by": "ann", "value": "blue"},
        {"outcome": "granted", "by": "ann"},
        {"outcome": "denied", "by": "  "},
        {"outcome": "denied", "by": "a" * 201},
        {"outcome": "denied", "by": "ann", "because": "no"},
    ],
)
def test_decisions_that_make_no_sense_cannot_be_made(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InputDecision(**fields)
