"""An event as it may be shown: what is redacted of it, and what never is. What a secret is, `afk_es.redaction` knows.

A registered value may happen to read like a name that every event has, or like a number of tokens. The shape of an event is declared and
says nothing of anybody, so it stays: whoever reads redacted events can rely on it as on that of the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeVar, get_origin, get_type_hints

import msgspec
from msgspec.structs import replace

from afk_es.machine.events import EVENT_TYPES, AgentRunEvent
from afk_es.redaction import Redaction

F = TypeVar("F")

_NAMES = re.compile(r"[^.\[\]\"]+")
"""Of a path. A key that has such characters itself comes apart, which is as well: each part is a name."""

_REFERENCES = frozenset({"usage", "parent", "history", "forked_from", "up_to"})
"""Parts of events that are counts, and positions in runs."""


def redacted_event(event: AgentRunEvent, redaction: Redaction | None) -> AgentRunEvent:
    """The event without secrets in its data, its message and its thread's name; the event itself is not changed.

    What tells events apart and holds them together (run, seq, time, type, step) and the declared shape of its data stay as they are.

    Args:
        redaction: None for whoever must see everything.
    """
    if redaction is None:
        return event
    return replace(
        event,
        thread_id=redaction.text(event.thread_id),
        message=redaction.text(event.message),
        data=redacted_data(event.type, event.data, redaction),
    )


def redacted_facts(facts: F, redaction: Redaction | None) -> F:
    """The same facts, a Struct or a collection of them, without secrets. What a value at a `path` was `before` and `after` is judged by the names
    in that path, as it would be were it shown in its place.

    Args:
        redaction: None for whoever must see everything.
    """
    if redaction is None:
        return facts
    return msgspec.convert(redaction.value(_by_their_paths(msgspec.to_builtins(facts), redaction)), type(facts))


def _by_their_paths(facts: Any, redaction: Redaction) -> Any:
    if isinstance(facts, (list, tuple)):
        return [_by_their_paths(item, redaction) for item in facts]
    if not isinstance(facts, dict):
        return facts
    found = {key: _by_their_paths(item, redaction) for key, item in facts.items()}
    if isinstance(path := found.get("path"), str):
        found |= {key: redacted_at(path, found[key], redaction) for key in ("before", "after") if key in found}
    return found


def redacted_at(path: str, value: Any, redaction: Redaction) -> Any:
    """A value without secrets that is shown by its path (`context.credentials.user`, `turns[0]["api key"]`): any name in it may say what it is."""
    return redacted_under(_NAMES.findall(path), value, redaction)


def redacted_under(names: Sequence[str], value: Any, redaction: Redaction) -> Any:
    """A value without secrets that stands under these names, from the outermost in."""
    for name in reversed(names):
        value = {name: value}
    value = redaction.value(value)
    for _name in names:
        (value,) = value.values()
    return value


@cache
def _declared(event_type: str) -> dict[str, Any]:
    """The keys that events of this type have, and what stands under them."""
    row = EVENT_TYPES.get(event_type)
    return get_type_hints(row.shape) if row is not None else {}


def redacted_data(event_type: str, data: dict[str, Any], redaction: Redaction) -> dict[str, Any]:
    """The data of an event of this type without secrets; the declared shape of it stays."""
    declared = _declared(event_type)
    found: dict[str, Any] = {}
    for key, item in data.items():
        if key not in declared:
            found.update(redaction.value({key: item}))
        elif key in _REFERENCES or get_origin(declared[key]) is Literal or (isinstance(item, (int, float)) and declared[key] is not Any):
            found[key] = item
        elif key == "tool_calls":
            found[key] = [_redacted_call(call, redaction) for call in item]
        else:
            found[key] = _under(key, item, redaction)
    return found


def _redacted_call(call: dict[str, Any], redaction: Redaction) -> dict[str, Any]:
    return {key: _under(key, item, redaction) for key, item in call.items()}


def _under(key: str, item: Any, redaction: Redaction) -> Any:
    """What stands under a name that stays."""
    (shown,) = redaction.value({key: item}).values()
    return shown
