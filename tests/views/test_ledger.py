"""The ledger of calls: what was started, how often, and whether anything ran twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.machine import AgentRunEvent
from afk_es.views import call_records, tallied
from tests.views.runs import eventful


async def test_a_retry_is_not_a_repetition_and_a_denied_call_was_never_started() -> None:
    tallies = {tally.tool_name: tally for tally in tallied(call_records(await eventful()))}
    assert (tallies["add"].started, tallies["add"].returned, tallies["add"].repeated) == (1, 1, 0)
    assert (tallies["flaky"].started, tallies["flaky"].retried, tallies["flaky"].repeated) == (2, 1, 0)
    assert (tallies["forbidden"].started, tallies["forbidden"].refused) == (0, 1)


def _event(seq: int, kind: str, **data: Any) -> AgentRunEvent:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return AgentRunEvent(kind, "run_1", "thread_1", seq, at, "running", 1, "", {"tool_call_id": "c1", **data})


_ASKED = _event(1, "llm_completed", tool_calls=[{"id": "c1", "tool_name": "pay", "arguments": {"amount": 5}}])


def test_a_second_start_without_a_failure_between_is_a_repetition() -> None:
    (record,) = call_records([_ASKED, _event(2, "tool_started"), _event(3, "effect_in_doubt"), _event(4, "tool_started")])
    assert (record.started, record.repeated, record.in_doubt, record.outcome) == ([2, 4], 1, True, "open")


def test_a_policy_changes_the_arguments_and_a_deferred_call_counts_as_returned() -> None:
    (record,) = call_records(
        [
            _ASKED,
            _event(2, "policy_decision"),
            _event(3, "policy_decision", updated_tool_args={"amount": 1}),
            _event(4, "tool_started"),
            _event(5, "tool_deferred"),
            _event(6, "tool_started", tool_call_id="somebody else's"),
        ]
    )
    assert (record.arguments, record.outcome, record.ended) == ({"amount": 1}, "deferred", 5)
    assert tallied([record])[0].returned == 1
