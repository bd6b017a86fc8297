"""The ledger of calls: what was started, how often, and whether anything ran twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.machine import AgentRunEvent
from afk_es.views import call_records, tallied
from afk_es.views.ledger import CallCounts
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


_PLAN = {"nodes": [{"id": "a", "subagent": "scout", "task": "look"}, {"id": "b", "subagent": "clerk", "task": "sum up"}], "edges": []}


def test_the_nodes_of_a_routers_plan_are_calls_like_those_of_an_answer() -> None:
    done = {"outcome": "returned", "output": "gold", "error": None, "latency_ms": 3.0}
    first, second = call_records(
        [
            _event(1, "subagents_routed", plan=_PLAN),
            _event(2, "subagent_started", tool_call_id="a"),
            _event(3, "subagent_completed", tool_call_id="a", success=False, error="it broke"),
            _event(4, "subagent_started", tool_call_id="a"),
            _event(5, "subagent_completed", tool_call_id="a", success=True, error=None),
            _event(6, "tool_completed", tool_call_id="a", **done),
        ]
    )
    assert (first.tool_name, first.tool_call_id, first.step, first.arguments) == ("transfer_to_scout", "a", 1, {"task": "look"})
    assert (first.started, first.retried, first.repeated, first.outcome, first.ended) == ([2, 4], 1, 0, "returned", 6)
    assert (first.output, first.error, first.latency_ms) == ("gold", None, 3.0)
    assert (second.tool_name, second.outcome, second.started) == ("transfer_to_clerk", "open", [])


def test_a_router_that_wants_nothing_leaves_the_calls_before_it_alone() -> None:
    (record,) = call_records([_ASKED, _event(2, "subagents_routed", plan=None), _event(3, "tool_started")])
    assert record.started == [3]


def test_the_call_ids_of_a_plan_and_of_an_answer_are_their_own() -> None:
    plan = {"nodes": [{"id": "c1", "subagent": "scout", "task": "look"}], "edges": []}
    failed = _event(3, "tool_failed", error="e")
    told = [_ASKED, _event(2, "tool_started"), failed, _event(4, "subagents_routed", plan=plan), _event(5, "subagent_started")]
    earlier, later = call_records(told)
    assert (earlier.started, later.started, later.retried, later.error) == ([2], [5], 0, None)


def test_calls_are_counted_page_by_page_as_they_are_all_at_once() -> None:
    done = {"outcome": "returned", "output": 1, "error": None, "latency_ms": 1.0}
    told = [
        _ASKED,
        _event(2, "tool_started"),
        _event(3, "tool_completed", **done),
        _event(4, "subagents_routed", plan=_PLAN),
        _event(5, "tool_completed", tool_call_id="a", **{**done, "outcome": "denied"}),
        _event(6, "subagents_routed", plan=None),
        _event(7, "tool_completed", tool_call_id="b", **done),
    ]
    counts = CallCounts()
    for event in told:
        counts.note(event)
    assert counts.counts() == {("pay", "returned"): 1, ("transfer_to_scout", "denied"): 1, ("transfer_to_clerk", "returned"): 1}
