"""What the contract writes into a log: events that are valid and say nothing in particular. For tests of stores and their readers."""

from __future__ import annotations

import datetime as dt
from typing import Any

from afk_es.log.port import EventLog
from afk_es.machine.events import AgentRunEvent, Draft

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
AGENT: dict[str, Any] = {"agent_name": "clerk", "models": [{"model": "m", "provider": "p"}], "instructions": "Be brief."}


def event(run_id: str, seq: int, kind: str, data: dict[str, Any], **changed: Any) -> AgentRunEvent:
    """An event, one millisecond after the one before it."""
    fields: dict[str, Any] = {"thread_id": "thread_1", "state": "running", "step": 1, "message": ""} | changed
    at = START + dt.timedelta(milliseconds=seq, microseconds=7)
    return AgentRunEvent(type=kind, run_id=run_id, seq=seq, at=at, data=data, **fields)


def started(run_id: str, seq: int = 1, *, epoch: int = 1, owner: str = "owner_1", **changed: Any) -> AgentRunEvent:
    """The event that claims a run."""
    data = {"agent_name": "clerk", "resumed": seq > 1, "epoch": epoch, "owner": owner, "agent": AGENT, "user_message": f"to {run_id}"}
    return event(run_id, seq, "run_started", data, step=0, **changed)


def forked(run_id: str, base: str, seq: int, *, epoch: int = 2, **changed: Any) -> AgentRunEvent:
    """The event that begins a fork which shares the events of another run up to this seq."""
    claim = started(run_id, seq + 1, epoch=epoch, owner="owner_2", **changed)
    claim.data.update(resumed=False, forked_from={"run_id": base, "seq": seq}, forked_as=run_id)
    return claim


def turn(run_id: str, seq: int, step: int = 1, **changed: Any) -> list[AgentRunEvent]:
    """Four events: a step, its policy decision, the model called and its answer."""
    usage = {"input_tokens": 10, "output_tokens": 3, "total_tokens": 13}
    allowed: dict[str, Any] = {
        "event_type": "llm_before_execute",
        "action": "allow",
        "reason": None,
        "policy_id": None,
        "matched_rules": [],
    }
    called = {"model": "m", "provider": "p", "model_index": 0, "attempt": 1, "ordinal": step, "request_hash": f"{step:032x}"}
    answer = {
        "tool_call_count": 0,
        "finish_reason": "stop",
        "text": "Grüße \u2603 \0 '\"",
        "tool_calls": [],
        "usage": usage,
        "cost_usd": 0.25,
        "latency_ms": 1.5,
    }
    data: tuple[tuple[str, dict[str, Any]], ...] = (
        ("step_started", {"step": step, "state": "running"}),
        ("policy_decision", allowed),
        ("llm_called", called),
        ("llm_completed", answer),
    )
    return [event(run_id, seq + place, kind, item, step=step, **changed) for place, (kind, item) in enumerate(data)]


def control(action: str, reason: str = "because") -> Draft:
    """What a letter may ask of a run."""
    return Draft("control_requested", {"action": action, "reason": reason, "origin": "test"}, "f\u00fcr \u2603")


async def begin(log: EventLog, run_id: str, **changed: Any) -> None:
    """A run of five events."""
    await log.append([started(run_id, **changed), *turn(run_id, 2, **changed)], epoch=1)


def warning(run_id: str, seq: int, **changed: Any) -> AgentRunEvent:
    """The smallest event there is."""
    return event(run_id, seq, "warning", changed.pop("data", {"kind": "k"}), **changed)
