"""One event, one line: for every type there is, whatever its data holds, within the width, and nothing in it that drives a terminal."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from afk_es.machine import EVENT_TYPES, AgentRunEvent
from afk_es.machine.events import validate
from afk_es.views import columns, heading, render_line, since, timeline
from tests.views.runs import eventful

_START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_HOSTILE = "\x1b]0;owned\x07\n\x9b2J\u202e" + "日" * 500
_CALL = {"tool_name": _HOSTILE, "tool_call_id": "c1"}
_USAGE = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}

_COMPACTION = {"cut": 2, "kept": [], "dropped_messages": 2, "messages": 9, "tokens": 99, "turns": 4, "input_hash": "h"}

SAMPLES: dict[str, list[dict[str, Any]]] = {
    "run_started": [
        {"agent_name": _HOSTILE, "resumed": False, "epoch": 1, "owner": "o", "agent": {}, "user_message": _HOSTILE},
        {"agent_name": "a", "resumed": False, "epoch": 1, "owner": "o", "agent": {}},
        {"agent_name": "a", "resumed": True, "epoch": 2, "owner": _HOSTILE},
        {"agent_name": "a", "resumed": True, "epoch": 2, "owner": "o", "agent": {}},
    ],
    "step_started": [{"step": 1, "state": "running"}],
    "instructions_resolved": [{"instructions": _HOSTILE}],
    "policy_decision": [
        {"event_type": "llm_before_execute", "action": "allow", "reason": None, "policy_id": None, "matched_rules": []},
        {
            **_CALL,
            "event_type": "tool_before_execute",
            "action": "deny",
            "reason": _HOSTILE,
            "policy_id": _HOSTILE,
            "matched_rules": [],
            "updated_tool_args": {"x": _HOSTILE},
        },
    ],
    "llm_called": [
        {"model": "m", "provider": "p", "model_index": 0, "attempt": 1, "ordinal": 1, "request_hash": "h"},
        {"model": _HOSTILE, "provider": "p", "model_index": 1, "attempt": 2, "ordinal": 3, "request_hash": "h"},
    ],
    "llm_completed": [
        {"tool_call_count": 0, "finish_reason": None, "text": "", "tool_calls": [], "usage": None, "cost_usd": None, "latency_ms": 1.0},
        {
            "tool_call_count": 2,
            "finish_reason": "stop",
            "text": _HOSTILE,
            "tool_calls": [
                {"id": "c1", "tool_name": "t", "arguments": {"x": _HOSTILE}},
                {"id": "c2", "tool_name": "t", "arguments": "{broken"},
            ],
            "usage": _USAGE,
            "cost_usd": 0.001,
            "latency_ms": 1.0,
        },
    ],
    "llm_failed": [{"error": _HOSTILE, "error_type": "E", "classification": "retryable", "model": "m", "attempt": 1}],
    "circuit_open": [{"model": _HOSTILE, "model_index": 0, "failures": 5, "cooldown_s": 30.0}],
    "text_delta": [{"delta": _HOSTILE}],
    "tool_progress": [{**_CALL, "progress": 1.0, "total": None}],
    "output_validated": [{"output": {"x": _HOSTILE}}],
    "output_rejected": [{"error": _HOSTILE}],
    "tool_batch_started": [{"tool_call_count": 1, "tool_names": [_HOSTILE], "tool_call_ids": ["c1"]}],
    "tool_started": [
        {**_CALL, "ordinal": 1, "attempt": 1, "arguments_hash": "h", "idempotency_key": "k"},
        {**_CALL, "ordinal": 1, "attempt": 2, "arguments_hash": "h", "idempotency_key": "k"},
    ],
    "tool_failed": [{**_CALL, "attempt": 1, "error": _HOSTILE, "error_type": "E", "classification": "terminal"}],
    "tool_completed": [
        {
            **_CALL,
            "success": success,
            "output": {"x": _HOSTILE} if success else None,
            "error": None if success else _HOSTILE,
            "agent_name": "a",
            "agent_depth": 0,
            "agent_path": ["a"],
            "outcome": outcome,
            "latency_ms": latency,
        }
        for success, outcome, latency in ((True, "returned", 3.0), (False, "unknown", 0.0), (False, "denied", 0.0))
    ],
    "tool_deferred": [{**_CALL, "ticket_id": "t", "status": "pending", "summary": _HOSTILE, "resume_hint": None}],
    "tool_background_resolved": [{**_CALL, "ticket_id": "t", "output": _HOSTILE}],
    "tool_background_failed": [{**_CALL, "ticket_id": "t", "error": _HOSTILE}],
    "approval_requested": [
        {
            **_CALL,
            "request_id": "r",
            "purpose": "policy",
            "arguments": {},
            "arguments_hash": "h",
            "policy_id": None,
            "reason": _HOSTILE,
            "payload": {},
            "timeout_s": 1.0,
            "agent_path": [],
        }
    ],
    "approval_resolved": [
        {"request_id": "r", "tool_call_id": "c1", "arguments_hash": "h", "outcome": "granted", "by": _HOSTILE, "reason": None},
        {"request_id": "r", "tool_call_id": "c1", "arguments_hash": "h", "outcome": "denied", "by": "ada", "reason": _HOSTILE},
    ],
    "input_requested": [{**_CALL, "request_id": "r", "prompt": _HOSTILE, "payload": {}, "timeout_s": 1.0, "agent_path": []}],
    "input_resolved": [{"request_id": "r", "tool_call_id": "c1", "outcome": "answered", "value": _HOSTILE, "by": "ada"}],
    "subagent_started": [{"subagent_name": _HOSTILE, "correlation_id": "c", "run_id": "run_2"}],
    "subagent_waiting": [{"subagent_name": _HOSTILE, "tool_call_id": "c", "run_id": "run_2", "reason": _HOSTILE}],
    "subagents_routed": [
        {"plan": None},
        {"plan": None, "error": _HOSTILE},
        {"plan": {"nodes": [{"id": _HOSTILE, "subagent": "s", "task": _HOSTILE}]}},
    ],
    "subagent_completed": [
        {"subagent_name": "s", "success": True, "latency_ms": 1.0, "error": None, "output": _HOSTILE},
        {"subagent_name": "s", "success": False, "latency_ms": 1.0, "error": _HOSTILE},
    ],
    "control_requested": [
        {"action": "cancel", "reason": _HOSTILE, "origin": "handle"},
        {"action": "pause", "reason": None, "origin": "handle"},
    ],
    "timer_fired": [{"timer": "retry:7"}],
    "effect_in_doubt": [
        {"effect": "tool", "intent_seq": 7, "resolution": "report", **_CALL},
        {"effect": "llm", "intent_seq": 7, "resolution": "ask_again"},
        {"effect": "compaction", "intent_seq": 7, "resolution": "ask_again"},
    ],
    "limit_reached": [{"limit": "max_steps", "maximum": 3.0, "used": 3.0}],
    "compaction_started": [
        {**_COMPACTION, "attempt": 1, "summariser": None},
        {**_COMPACTION, "attempt": 2, "summariser": _HOSTILE},
    ],
    "thread_compacted": [
        {"thread_id": "t", "up_to": [], "summary": _HOSTILE, "dropped_messages": 2},
        {
            "thread_id": "t",
            "up_to": [],
            "summary": None,
            "dropped_messages": 2,
            "cut": 2,
            "kept": [],
            "tokens_before": 9,
            "tokens_after": 3,
            "usage": {"input_tokens": 9, "output_tokens": 1, "total_tokens": 10},
            "cost_usd": 0.5,
        },
    ],
    "compaction_failed": [{"error": _HOSTILE, "error_type": "E", "classification": "terminal", "attempt": 1, "summariser": "s"}],
    "warning": [{"kind": _HOSTILE}],
    "run_completed": [{"state": "completed"}, {"state": "degraded", "missing": [_HOSTILE]}],
    "run_failed": [{"error": _HOSTILE, "error_type": "E"}],
    "run_interrupted": [{"reason": _HOSTILE}],
    "run_cancelled": [{"reason": _HOSTILE}],
    "from_the_future": [{"anything": _HOSTILE}],
}


def _event(kind: str, data: dict[str, Any], seq: int = 1, message: str = "") -> AgentRunEvent:
    return AgentRunEvent(kind, "run_1", "thread_1", seq, _START + dt.timedelta(seconds=seq - 1), "running", 1, message, data)


def test_every_type_of_the_table_has_samples() -> None:
    assert set(SAMPLES) == {*EVENT_TYPES, "from_the_future"}


@pytest.mark.parametrize(("kind", "data"), [(kind, data) for kind, rows in SAMPLES.items() for data in rows])
@pytest.mark.parametrize("message", ["", _HOSTILE])
@pytest.mark.parametrize("width", [None, 60, 120])
def test_a_line_is_one_harmless_line_of_its_width(kind: str, data: dict[str, Any], message: str, width: int | None) -> None:
    validate(kind, data)
    (line,) = timeline([_event(kind, data, message=message)])
    text = render_line(line, width)
    assert re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", text) is None
    assert width is None or columns(text) <= width


async def test_a_run_reads_as_its_outline() -> None:
    """The golden text of a run with a retry, a denial and two calls at once. Remake it by looking at the difference."""
    lines = [f"{'  ' * line.depth}{line.type}: {line.text}".rstrip(": ") for line in timeline(await eventful())]
    assert [re.sub(r"retry:\d+", "retry:N", line) for line in lines] == [
        "run_started: agent: go",
        "step_started",
        "  policy_decision: allow model call",
        "  llm_called: scripted-1 request 1",
        "  llm_completed: [10+2 tokens $0.25] calls add(a=1, b=2), flaky()",
        "  tool_batch_started: add, flaky",
        "    policy_decision: allow add",
        "    policy_decision: allow flaky",
        "    tool_started: add(a=1, b=2)",
        "    tool_started: flaky()",
        "    tool_completed: add -> 3 (10 ms)",
        "    tool_failed: flaky: ConnectionError, retryable: ConnectionError: reset",
        "    timer_fired: retry:N",
        "    tool_started: flaky() attempt 2",
        "    tool_completed: flaky -> well (10 ms)",
        "step_started",
        "  policy_decision: allow model call",
        "  llm_called: scripted-1 request 2",
        "  llm_completed: [10+2 tokens $0.25] calls forbidden()",
        "  tool_batch_started: forbidden",
        "    policy_decision: deny forbidden by never: not today",
        "    tool_completed: forbidden denied: not today",
        "step_started",
        "  policy_decision: allow model call",
        "  llm_called: scripted-1 request 3",
        '  llm_completed: [10+2 tokens $0.25] "It is 3."',
        "run_completed: completed",
    ]


def test_the_heading_stands_above_the_columns() -> None:
    (line,) = timeline([_event("run_failed", {"error": "no", "error_type": "E"})])
    assert heading().index("what") == render_line(line).index("no")
    assert heading().index("event") == render_line(line).index("run_failed")


@pytest.mark.parametrize(("seconds", "text"), [(0, "+0.000s"), (59.5, "+59.500s"), (245, "+4m05s"), (7500, "+2h05m"), (273_600, "+3d04h")])
def test_time_since_the_start_is_short(seconds: float, text: str) -> None:
    assert since(dt.timedelta(seconds=seconds)) == text


def test_a_fork_says_where_it_comes_from() -> None:
    forked = {"agent_name": "a", "resumed": False, "epoch": 2, "owner": "o", "forked_from": {"run_id": "run_0", "seq": 7}}
    (line,) = timeline([_event("run_started", forked)])
    assert (line.text, line.tone) == ("forked from run_0 at seq 7", "mark")
    fresh = {**forked, "forked_from": {"run_id": "run_0", "seq": 0}, "user_message": "go"}
    (line,) = timeline([_event("run_started", fresh)])
    assert line.text == "a: go", "what shares nothing begins like any run"
