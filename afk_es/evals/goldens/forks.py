"""A fork as a run of its own: what it shares and what it did itself in one sequence, as if it had never been a variation of another run.

A fork asks people again, and announces again what it could not go on with; so what it shares of these calls is left out, and what it did
in its own right stands. What cannot be told as one run, such as a fork with other instructions, stays as it is, and is refused later.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from afk_es.evals.goldens.names import timer_at
from afk_es.machine import AgentRunEvent, RunSpec, RunState, fold, initial_state
from afk_es.machine.state import PENDING
from afk_es.machine.values import Messages

_ANSWERED = frozenset({"allowed", "denied", "answered", "running", "backoff", "unknown"})
_OF_A_CALL = frozenset(
    {
        "approval_requested", "approval_resolved", "input_requested", "input_resolved", "tool_started", "subagent_started",
        "subagent_waiting", "warning",
    }
)  # fmt: skip
_OF_AN_END = frozenset({"run_interrupted", "run_failed", "run_completed", "run_cancelled", "control_requested"})


def flattened(events: list[AgentRunEvent], history: Messages) -> tuple[list[AgentRunEvent], dict[int, int], dict[str, str]]:
    """The events of a run in one sequence, numbered anew; of a run that shares nothing, as they are.

    Args:
        events: all of the run, with what it shares.
        history: what it began with.

    Returns:
        The events; their new seqs by the old ones; and the runs of subagents whose results it took over, by the ids that they would have.
    """
    begins = [event for event in events if event.type == "run_started" and event.seq > 1 and "forked_from" in event.data]
    dropped: set[int] = set()
    shift: dict[int, dt.timedelta] = {}
    pause = dt.timedelta()
    for begun in begins:
        before = fold(initial_state(begun.run_id, begun.thread_id, history), events[: begun.seq - 1])
        if _another_agent(before, begun):
            continue
        dropped.add(begun.seq)
        dropped |= _left_behind(before, events[: begun.seq - 1])
        pause += begun.at - events[begun.seq - 2].at
        shift[begun.seq] = pause
    kept = [event for event in events if event.seq not in dropped]
    seqs = {event.seq: number for number, event in enumerate(kept, start=1)} | dict.fromkeys(
        [begun.seq for begun in begins if begun.seq in dropped], 1
    )
    children = _children(events)
    found = []
    earlier = dt.timedelta()
    for event in events:
        earlier = shift.get(event.seq, earlier)
        if event.seq in dropped:
            continue
        found.append(msgspec.structs.replace(event, seq=seqs[event.seq], at=event.at - earlier, data=_data(event, seqs, earlier, children)))
    return found, seqs, {started: done for done, started in children.items()}


def _another_agent(before: RunState, begun: AgentRunEvent) -> bool:
    if "agent" not in begun.data:
        return False
    spec = msgspec.convert(begun.data["agent"], RunSpec)
    return msgspec.structs.replace(spec, interaction=before.spec.interaction, in_doubt=before.spec.in_doubt) != before.spec


def _left_behind(before: RunState, shared: list[AgentRunEvent]) -> set[int]:
    """Seqs of what is shared and not gone on with: questions that are put anew, subagents that are started anew, an end, a wish to end."""
    found: set[int] = set()
    for event in reversed(shared):
        # Only the last events can be an end: whatever follows one is another stretch.
        if event.type not in _OF_AN_END:
            break
        found.add(event.seq)
    if before.control is not None:
        found |= {event.seq for event in shared if event.type == "control_requested" and event.data["action"] in ("cancel", "interrupt")}
    if before.batch is None:
        return found
    anew = {
        turn.call.id
        for turn in before.batch.turns
        if (turn.request is not None and (turn.status in PENDING or turn.status in _ANSWERED))
        or (turn.child is not None and turn.status in ("running", "parked"))
    }
    return found | {
        event.seq
        for event in shared
        if event.seq > before.batch.seq and event.type in _OF_A_CALL and event.data.get("tool_call_id") in anew
    }


def _children(events: list[AgentRunEvent]) -> dict[str, str]:
    """The runs whose results were taken over from another run, and under which ids they were announced here."""
    started: dict[str, str] = {}
    found: dict[str, str] = {}
    for event in events:
        correlation = event.data.get("correlation_id")
        if event.type == "subagent_started":
            started[event.data["correlation_id"]] = event.data["run_id"]
        elif event.type == "subagent_completed" and correlation in started:
            theirs = event.data.get("run_id")
            if theirs is not None and theirs != started[correlation]:
                found[theirs] = started[correlation]
    return found


def _data(event: AgentRunEvent, seqs: dict[int, int], earlier: dt.timedelta, children: dict[str, str]) -> dict[str, Any]:
    changes: dict[str, Callable[[Any], Any]] = {
        "timer": lambda timer: timer_at(timer, seqs),
        "untouched": lambda touched: [seqs.get(seq, seq) for seq in touched],
        "intent_seq": lambda seq: seqs.get(seq, seq),
        "up_to": lambda refs: [{**ref, "seq": seqs.get(ref["seq"], ref["seq"])} if ref["run_id"] == event.run_id else ref for ref in refs],
        "expires_at": lambda at: (dt.datetime.fromisoformat(at) - earlier).isoformat() if isinstance(at, str) else at,
    }
    if event.type == "subagent_completed":
        changes["run_id"] = lambda run_id: children.get(run_id, run_id)
    return {key: changes[key](item) if key in changes else item for key, item in event.data.items()}
