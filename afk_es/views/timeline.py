"""A run as lines for people: one event, one line, with what matters of it. Renders nothing that a terminal would obey."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import msgspec

from afk_es.machine.events import AgentRunEvent
from afk_es.views.printable import arguments_text, clipped, compact_json, parts_text

Tone = Literal["plain", "quiet", "good", "bad", "mark"]
"""How a line is meant: `mark` for what changes the course of a run, `quiet` for bookkeeping."""

_SHOWN = 400
"""Characters of a value that a line takes at most; what is cut can be seen whole with `show --at` or as JSON."""


REFERRING: frozenset[str] = frozenset({"tool_started"})
"""Types whose lines repeat something of earlier events: the arguments that the last `llm_completed` asked for, or a policy put there."""


class Line(msgspec.Struct, frozen=True):
    """One event, ready to be laid out.

    Attributes:
        since: time since the run's first event.
        depth: of the outline: 0 the run and its steps, 1 what a step does, 2 what a batch of tool calls does.
        text: what matters of it; may hold anything a tool or model wrote, and is made harmless by `render_line`.
    """

    seq: int
    since: dt.timedelta
    step: int
    depth: int
    type: str
    text: str
    tone: Tone = "plain"


class _Reading:
    """What earlier events said that later ones do not repeat: the arguments of the calls that are open."""

    def __init__(self) -> None:
        self.arguments: dict[str, Any] = {}
        self.in_batch = False


def timeline(events: Iterable[AgentRunEvent]) -> Iterator[Line]:
    """The lines of a run, in order. Give it the run from its start: later events refer to earlier ones."""
    reader = Timeline()
    for event in events:
        yield reader.line(event)


class Timeline:
    """The timeline of one run, for whoever reads it page by page.

    Args:
        start: the time of the run's first event, for a reader that begins later. Default: of the first event that it is given.
    """

    def __init__(self, start: dt.datetime | None = None) -> None:
        self._reading = _Reading()
        self._start = start

    def line(self, event: AgentRunEvent) -> Line:
        """The line of the next event."""
        if self._start is None:
            self._start = event.at
        describe = _DESCRIPTIONS.get(event.type, _unknown)
        text, tone = describe(event.data, self._reading, event)
        return Line(event.seq, event.at - self._start, event.step, _depth(event, self._reading), event.type, text, tone)


def render_line(line: Line, width: int | None = None) -> str:
    """The line as text.

    Args:
        width: columns to fit into; None for as many as it takes (still one line, and values are cut at a bound).
    """
    head = f"{line.seq:>5} {since(line.since):>9} {line.step:>4}  {'  ' * line.depth}"
    name = f"{line.type:<{max(0, 24 - 2 * line.depth)}}"
    room = 10_000 if width is None else max(8, width - len(head) - len(name) - 1)
    return f"{head}{name} {clipped(line.text, room)}".rstrip()


def heading() -> str:
    """What stands above the columns of `render_line`."""
    return f"{'seq':>5} {'time':>9} {'step':>4}  {'event':<24} what"


def since(elapsed: dt.timedelta) -> str:
    """Time since the start of a run, short: +0.123s, +4m05s, +2h05m, +3d04h."""
    seconds = elapsed.total_seconds()
    return f"+{seconds:.3f}s" if seconds < 60 else f"+{minutes_up(seconds)}"


def minutes_up(seconds: float) -> str:
    """A duration of a minute or more by its two largest units: 4m05s, 2h05m, 3d04h."""
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 24 else f"{hours // 24}d{hours % 24:02d}h"


_OUTER = frozenset({"run_started", "step_started", "run_completed", "run_failed", "run_interrupted", "run_cancelled"})
_OF_A_CALL = frozenset(
    {
        "tool_started",
        "tool_failed",
        "tool_completed",
        "tool_deferred",
        "approval_requested",
        "approval_resolved",
        "input_requested",
        "input_resolved",
        "subagent_started",
        "subagent_completed",
        "subagent_waiting",
        "subagents_routed",
    }
)


def _depth(event: AgentRunEvent, reading: _Reading) -> int:
    kind = event.type
    if kind in _OUTER:
        reading.in_batch = False
        return 0
    if kind == "tool_batch_started":
        reading.in_batch = True
        return 1
    about_a_call = kind in _OF_A_CALL or "tool_call_id" in event.data or (reading.in_batch and kind == "timer_fired")
    return 2 if about_a_call else 1


# ------------------------------------------------------------------------------------------------------------- what matters of each type

Described = tuple[str, Tone]


def _run_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    if data.get("resumed"):
        changed = "; with another agent or configuration" if "agent" in data else ""
        return f"{'reopened' if data.get('reopened') else 'resumed'}, epoch {data['epoch']}, owner {data['owner']}{changed}", "mark"
    if (base := data.get("forked_from")) is not None and base["seq"]:
        return f"forked from {base['run_id']} at seq {base['seq']}", "mark"
    message = data.get("user_message")
    images = parts_text(data["user_parts"]) if "user_parts" in data else ""
    said = " ".join(text for text in (_cut(message or ""), images) if text)
    return f"{data['agent_name']}" + (f": {said}" if said else ""), "mark"


def _step_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return "", "plain"


def _instructions_resolved(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(data["instructions"]), "quiet"


def _policy_decision(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    action = data["action"]
    subject = data.get("tool_name") or data.get("subagent_name") or "model call"
    rule = f" by {data['policy_id']}" if data.get("policy_id") else ""
    reason = f": {data['reason']}" if data.get("reason") else ""
    updated = data.get("updated_tool_args")
    if updated is not None:
        reading.arguments[data.get("tool_call_id", "")] = updated
        reason += f"; arguments are now ({_cut(arguments_text(updated))})"
    return f"{action} {subject}{rule}{reason}", "quiet" if action == "allow" else "bad"


def _llm_called(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    attempt = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
    fallback = f", fallback {data['model_index']}" if data["model_index"] else ""
    return f"{data['model']} request {data['ordinal']}{attempt}{fallback}", "plain"


def _llm_completed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    calls = data["tool_calls"]
    reading.arguments = {call["id"]: call["arguments"] for call in calls}
    asked = ", ".join(f"{call['tool_name']}({_cut(arguments_text(call['arguments']))})" for call in calls)
    said = f'"{_cut(data["text"])}"' if data["text"] else ""
    parts = [part for part in (_spent(data), said, f"calls {asked}" if asked else "") if part]
    return " ".join(parts), "plain"


def _spent(data: dict[str, Any]) -> str:
    usage = data.get("usage")
    tokens = f"{usage['input_tokens']}+{usage['output_tokens']} tokens" if usage is not None else ""
    cost = f"${data['cost_usd']:.6g}" if data.get("cost_usd") is not None else ""
    spent = "cached" if data.get("cached") else " ".join(part for part in (tokens, cost) if part)
    return f"[{spent}]" if spent else ""


def _llm_failed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['error_type']}, {data['classification']}: {_cut(data['error'])}", "bad"


def _circuit_open(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['model']} not asked after {data['failures']} failures in a row; again in {data['cooldown_s']:.3g} s", "bad"


def _output_validated(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(compact_json(data["output"])), "good"


def _error_only(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(data["error"]), "bad"


def _tool_batch_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return ", ".join(data["tool_names"]), "quiet"


def _tool_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    attempt = f" attempt {data['attempt']}" if data["attempt"] > 1 else ""
    return f"{data['tool_name']}({_cut(arguments_text(reading.arguments.get(data['tool_call_id'])))}){attempt}", "plain"


def _tool_failed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['tool_name']}: {data['error_type']}, {data['classification']}: {_cut(data['error'])}", "bad"


def _tool_completed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    took = f" ({data['latency_ms']:.0f} ms)" if data["latency_ms"] else ""
    if data["success"]:
        return f"{data['tool_name']} -> {_cut(compact_json(data['output']))}{took}", "good"
    return f"{data['tool_name']} {data['outcome']}: {_cut(data['error'] or '')}{took}", "mark" if data["outcome"] == "unknown" else "bad"


def _tool_deferred(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['tool_name']} goes on as ticket {data['ticket_id']}: {_cut(data['summary'] or '')}", "plain"


def _background_ended(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    if event.type == "tool_background_resolved":
        return f"{data['tool_name']} (ticket {data['ticket_id']}) -> {_cut(compact_json(data['output']))}", "good"
    return f"{data['tool_name']} (ticket {data['ticket_id']}): {_cut(data['error'])}", "bad"


def _asked(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    asked = data.get("prompt") or data.get("reason")
    return data["tool_name"] + (f": {_cut(asked)}" if asked else ""), "mark"


def _answered(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    detail = data.get("reason") or data.get("value") or ""
    return f"{data['outcome']} by {data['by']}" + (f": {_cut(detail)}" if detail else ""), "mark"


def _subagent_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['subagent_name']} as {data['run_id']}", "plain"


def _subagent_completed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    if data["success"]:
        return f"{data['subagent_name']} -> {_cut(compact_json(data.get('output')))}", "good"
    return f"{data['subagent_name']}: {_cut(data['error'] or '')}", "bad"


def _subagent_waiting(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['subagent_name']} was laid down: {_cut(data['reason'])}", "mark"


def _subagents_routed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    if data.get("error"):
        return _cut(data["error"]), "bad"
    plan = data["plan"]
    if plan is None:
        return "nothing is delegated", "quiet"
    return _cut(", ".join(f"{node['id']} to {node['subagent']}" for node in plan["nodes"])), "plain"


def _control_requested(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    reason = f": {data['reason']}" if data["reason"] else ""
    return f"{data['action']} by {data['origin']}{reason}", "mark"


def _timer_fired(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return data["timer"], "quiet"


def _effect_in_doubt(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    what = data.get("tool_name") or ("compaction" if data["effect"] == "compaction" else "model call")
    return f"{what}: started at seq {data['intent_seq']}, no result; {_RESOLUTIONS.get(data['resolution'], data['resolution'])}", "mark"


_RESOLUTIONS = {
    "ask_again": "it is asked again",
    "run_again": "it may be repeated, and is run again",
    "report": "it is not run again, and the model is told that its outcome is unknown",
    "ask": "a person is asked whether to run it again",
}


def _compaction_started(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    attempt = f", attempt {data['attempt']}" if data["attempt"] > 1 else ""
    by = f" by {data['summariser']}" if data["summariser"] is not None else ""
    size = f"{data['messages']} messages, about {data['tokens']} tokens"
    return f"{size}: {data['dropped_messages']} go{by}{attempt}", "mark"


def _thread_compacted(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    tokens = f", about {data['tokens_before']} -> {data['tokens_after']} tokens" if "tokens_after" in data else ""
    told = f': "{_cut(data["summary"])}"' if data["summary"] is not None else " without a summary"
    return " ".join(part for part in (_spent(data), f"{data['dropped_messages']} messages dropped{tokens}{told}") if part), "mark"


def _compaction_failed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['error_type']}, {data['classification']}: {_cut(data['error'])}", "bad"


def _message_only(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(event.message or data.get("summary") or data.get("kind") or ""), "mark"


def _run_completed(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return f"{data['state']}" + (f": {_cut(event.message)}" if event.message else ""), "good" if data["state"] == "completed" else "mark"


def _run_ended(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(event.message or data.get("error") or data.get("reason") or ""), "bad" if event.type == "run_failed" else "mark"


def _unknown(data: dict[str, Any], reading: _Reading, event: AgentRunEvent) -> Described:
    return _cut(event.message or compact_json(data)), "quiet"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"


_DESCRIPTIONS: dict[str, Callable[[dict[str, Any], _Reading, AgentRunEvent], Described]] = {
    "run_started": _run_started,
    "step_started": _step_started,
    "instructions_resolved": _instructions_resolved,
    "policy_decision": _policy_decision,
    "llm_called": _llm_called,
    "llm_completed": _llm_completed,
    "llm_failed": _llm_failed,
    "circuit_open": _circuit_open,
    "output_validated": _output_validated,
    "output_rejected": _error_only,
    "tool_batch_started": _tool_batch_started,
    "tool_started": _tool_started,
    "tool_failed": _tool_failed,
    "tool_completed": _tool_completed,
    "tool_deferred": _tool_deferred,
    "tool_background_resolved": _background_ended,
    "tool_background_failed": _background_ended,
    "approval_requested": _asked,
    "approval_resolved": _answered,
    "input_requested": _asked,
    "input_resolved": _answered,
    "subagent_started": _subagent_started,
    "subagent_completed": _subagent_completed,
    "subagent_waiting": _subagent_waiting,
    "subagents_routed": _subagents_routed,
    "control_requested": _control_requested,
    "timer_fired": _timer_fired,
    "effect_in_doubt": _effect_in_doubt,
    "limit_reached": _message_only,
    "compaction_started": _compaction_started,
    "thread_compacted": _thread_compacted,
    "compaction_failed": _compaction_failed,
    "warning": _message_only,
    "run_completed": _run_completed,
    "run_failed": _run_ended,
    "run_interrupted": _run_ended,
    "run_cancelled": _run_ended,
}
