"""A state as text: one line for each value that is set, by the path under which it can be asked for. And one value by its path."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from afk_es.debugger.changes import at_key
from afk_es.debugger.grammar import parse_path
from afk_es.debugger.recording import Recording
from afk_es.debugger.state_diff import state_tree
from afk_es.debugger.values import Segment
from afk_es.errors import UsageError
from afk_es.redaction import Redaction
from afk_es.views import clipped, columns, compact_json, padded

LINES_SHOWN = 500

ROOT = "state"
"""What a path begins with, so that it means the same in an expression, where a bare name is a fact of the event."""


class PathError(UsageError):
    """A path that leads nowhere in this state. The message says what is there instead."""


def state_lines(tree: dict[str, Any], width: int) -> tuple[str, ...]:
    """The values that are set, a line of at most `width` columns each; nulls and what is empty are left out."""
    rows = list(_leaves(tree, ROOT))
    room = min(max((columns(path) for path, _value in rows[:LINES_SHOWN]), default=0), max(12, width // 2))
    lines = [clipped(f"{padded(path, room)} {compact_json(value)}", width) for path, value in rows[:LINES_SHOWN]]
    if len(rows) > LINES_SHOWN:
        lines.append(clipped(f"... and {len(rows) - LINES_SHOWN} more; `--path` shows a part", width))
    return tuple(lines)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, at_key(path, key))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (dict, list, tuple)) for item in value):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]")
    elif value is not None and value != "" and value != () and value != []:
        yield path, value


async def value_at(rec: Recording, seq: int, path: str, redaction: Redaction | None = None) -> Any:
    """The value that the state after the event at `seq` has at a path: `batch.turns[0].status`, `messages[-1].content`, `spec.limits`.

    Args:
        path: as in an expression; the `state.` that it begins with there may be left out.
        redaction: what is kept back, of the value and of what an error tells; default nothing. What a secret is is known by the names above
            it, so it is kept back before the path is followed.

    Raises:
        ExpressionError: it is no path.
        PathError: it leads nowhere.
    """
    segments = parse_path(path if path.startswith(f"{ROOT}.") else f"{ROOT}.{path}").segments
    state = await rec.state(seq)
    match segments:
        case ("messages", int() as index, *_):
            count = len(state.messages)
            place = index + count if index < 0 else index
            if not 0 <= place < count:
                raise PathError(f"there is no message {index} at seq {seq}; there are {count}, from 0")
            [message] = await rec.messages(state, place, place + 1)
            return _followed(_kept(msgspec.to_builtins(message), redaction), segments[2:], path)
        case _:
            last = await rec.messages(state, max(0, len(state.messages) - 1))
            return _followed(_kept(state_tree(state, last, whole_spec=True), redaction), segments, path)


def _kept(tree: Any, redaction: Redaction | None) -> Any:
    return tree if redaction is None else redaction.value(tree)


def _followed(value: Any, segments: Sequence[Segment], path: str) -> Any:
    for segment in segments:
        try:
            value = value[segment]
        except (KeyError, IndexError, TypeError):
            raise PathError(f"{path!r} leads nowhere: what is before {segment!r} {_holds(value)}") from None
    return value


def _holds(value: Any) -> str:
    if isinstance(value, dict):
        return f"has {', '.join(map(str, value)) or 'nothing in it'}"
    if isinstance(value, (list, tuple)):
        return f"has {len(value)} items"
    return f"is {clipped(compact_json(value), 60)}"
