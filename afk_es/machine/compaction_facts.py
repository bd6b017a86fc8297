"""What the facts about a compaction change: its start, its summary, its failures, and how large the conversation is."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from afk_es.machine.events import AgentRunEvent
from afk_es.machine.legality import COMPACTION_LEGAL, broken
from afk_es.machine.model_facts import unknown_price
from afk_es.machine.retention import compacted, exceeds, measured, summary_message
from afk_es.machine.retries import backoff
from afk_es.machine.spec import Retention
from afk_es.machine.state import Compaction, Failure, RunState
from afk_es.machine.values import Messages, Usage


def begun(messages: Messages, *, asked: bool) -> Compaction:
    """How a run with a retention begins; `asked` says whether the last message is its request."""
    size = measured(messages)
    return Compaction(own=size.messages - 1 if asked else -1, size=size)


def taken_over(current: Compaction) -> Compaction:
    """The compaction as a new owner finds it: a summary under way is in doubt."""
    return replace(current, status="in_doubt") if current.status == "started" else current


def stepped(state: RunState, event: AgentRunEvent) -> Compaction:
    """The compaction of a run that begins a step: there is none any more, and the conversation has its size."""
    current, retention = _legal(state, event)
    size = measured(state.messages, current.size)
    # A conversation that is too large and not compacted any further was warned of just before this event, the first time.
    stuck = exceeds(retention, current.after) if current.status == "over" else exceeds(retention, size, current.after)
    warned = current.warned or (stuck and current.failure is None and state.phase == "between")
    after = size if stuck and state.phase == "between" else current.after
    return replace(current, size=size, after=after, status="idle", warned=warned, failure=None)


def compaction_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    current, _retention = _legal(state, event)
    again = replace(
        current,
        status="started",
        size=measured(state.messages, current.size),
        intent_seq=event.seq,
        attempt=data["attempt"],
        failures=current.failures if current.status == "due" else 0,
        cut=data["cut"],
        kept=tuple(data["kept"]),
        dropped=data["dropped_messages"],
        failure=None,
    )
    return replace(state, seq=event.seq, at=event.at, compaction=again)


def thread_compacted(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if "cut" not in data:
        return replace(state, seq=event.seq, at=event.at)
    current, retention = _legal(state, event)
    cut, kept = data["cut"], tuple(data["kept"])
    if (cut, kept) != (current.cut, current.kept):
        raise broken(event, f"it replaces other messages than the compaction_started at seq {current.intent_seq} announced")
    messages = compacted(state.messages, cut, kept, summary_message(data["summary"], retention, state.spec.rendering))
    if current.own >= 0:
        current = replace(current, own=1 + kept.index(current.own) if current.own in kept else current.own - cut + len(kept) + 1)
    size = measured(messages)
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        messages=messages,
        compaction=replace(current, status="over", size=size, after=size, cut=0, kept=(), failure=None),
        **_spent(state, retention, data),
    )


def compaction_failed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    current, retention = _legal(state, event)
    failure = Failure(data["error"], data["error_type"], data["classification"])
    failures = current.failures + 1
    retry = state.spec.retry
    if failure.classification == "retryable" and failures < retry.attempts:
        wait = backoff(retry, failures, run_id=event.run_id, seq=event.seq, at=event.at, retry_after_s=data.get("retry_after_s"))
        changed = replace(current, status="backoff", failures=failures, wait=wait, failure=failure)
    else:
        # Not at every step again: the conversation may now grow by what a compaction would have freed.
        changed = replace(current, status="over", failures=failures, after=current.size, failure=failure)
    return replace(state, seq=event.seq, at=event.at, compaction=changed, **(_spent(state, retention, data) if "usage" in data else {}))


def compaction_in_doubt(state: RunState, event: AgentRunEvent) -> RunState:
    """It is asked for once more."""
    current, _retention = _legal(state, event)
    return replace(state, seq=event.seq, at=event.at, compaction=replace(current, status="due"))


def _spent(state: RunState, retention: Retention, data: dict[str, Any]) -> dict[str, Any]:
    """What a summariser's answer has used up."""
    usage, cost = data.get("usage"), data.get("cost_usd")
    changes: dict[str, Any] = {}
    if usage is not None:
        changes["usage"] = state.usage + Usage(usage["input_tokens"], usage["output_tokens"], usage["total_tokens"])
    if cost is not None:
        changes |= {"cost_usd": state.cost_usd + Decimal(repr(cost)), "cost_known": True}
    elif retention.summariser == "model" and state.spec.limits.max_total_cost_usd is not None:
        changes["fault"] = unknown_price(data.get("model") or retention.name or "")
    return changes


def _legal(state: RunState, event: AgentRunEvent) -> tuple[Compaction, Retention]:
    current, retention = state.compaction, state.spec.retention
    if current is None or retention is None or current.status not in COMPACTION_LEGAL[event.type]:
        raise broken(event, f"{event.type} for a compaction that is {'none' if current is None else current.status!r}")
    return current, retention
