"""How a run failed, and whether it may go better another time: by events alone, of whichever version wrote them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from afk_es.machine import AgentRunEvent
from afk_es.views import RunFailure, failure_of


def event(kind: str, **data: Any) -> AgentRunEvent:
    return AgentRunEvent(kind, "run_1", "thread_1", 1, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "running", 1, "", data)


def failed(error: str, error_type: str) -> AgentRunEvent:
    return event("run_failed", error=error, error_type=error_type)


def model(classification: str, name: str = "m", **more: Any) -> AgentRunEvent:
    return event("llm_failed", model=name, error="no luck", error_type="E", classification=classification, **more)


def tool(error: str, call: str = "c1", **more: Any) -> AgentRunEvent:
    return event("tool_completed", tool_name="pay", tool_call_id=call, success=False, error=error, **more)


BEGUN = event("run_started", resumed=False)
RESUMED = event("run_started", resumed=True)
REOPENED = event("run_started", resumed=True, reopened=True)
ANSWERED = event("llm_completed", text="")
OPEN = event("circuit_open", model="m", cooldown_s=12.5)
END = failed("the model call failed: no luck", "E")
BY_TOOL = failed("tool 'pay' (c1): gone", "ToolFailed")

ROWS: dict[str, tuple[list[AgentRunEvent], bool, float | None]] = {
    "the model, for the moment": ([model("retryable"), END], True, None),
    "the model, which says when": ([model("retryable", retry_after_s=7.0), END], True, 7.0),
    "the model, for good": ([model("terminal"), END], False, None),
    "the model, at last for good": ([model("retryable"), model("terminal"), END], False, None),
    "one of two models for good": ([model("retryable"), model("terminal", "backup"), END], True, None),
    "either of two models, which say when": (
        [model("retryable", retry_after_s=9.0), model("retryable", "backup", retry_after_s=3.0), END],
        True,
        3.0,
    ),
    "either of two models, of which one says when": (
        [model("retryable", retry_after_s=9.0), model("retryable", "backup"), END],
        True,
        None,
    ),
    "a circuit is open": ([model("retryable"), OPEN, failed("left alone", "CircuitOpen")], True, 12.5),
    "an answer between": ([model("terminal"), ANSWERED, model("retryable"), END], True, None),
    "a summariser": (
        [event("compaction_failed", summariser="s", classification="retryable", error="e", error_type="E"), failed("not compacted", "E")],
        True,
        None,
    ),
    "a summariser for good": (
        [event("compaction_failed", summariser=None, classification="terminal", error="e", error_type="E"), failed("not compacted", "E")],
        False,
        None,
    ),
    "a router": ([failed("no way", "OSError")], True, None),
    "a limit": ([model("retryable"), failed("max_llm_calls reached", "LimitReached")], False, None),
    "a price": ([failed("the price is unknown", "UnknownPrice")], False, None),
    "a policy": ([failed("not allowed", "PolicyDenied")], False, None),
    "a person": ([failed("denied", "ApprovalDenied")], False, None),
    "a tool, for the moment": ([tool("gone", classification="retryable"), BY_TOOL], True, None),
    "a tool, for good": ([tool("gone", classification="terminal"), BY_TOOL], False, None),
    "a tool of an old log": ([tool("gone"), BY_TOOL], False, None),
    "another tool that went wrong beside it": (
        [tool("slow", "c2", classification="retryable"), tool("gone", classification="terminal"), BY_TOOL],
        False,
        None,
    ),
    "a tool that failed earlier under the same id": (
        [tool("gone", classification="retryable"), ANSWERED, tool("gone", classification="terminal"), BY_TOOL],
        False,
        None,
    ),
    "a subagent": ([tool("away", classification="retryable"), failed("subagent 'helper' (c1): away", "SubagentFailed")], True, None),
    "a tool, before the process died": ([tool("gone", classification="retryable"), RESUMED, BY_TOOL], True, None),
    "one of two models for good, after the process died": ([model("retryable"), RESUMED, model("terminal", "backup"), END], True, None),
    "after it was reopened": ([model("retryable"), END, REOPENED, model("terminal"), END], False, None),
}


@pytest.mark.parametrize(("events", "retryable", "retry_after_s"), ROWS.values(), ids=list(ROWS))
def test_whether_and_when_it_may_go_better(events: list[AgentRunEvent], retryable: bool, retry_after_s: float | None) -> None:
    end = events[-1].data
    assert failure_of([BEGUN, *events]) == RunFailure(end["error"], end["error_type"], retryable, retry_after_s)


@pytest.mark.parametrize("events", [[], [model("retryable")], [END, REOPENED], [END, REOPENED, event("run_completed", state="completed")]])
def test_a_run_that_has_not_failed_or_goes_on_has_no_failure(events: list[AgentRunEvent]) -> None:
    assert failure_of([BEGUN, event("tool_completed", success=True), *events]) is None
