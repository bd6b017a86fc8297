"""What a run took, by hand: each figure of the metrics from events whose times are known, and the whole from real runs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from afk_es.machine import AgentRunEvent
from afk_es.views import overview, run_metrics
from afk_es.views.durations import seconds_between, seconds_covered
from tests.views.runs import agent, calls, eventful, events_of

BEGAN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def story(*facts: tuple[float, str, dict[str, Any]]) -> list[AgentRunEvent]:
    """Events at these seconds."""
    return [
        AgentRunEvent(kind, "run_1", "thread_1", seq, BEGAN + dt.timedelta(seconds=at), "running", 1, "", data)
        for seq, (at, kind, data) in enumerate(facts, start=1)
    ]


def started(epoch: int = 1) -> dict[str, Any]:
    return {"agent_name": "desk", "resumed": epoch > 1, "epoch": epoch, "owner": "o"}


def called(attempt: int = 1, index: int = 0) -> dict[str, Any]:
    return {"model": f"m{index}", "provider": "p", "model_index": index, "attempt": attempt, "ordinal": attempt, "request_hash": "h"}


def answered(*names: str, usage: tuple[int, int] | None = (10, 2), cost: float | None = 0.1) -> dict[str, Any]:
    told = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)} if usage is not None else None
    wanted = [{"id": f"c{number}", "tool_name": name, "arguments": {}} for number, name in enumerate(names, start=1)]
    return {
        "tool_call_count": len(names),
        "finish_reason": None,
        "text": "",
        "tool_calls": wanted,
        "usage": told,
        "cost_usd": cost,
        "latency_ms": 1.0,
    }


def failed(attempt: int = 1, kind: str = "retryable") -> dict[str, Any]:
    return {"error": "e", "error_type": "E", "classification": kind, "model": "m0", "attempt": attempt}


def tool(name: str, call: str, **more: Any) -> dict[str, Any]:
    return {"tool_name": name, "tool_call_id": call, **more}


def over(name: str, call: str, outcome: str = "returned") -> dict[str, Any]:
    return tool(name, call, success=outcome == "returned", outcome=outcome, output=None, error=None, latency_ms=1.0)


def test_requests_retries_fallbacks_and_what_they_took() -> None:
    seen = run_metrics(
        story(
            (0, "run_started", started()),
            (1, "llm_called", called()),
            (3, "llm_failed", failed()),
            (4, "timer_fired", {"timer": "retry:3"}),
            (4, "llm_called", called(2)),
            (5, "llm_failed", failed(2, "terminal")),
            (5, "llm_called", called(index=1)),
            (9, "llm_completed", answered()),
            (9, "llm_called", called(index=1)),
            (10, "llm_completed", answered(usage=None, cost=0.2)),
            (11, "run_completed", {"state": "completed"}),
        )
    )
    assert (seen.llm_calls, seen.llm_retries, seen.llm_fallbacks) == (4, 1, 2)
    assert seen.llm_failures == {"retryable": 1, "terminal": 1}
    assert (seen.model_s, seen.backoff_s, seen.elapsed_s, seen.wall_s, seen.first_answer_s) == (8.0, 1.0, 11.0, 11.0, 9.0)
    own, fallback = seen.models
    assert (own.model, own.requests, own.answers, own.failures, own.seconds, own.cost_usd) == ("m0", 2, 0, 2, 3.0, None)
    assert (fallback.model, fallback.answers, fallback.seconds, fallback.input_tokens, fallback.without_usage) == ("m1", 2, 5.0, 10, 1)
    assert seen.cost_usd == fallback.cost_usd == 0.3, "money is added exactly"


def test_tools_at_once_take_their_time_once() -> None:
    seen = run_metrics(
        story(
            (0, "run_started", started()),
            (0, "llm_called", called()),
            (1, "llm_completed", answered("a", "a", "b")),
            (1, "tool_started", tool("a", "c1", attempt=1)),
            (2, "tool_started", tool("a", "c2", attempt=1)),
            (4, "tool_completed", over("a", "c1")),
            (5, "tool_failed", tool("a", "c2", attempt=1, error="e", error_type="E", classification="retryable")),
            (7, "timer_fired", {"timer": "retry:7"}),
            (7, "tool_started", tool("a", "c2", attempt=2)),
            (8, "tool_completed", over("a", "c2")),
            (8, "tool_completed", over("b", "c3", "denied")),
            (9, "run_completed", {"state": "completed"}),
        )
    )
    assert (seen.tools_s, seen.backoff_s) == (5.0, 2.0)
    assert seen.tool_calls == {"returned": 2, "denied": 1}
    first, second = seen.tools
    assert (first.calls, first.started, first.seconds, first.longest_s, first.outcomes) == (2, 3, 7.0, 3.0, {"returned": 2})
    assert (second.calls, second.started, second.seconds, second.outcomes) == (1, 0, 0.0, {"denied": 1})


def test_people_pauses_and_the_death_of_a_process() -> None:
    seen = run_metrics(
        story(
            (0, "run_started", started()),
            (1, "approval_requested", {"request_id": "r1"}),
            (3, "input_requested", {"request_id": "r2"}),
            (5, "approval_resolved", {"request_id": "r1"}),
            (7, "input_resolved", {"request_id": "r2"}),
            (8, "control_requested", {"action": "pause"}),
            (18, "control_requested", {"action": "resume"}),
            (19, "llm_called", called()),
            (20, "warning", {"kind": "odd"}),
            # Nobody knows of anything after this: here the process died.
            (100, "run_started", started(2)),
            (101, "llm_called", called(2)),
            (102, "run_interrupted", {"reason": "Ctrl-C"}),
        )
    )
    assert (seen.stretches, seen.people_s, seen.warnings) == (2, 6.0, 1)
    assert seen.elapsed_s == 8 + 2 + 2
    assert seen.model_s == 1 + 1
    assert seen.first_answer_s is None
    assert seen.llm_failures == {}


def test_a_wait_that_never_ended_is_not_counted() -> None:
    seen = run_metrics(
        story((0, "run_started", started()), (1, "llm_called", called()), (2, "llm_failed", failed()), (9, "warning", {"kind": "k"}))
    )
    assert (seen.backoff_s, seen.elapsed_s) == (0.0, 9.0)
    assert run_metrics(story((0, "run_started", started()), (2, "llm_failed", failed(0)))).models == ()
    assert run_metrics(story((0, "run_started", started()), (2, "llm_completed", answered()))).models == (), "nobody was asked"


async def test_a_real_run_and_its_overview_agree() -> None:
    events = await eventful()
    seen, known = run_metrics(events), overview(events)
    assert (seen.status, seen.steps, seen.llm_calls) == (known.status, known.step, known.llm_calls)
    assert (seen.total_tokens, seen.cost_usd) == (known.usage.total_tokens, known.cost_usd)
    assert seen.elapsed_s == pytest.approx(known.elapsed_s)
    assert sum(seen.tool_calls.values()) == len(known.calls)
    assert seen.backoff_s > 0
    assert seen.agent_name == known.agent_name


async def test_every_beginning_of_a_run_has_metrics() -> None:
    events = await eventful()
    for length in range(1, len(events) + 1):
        seen = run_metrics(events[:length])
        assert seen.events == length
        assert 0 <= seen.model_s <= seen.elapsed_s <= seen.wall_s + 1e-9


async def test_without_prices_there_is_no_cost() -> None:
    assert run_metrics(await events_of(agent("hello"))).cost_usd is None
    assert run_metrics(await events_of(agent(calls(("add", {"a": 1, "b": 1})), "2"))).cost_usd == 0.25


def test_no_events_no_metrics() -> None:
    with pytest.raises(ValueError, match="without events"):
        run_metrics([])


def test_time_covered_and_time_between() -> None:
    at = [BEGAN + dt.timedelta(seconds=second) for second in range(10)]
    assert seconds_covered([]) == 0
    assert seconds_covered([(at[4], at[6]), (at[0], at[3]), (at[1], at[2]), (at[2], at[5])]) == 6
    assert seconds_between(at[3], at[1]) == 0


def fork(epoch: int = 2) -> dict[str, Any]:
    """A fork of another run, which begins here."""
    return {**started(epoch), "resumed": False, "forked_from": {"run_id": "run_0", "seq": epoch}}


def test_what_a_fork_shares_the_other_run_has_used_up_and_what_it_answers_from_the_record_too() -> None:
    seen = run_metrics(
        story(
            (0, "run_started", started()),
            (1, "llm_called", called()),
            (2, "llm_completed", answered()),
            (3, "llm_called", called()),
            (10, "run_started", fork()),
            (10, "llm_completed", answered() | {"reused": 4}),
            (11, "llm_called", called()),
            (11, "llm_failed", failed() | {"reused": 9}),
            (13, "timer_fired", {"timer": "retry:8"}),
            (13, "llm_called", called(2)),
            (17, "llm_completed", answered(cost=0.25)),
            (18, "run_completed", {"state": "completed"}),
        )
    )
    (model,) = seen.models
    assert (model.requests, model.answers, model.failures, model.cost_usd) == (1, 1, 0, 0.25)
    assert (seen.llm_calls, seen.total_tokens, seen.cost_usd, seen.llm_failures) == (1, 12, 0.25, {})
    assert seen.backoff_s == 2.0, "the fork waits, whoever failed"


def test_a_request_that_was_under_way_at_a_fork_is_the_forks_where_it_is_answered_there() -> None:
    begun = [(0.0, "run_started", started()), (1.0, "llm_called", called()), (9.0, "run_started", fork())]
    (model,) = run_metrics(story(*begun, (10.0, "llm_completed", answered()))).models
    assert (model.requests, model.answers, model.input_tokens) == (1, 1, 10)
    (model,) = run_metrics(story(*begun, (10.0, "llm_failed", failed()))).models
    assert (model.requests, model.failures) == (1, 1)


def test_another_agent_asks_anew_and_then_the_request_under_way_was_the_other_runs() -> None:
    begun = [(0.0, "run_started", started()), (1.0, "llm_called", called()), (9.0, "run_started", fork())]
    (model,) = run_metrics(story(*begun, (10.0, "llm_called", called(index=1)), (12.0, "llm_completed", answered()))).models
    assert (model.model, model.requests, model.answers, model.seconds) == ("m1", 1, 1, 2.0)


def test_a_fork_between_two_steps_begins_with_nothing_used_up() -> None:
    seen = run_metrics(
        story((0, "run_started", started()), (1, "llm_called", called()), (2, "llm_completed", answered()), (3, "run_started", fork()))
    )
    assert (seen.models, seen.llm_calls, seen.cost_usd, seen.stretches) == ((), 0, None, 2)


def test_a_part_of_a_run_was_going_on_where_it_begins() -> None:
    seen = run_metrics(story((5, "llm_called", called()), (7, "llm_completed", answered()), (9, "run_completed", {"state": "completed"})))
    assert (seen.elapsed_s, seen.stretches, seen.agent_name) == (4.0, 0, "")


def test_a_subagent_takes_the_time_of_the_call_it_serves() -> None:
    child = tool("transfer_to_scout", "c1", subagent_name="scout", attempt=1)
    seen = run_metrics(
        story(
            (0, "run_started", started()),
            (1, "llm_completed", answered("transfer_to_scout")),
            (2, "subagent_started", child),
            (5, "subagent_started", {"subagent_name": "cook", "tool_call_id": "c9"}),
            (6, "tool_completed", over("transfer_to_scout", "c1")),
            (9, "run_completed", {"state": "completed"}),
        )
    )
    (scout,) = seen.tools
    assert (scout.tool_name, scout.started, scout.seconds, scout.longest_s) == ("transfer_to_scout", 1, 4.0, 4.0)
    assert seen.tools_s == 4.0, "one that an older version did not tie to a call is no call's"
