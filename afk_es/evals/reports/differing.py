"""Two texts beside each other: which words of them are the same, and which are not. It knows nothing of runs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

import msgspec

from afk_es.machine.values import plain

_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_MOST_WORK = 4_000_000
"""Words of one text times words of the other, beyond which what is between the same beginning and the same end counts as different:
a second of work at the most."""
_LONGEST = 200_000
"""Characters of a text that are looked at."""
_AROUND = 280
"""Characters of what is the same that are kept beside a difference."""


class Part(NamedTuple):
    """A part of a text. `left_out` counts the characters that are not shown in it; such a part has no text."""

    text: str
    differs: bool = False
    left_out: int = 0


class Beside(NamedTuple):
    """Both texts in parts."""

    expected: tuple[Part, ...]
    actual: tuple[Part, ...]


def value_text(value: Any) -> str:
    """A value to read: text as it is, other values as JSON."""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(plain(value)), indent=2).decode()


def beside(expected: str, actual: str) -> Beside:
    """The parts of both, with what is the same at length left out."""
    left, right = _WORD.findall(expected[:_LONGEST]), _WORD.findall(actual[:_LONGEST])
    start = _same(left, right)
    end = _same(left[start:][::-1], right[start:][::-1])
    middle_left, middle_right = left[start : len(left) - end], right[start : len(right) - end]
    parts: tuple[list[Part], list[Part]] = ([], [])
    _both(parts, "".join(left[:start]))
    for tag, a, b, c, d in _steps(middle_left, middle_right):
        if tag == "equal":
            _both(parts, "".join(middle_left[a:b]))
        else:
            parts[0].append(Part("".join(middle_left[a:b]), differs=True))
            parts[1].append(Part("".join(middle_right[c:d]), differs=True))
    _both(parts, "".join(left[len(left) - end :]) if end else "")
    beyond = max(len(expected), len(actual)) - _LONGEST
    if beyond > 0:
        for side in parts:
            side.append(Part("", left_out=beyond))
    return Beside(_shortened(parts[0]), _shortened(parts[1]))


def _steps(left: Sequence[str], right: Sequence[str]) -> Sequence[tuple[str, int, int, int, int]]:
    if len(left) * len(right) > _MOST_WORK:
        return [("replace", 0, len(left), 0, len(right))]
    return SequenceMatcher(None, left, right, autojunk=False).get_opcodes()


def _same(left: Sequence[str], right: Sequence[str]) -> int:
    """How many words they begin with alike."""
    return next((place for place, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), min(len(left), len(right)))


def _both(parts: tuple[list[Part], list[Part]], text: str) -> None:
    if text:
        for side in parts:
            side.append(Part(text))


def _shortened(parts: list[Part]) -> tuple[Part, ...]:
    found: list[Part] = []
    for place, part in enumerate(parts):
        if not part.text and not part.left_out:
            continue
        before, after = _AROUND if place else 0, _AROUND if place < len(parts) - 1 else 0
        if part.differs or part.left_out or len(part.text) <= before + after + 2 * _AROUND:
            found.append(part)
            continue
        head, tail = part.text[:before], part.text[len(part.text) - after :] if after else ""
        found += [Part(head)] if head else []
        found.append(Part("", left_out=len(part.text) - len(head) - len(tail)))
        found += [Part(tail)] if tail else []
    return tuple(found)
