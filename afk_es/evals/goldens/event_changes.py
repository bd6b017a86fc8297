"""In which class it belongs when one event says something else than the recorded one, or stands alone: a table by the type of event. Pure.

Of a decision of the policy the weightiest difference is told and the others with it, since they are one decision. What another version of
afk_es records (a type or a key that the recording one did not know) is `engine_version`, whatever it says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

from afk_es.debugger.changes import Change, changes
from afk_es.debugger.entries import Entry
from afk_es.evals.goldens.divergence import DivergenceClass
from afk_es.evals.goldens.finding import Finding, Subject
from afk_es.machine.events import EVENT_TYPES, TERMINAL

Row = tuple[Subject, DivergenceClass]

_ROWS: Mapping[str, Row] = {
    "run_started": ("agent", "params"),
    "instructions_resolved": ("request", "prompt"),
    "policy_decision": ("policy", "policy"),
    "approval_requested": ("event", "policy"),
    "approval_resolved": ("event", "policy"),
    "input_requested": ("event", "policy"),
    "input_resolved": ("event", "policy"),
    "llm_called": ("request", "params"),
    "tool_started": ("event", "params"),
    "subagent_started": ("event", "params"),
    "compaction_started": ("request", "prompt"),
    "thread_compacted": ("request", "prompt"),
    "limit_reached": ("limit", "limit"),
}
"""What is not in it came to something: it is an answer, and its class is result."""

_ANSWER: Row = ("answer", "result")

_FIELDS: Mapping[tuple[str, str], str] = {
    ("llm_completed", "structured_response"): "final_structured",
    ("output_validated", "output"): "final_structured",
    ("run_started", "user_parts"): "user_message",
}
"""Keys of events that have another name in a result, or are two forms of one thing."""

_PROMPT_KEYS = ("user_message", "user_parts")
_POLICY_WEIGHTS = ("action", "updated_tool_args", "policy_id", "matched_rules", "request_payload", "reason")
_POLICY_ACTS = ("action", "updated_tool_args", "policy_id", "matched_rules")
_OUTCOMES = {"tool_completed": "outcome", "subagent_completed": "success"}
"""Keys that say what a call came to, and what its other keys follow from."""

_TOLD_ELSEWHERE = frozenset({"agent", "agent_name", "agent_path", "tool_calls", "tool_call_count", "tool_name", "tool_names"})
"""Keys that repeat what is a finding of its own: the agent by its description, calls by the answer that asks for them."""

_QUIET = frozenset({"step_started", "tool_batch_started", "llm_called", "timer_fired", "instructions_resolved"})
"""Types that alone tell nothing: something else of their step is more or less as well, and says what. See `Differences`."""


@cache
def known_keys(event_type: str, version: str) -> frozenset[str]:
    """The keys of a type that both a version of afk_es and this one know."""
    row = EVENT_TYPES.get(event_type)
    if row is None:
        return frozenset()
    return frozenset(key for key in get_type_hints(row.shape) if not _is_newer(row.keys_since.get(key, row.since), version))


def is_foreign(event_type: str, version: str) -> bool:
    """Whether a version of afk_es, or this one, has no such type."""
    row = EVENT_TYPES.get(event_type)
    return row is None or _is_newer(row.since, version)


def _is_newer(one: str, other: str) -> bool:
    """Whether a version is newer than another; one that is no list of numbers is as old as ours."""
    try:
        first, second = ([int(part) for part in each.split(".")[:3]] for each in (one, other))
    except ValueError:
        return False
    return first > second


def is_quiet(entry: Entry) -> bool:
    """Whether the entry, where only one side has it, is the company of something else."""
    kind, data = entry.event.type, entry.event.data
    if kind == "policy_decision":
        return data.get("event_type") == "llm_before_execute" and data["action"] == "allow"
    # A replay that has no answer to give lays its run down so.
    return kind in _QUIET or (kind == "control_requested" and data.get("origin") == "replay")


def event_findings(recorded: Entry, today: Entry, version: str) -> Iterator[Finding]:
    """What two events of one type say differently, but for the calls and agents in them; `version` of afk_es recorded the first."""
    kind = recorded.event.type
    differences = list(changes(recorded.facts, today.facts))
    known = known_keys(kind, version)
    unknown = [change for change in differences if _top(change.path) not in known]
    for change in unknown:
        yield engine_finding(f"data.{change.path}", change.before, change.after)
    said = [change for change in differences if change not in unknown and _top(change.path) not in _TOLD_ELSEWHERE]
    if not said:
        return
    if kind == "policy_decision":
        yield _policy(recorded, today, said)
    elif kind in TERMINAL:
        yield from _end(said)
    elif kind == "limit_reached":
        yield limit_finding(recorded, today)
    elif kind == "llm_completed":
        yield from _answered(recorded, today, said)
    elif kind in _OUTCOMES and (turn := next((change for change in said if change.path == _OUTCOMES[kind]), None)) is not None:
        # Success, output and error follow from it.
        error = today.event.data.get("error")
        message = f"{recorded.tool or kind} comes to something else" + (f": {error}" if error else "")
        yield Finding("answer", "result", turn.path, turn.before, turn.after, message)
    else:
        for change in said:
            yield _finding(kind, change)


def _finding(kind: str, change: Change) -> Finding:
    subject, divergence = _ROWS.get(kind, _ANSWER)
    top = _top(change.path)
    if kind == "run_started" and top in _PROMPT_KEYS:
        subject, divergence = "request", "prompt"
    name = _FIELDS.get((kind, top))
    field = change.path if name is None else name + change.path[len(top) :]
    return Finding(subject, divergence, field, change.before, change.after, f"{kind} has another {field}")


def _policy(recorded: Entry, today: Entry, said: list[Change]) -> Finding:
    tops = {_top(change.path) for change in said}
    name = next((key for key in _POLICY_WEIGHTS if key in tops), _top(said[0].path))
    what = recorded.tool or "a model call"
    before, after = recorded.facts.get(name), today.facts.get(name)
    field = name
    if name == "updated_tool_args":
        first = next(change for change in said if _top(change.path) == name)
        field, before, after = first.path, first.before, first.after
    also = ", ".join(sorted(tops - {name}))
    message = f"the policy decides otherwise on {what}" + (f"; what differs as well: {also}" if also else "")
    return Finding("policy" if name in _POLICY_ACTS else "answer", "policy", field, before, after, message)


def _end(said: list[Change]) -> Iterator[Finding]:
    for change in said:
        subject: Subject = "end" if change.path == "state" else "answer"
        yield Finding(subject, "result", change.path, change.before, change.after, f"the run ends with another {change.path}")


def end_finding(recorded: Entry | None, today: Entry | None) -> Finding:
    """That a run ends in another state, or does not end on one side."""
    expected, actual = (None if entry is None else ended_as(entry) for entry in (recorded, today))
    reason = "" if today is None else today.event.message or today.event.data.get("error") or today.event.data.get("reason") or ""
    message = "the run has no end today" if today is None else "the run ends in another state"
    return Finding("end", "result", "state", expected, actual, f"{message}: {reason}" if reason else message)


def ended_as(entry: Entry) -> str:
    """The state that a terminal event says."""
    state: str = entry.event.data.get("state") or entry.event.type.removeprefix("run_")
    return state


def limit_finding(recorded: Entry | None, today: Entry | None) -> Finding:
    """That a limit was hit on one side, or another one, or at another value."""
    keys = ("limit", "maximum", "used")
    facts = [None if entry is None else {key: entry.event.data.get(key) for key in keys} for entry in (recorded, today)]
    name = next(fact["limit"] for fact in reversed(facts) if fact is not None)
    message = f"the limit {name} is hit today, and was not" if recorded is None else f"the limit {name} was hit"
    return Finding("limit", "limit", f"limits.{name}", facts[0], facts[1], message)


def _answered(recorded: Entry, today: Entry, said: list[Change]) -> Iterator[Finding]:
    """What a model answered, apart from the calls it asks for."""
    calls = [bool(entry.facts.get("tool_calls")) for entry in (recorded, today)]
    for change in said:
        if calls[0] != calls[1] and _top(change.path) in ("text", "finish_reason"):
            continue  # An answer where the other side calls tools: that is told of the calls.
        if change.path == "text" and not any(calls):
            yield Finding("answer", "result", "final_text", change.before, change.after, "the model answers something else")
        else:
            yield _finding("llm_completed", change)


def alone_finding(entry: Entry, version: str, *, recorded: bool) -> Finding:
    """That one side has an event and the other has none like it there."""
    kind = entry.event.type
    if is_foreign(kind, version):
        return engine_finding("type", kind if recorded else None, None if recorded else kind)
    if kind == "limit_reached":
        return limit_finding(entry, None) if recorded else limit_finding(None, entry)
    if kind in TERMINAL:
        return end_finding(entry, None) if recorded else end_finding(None, entry)
    subject: Subject = "event"
    field, value = ("tool_name", entry.tool) if entry.tool else ("type", kind)
    divergence: DivergenceClass = "missing" if recorded else "extra"
    if kind == "policy_decision":
        subject, divergence, field, value = "policy", "policy", "action", entry.event.data["action"]
    what = f"{kind} of {entry.tool}" if entry.tool else kind
    message = f"{what} is in the golden, and does not happen today" if recorded else f"{what} happens today, and is not in the golden"
    return Finding(subject, divergence, field, value if recorded else None, None if recorded else value, message)


def engine_finding(field: str, expected: Any, actual: Any) -> Finding:
    """What another version of afk_es records."""
    message = "afk_es of another version records this; record the golden anew, or check it in contract mode, which ignores it"
    return Finding("engine", "engine_version", field, expected, actual, message)


def _top(path: str) -> str:
    """The first key of a path."""
    for index, character in enumerate(path):
        if character in ".[":
            return path[:index]
    return path
