"""What an expression can speak of at one event: the table `NAMES`, and the `Scope` that says what each name means there.

A name means something at some types of events and null at the others. It comes from the event alone, or also from the event before it, the
state around it, or the calls so far; who searches a run reads from the table how much of it must be looked at.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_type_hints

from afk_es.debugger.landmarks import CALL_TYPES
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.events import EVENT_TYPES
from afk_es.machine.values import Message
from afk_es.redaction import Redaction
from afk_es.views import limits_used, redacted_event
from afk_es.views.durations import seconds_between

Source = Literal["event", "previous", "calls", "state"]
"""Where a name comes from: the event; also the time of the one before; also the calls so far; also the states before and after it."""

STATE_FIELDS: frozenset[str] = frozenset(RunState.__struct_fields__) | {"ended", "elapsed"}
"""What can follow `state.` and `before.`: see `afk_es.machine.state.RunState`."""

TOKENS: dict[str, str] = {
    "in": "input_tokens",
    "out": "output_tokens",
    "total": "total_tokens",
    "cached": "cache_read_tokens",
}
LIMITS: dict[str, str] = {
    "steps": "max_steps",
    "llm_calls": "max_llm_calls",
    "tool_calls": "max_tool_calls",
    "time": "max_wall_time_s",
    "cost": "max_total_cost_usd",
}
"""What can follow `used.`, and the limit it is a share of."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One event and what is around it, as far as it was needed.

    Attributes:
        event: the event.
        start: the time of the run's first event.
        previous: the time of the event before, None at the first.
        before, after: the states around the event; None where nobody asked for them.
        repeat: how often this tool was called with these arguments up to here; 0 for an event that is no start, or a retry.
        said: messages that the states have let go of and that were read again, by "before" or "after" and position from the front.
        redaction: what is kept back from whoever asks; None for nothing. What can be asked about can be found out, letter by letter, so a condition is
            judged on what is shown and not on what is kept.
    """

    event: AgentRunEvent
    start: dt.datetime
    previous: dt.datetime | None = None
    before: RunState | None = None
    after: RunState | None = None
    repeat: int = 0
    said: Mapping[tuple[str, int], Message] = field(default_factory=dict)
    redaction: Redaction | None = None

    @property
    def shown(self) -> AgentRunEvent:
        """The event without what is kept back."""
        return redacted_event(self.event, self.redaction)


@dataclass(frozen=True, slots=True)
class Name:
    """A row of the table of names.

    Attributes:
        name: as it is written.
        meaning: in a sentence.
        read: its value at a scope, not yet plain.
        source: what it takes to know it.
        types: the event types at which it can be something; None for all.
        verbatim: its texts stand in the event's message or data as they are, so that a store can be asked for them.
        members: what can follow it, where that is known.
    """

    name: str
    meaning: str
    read: Callable[[Scope], Any]
    source: Source = "event"
    types: frozenset[str] | None = None
    verbatim: bool = False
    members: frozenset[str] | None = None

    def value(self, scope: Scope) -> Any:
        """What the name means there; None where it means nothing."""
        if self.types is not None and scope.event.type not in self.types:
            return None
        if scope.redaction is not None and (self.verbatim or self.name == "args"):
            # What else names read of an event are numbers and names of ours, which are kept back from nobody.
            scope = replace(scope, event=scope.shown)
        return self.read(scope)


def _having(*keys: str) -> frozenset[str]:
    """The event types whose data is declared to have one of these keys."""
    return frozenset(row.name for row in EVENT_TYPES.values() if row.stored and any(key in get_type_hints(row.shape) for key in keys))


def _of_data(name: str, meaning: str, key: str | None = None, types: frozenset[str] | None = None) -> Name:
    found = key or name
    return Name(name, meaning, lambda scope: scope.event.data.get(found), types=types or _having(found), verbatim=True)


# A background tool's end may come while another call of a later answer has the same id.
_OF_A_CALL = _having("tool_call_id") - {"tool_background_resolved", "tool_background_failed", "warning"}


def _arguments(scope: Scope) -> Any:
    data = scope.event.data
    if "arguments" in data:
        return data["arguments"]
    for state in (scope.after, scope.before):
        turn = state.batch.find(data.get("tool_call_id", "")) if state is not None and state.batch is not None else None
        if turn is not None:
            return turn.effective.arguments
    return None


def _tokens(scope: Scope) -> dict[str, int] | None:
    usage = scope.event.data.get("usage")
    return {short: usage[name] for short, name in TOKENS.items() if name in usage} if isinstance(usage, dict) else None


_LONGEST_MS = 1e15


def _seconds(scope: Scope) -> float | None:
    latency = scope.event.data.get("latency_ms")
    return float(latency) / 1000 if isinstance(latency, (int, float)) and abs(latency) < _LONGEST_MS else None


def shares(state: RunState) -> dict[str, float]:
    """How much of each limit is used up, as a share of it (1 is all), by its name in `LIMITS`."""
    used = {each.limit: each.used / each.maximum if each.maximum > 0 else 1.0 for each in limits_used(state)}
    return {short: used[limit] for short, limit in LIMITS.items() if limit in used}


_TABLE = (
    Name("seq", "the event's place in the run, from 1", lambda scope: scope.event.seq),
    Name("type", "the event's type, such as tool_started", lambda scope: scope.event.type),
    Name("step", "the step it belongs to; 0 before the first", lambda scope: scope.event.step),
    Name("at", "when it happened, as ISO text in UTC", lambda scope: scope.event.at.astimezone(dt.UTC)),
    Name("time", "seconds since the run's first event", lambda scope: seconds_between(scope.start, scope.event.at)),
    Name("status", "the run's status once it had happened", lambda scope: scope.event.state),
    Name("message", "the event's sentence for people", lambda scope: scope.event.message, verbatim=True),
    Name("data", "the event's data, by its keys: data.error, data.tool_calls[0].id", lambda scope: scope.event.data, verbatim=True),
    _of_data("tool", "the tool's name", "tool_name"),
    _of_data("call", "the id of the tool call", "tool_call_id"),
    _of_data("attempt", "which attempt it is, from 1"),
    _of_data("output", "what a tool, a subagent or the run came to"),
    _of_data("outcome", "how a call ended, or what a person answered"),
    _of_data("error", "what went wrong; null where nothing did"),
    _of_data("error_type", "the class of what went wrong"),
    _of_data("reason", "why, as a policy, a person or a caller said"),
    _of_data("model", "the model's name"),
    _of_data("text", "what the model answered"),
    _of_data("agent", "the agent's name", "agent_name"),
    _of_data("subagent", "the subagent's name", "subagent_name"),
    _of_data("policy", "what the policy decided: allow, deny, ...", "action", frozenset({"policy_decision"})),
    _of_data("rule", "the id of the policy's rule", "policy_id"),
    _of_data("limit", "the limit that was reached"),
    _of_data("ticket", "the ticket of a background tool", "ticket_id"),
    _of_data("request", "the id of a question to a person", "request_id"),
    _of_data("by", "who answered it"),
    Name(
        "tokens",
        "tokens of this answer: tokens.in, .out, .total, .cached",
        _tokens,
        types=_having("usage"),
        members=frozenset(TOKENS),
    ),
    Name("cost", "dollars that this answer cost", lambda scope: scope.event.data.get("cost_usd"), types=_having("cost_usd")),
    Name("latency", "seconds that the call took", _seconds, types=_having("latency_ms")),
    Name(
        "gap",
        "seconds since the event before",
        lambda scope: seconds_between(scope.previous, scope.event.at) if scope.previous is not None else None,
        "previous",
    ),
    Name(
        "repeat",
        "how often this tool was called with these arguments up to here; 0 at a retry",
        lambda scope: scope.repeat,
        "calls",
        CALL_TYPES,
    ),
    Name("args", "the arguments of the tool call, as it runs: args.query", _arguments, "state", _OF_A_CALL),
    Name("state", "the state of the run after the event, by its fields", lambda scope: scope.after, "state", members=STATE_FIELDS),
    Name("before", "the same before the event", lambda scope: scope.before, "state", members=STATE_FIELDS),
    Name(
        "messages",
        "the conversation after the event: messages[-1].content; by itself only its length and digest",
        lambda scope: scope.after.messages if scope.after is not None else None,
        "state",
    ),
    Name(
        "used",
        "the share of each limit that is used up, 1 or 100% for all: used.cost, .steps, .llm_calls, .tool_calls, .time",
        lambda scope: shares(scope.after) if scope.after is not None else None,
        "state",
        members=frozenset(LIMITS),
    ),
)

NAMES: dict[str, Name] = {row.name: row for row in _TABLE}
"""Every name that an expression can begin a path with; help and docs read it."""
