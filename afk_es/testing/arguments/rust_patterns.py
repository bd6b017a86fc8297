"""A pattern in the language of Rust's `regex`, put into Python's, from which Hypothesis makes texts. It makes no texts.

The two languages differ where it hurts: Rust's `$` is the end of the text and nothing else, its `\\w` and `\\d` are other sets, and Python has
no `\\p{L}`, `[a-z&&[^aeiou]]` or `[[:alpha:]]`. So each class of characters is put to Rust's engine, character by character over a sample of
them, and what it says goes into the Python pattern as a plain list. The result finds no text that the original would not, anchors apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

SAMPLE = "".join(map(chr, range(32, 127))) + "\t\n\réßÄñλЖ中あ٣²ªǅ\u0301\u00a0\u2028€😀"
"""Characters that a class may have: those of a keyboard, and of the others one of each kind that engines disagree on or people use."""

_MANY = 64
"""Characters that are enough of a class of which the sample has none."""

_ESCAPE = re.compile(
    r"\\(?:[pP]\{[^}]*\}|[pP].|x\{[0-9A-Fa-f]+\}|x[0-9A-Fa-f]{2}|u\{[0-9A-Fa-f]+\}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|b\{[^}]*\}|.)", re.DOTALL
)
_OPENING = re.compile(r"\((?:\?P?<[^>]*>|\?(?P<flags>[a-zA-Z-]*)(?P<end>[:)]))?")
_REPEAT = re.compile(r"(?:[*+?]|\{(?P<low>\d+)(?P<open>,)?(?P<high>\d*)\})\??")

_EDGES = {"^": "^", "$": r"\Z", r"\A": r"\A", r"\z": r"\Z", r"\b": r"\b", r"\B": r"\B"}
_EDGES_OF_LINES = {"^": "(?m:^)", "$": "(?m:$)"}


@lru_cache(maxsize=2048)
def rust_engine(pattern: str) -> Callable[[str], bool] | None:
    """Whether a text has the pattern, by Rust's engine; None if that cannot read the pattern."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True)).isinstance_python
    except SchemaError:
        return None


@lru_cache(maxsize=512)
def in_python(pattern: str, shortest: int, longest: int | None) -> str | None:
    """The pattern in Python's language; None where it has to stay as it is (it ignores white space).

    Args:
        pattern: one that Rust's engine can read.
        shortest, longest: the length of text to aim at; followed where the pattern has no groups.
    """
    reading = _Reading(pattern)
    try:
        reading.read()
    except _LeftAsItIsError:
        return None
    if reading.flat:
        _fit(reading.parts, shortest, longest)
    return "".join(map(_written, reading.parts))


@dataclass
class _Part:
    text: str
    width: int
    """Characters that it takes once; of a piece of a group, 0."""
    repeats: list[tuple[int, int | None]] = field(default_factory=list)


class _LeftAsItIsError(Exception):
    pass


class _Reading:
    """A pattern while it is read."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0
        self._flags = [""]
        self.parts: list[_Part] = []
        self.flat = True

    def read(self) -> None:
        while self._position < len(self._pattern):
            match self._pattern[self._position]:
                case "\\":
                    self._escape(self._take(_ESCAPE).group())
                case "[":
                    self._class(self._bracketed())
                case "(":
                    self._opening(self._take(_OPENING))
                case ")" | "|" as mark:
                    self._position += 1
                    if mark == ")":
                        self._flags.pop()
                    self._piece(mark)
                case "*" | "+" | "?" | "{":
                    self._repeat(self._take(_REPEAT))
                case "^" | "$" as edge:
                    self._position += 1
                    self.parts.append(_Part((_EDGES_OF_LINES if "m" in self._flags[-1] else _EDGES)[edge], 0))
                case character:
                    self._position += 1
                    self._character(character)

    def _take(self, shape: re.Pattern[str]) -> re.Match[str]:
        match = shape.match(self._pattern, self._position)
        if match is None:
            raise _LeftAsItIsError
        self._position = match.end()
        return match

    def _escape(self, text: str) -> None:
        if text in _EDGES:
            self.parts.append(_Part(_EDGES[text], 0))
        elif text.startswith(r"\b{"):
            self.parts.append(_Part(r"\b", 0))
        elif len(text) == 2 and not text[1].isalnum():
            self._character(text[1])
        else:
            self._class(text)

    def _character(self, character: str) -> None:
        if character == "." or "i" in self._flags[-1]:
            self._class(character if character == "." else re.escape(character))
        else:
            self.parts.append(_Part(re.escape(character), 1))

    def _class(self, text: str) -> None:
        listed = "".join(map(re.escape, _members(text, self._flags[-1])))
        self.parts.append(_Part(f"[{listed}]" if listed else "(?!)", 1))

    def _bracketed(self) -> str:
        """A class in square brackets, with those that are in it."""
        start, depth = self._position, 0
        while True:
            character = self._pattern[self._position]
            if character == "\\":
                self._take(_ESCAPE)
                continue
            depth += {"[": 1, "]": -1}.get(character, 0)
            self._position += 1
            if character == "[":
                # A bracket that stands first is one of the members.
                self._position += self._pattern[self._position] == "^"
                self._position += self._pattern[self._position] == "]"
            if depth == 0:
                return self._pattern[start : self._position]

    def _opening(self, opening: re.Match[str]) -> None:
        flags = opening["flags"]
        if flags is not None and "x" in flags:
            raise _LeftAsItIsError
        changed = self._flags[-1] if flags is None else _changed(self._flags[-1], flags)
        if opening["end"] == ")":
            self._flags[-1] = changed
        else:
            self._flags.append(changed)
            # Nothing refers back to a group, so it needs no name.
            self._piece("(?:")

    def _piece(self, text: str) -> None:
        self.flat = False
        self.parts.append(_Part(text, 0))

    def _repeat(self, repeat: re.Match[str]) -> None:
        match repeat.group()[0]:
            case "*":
                times: tuple[int, int | None] = (0, None)
            case "+":
                times = (1, None)
            case "?":
                times = (0, 1)
            case _:
                low = int(repeat["low"])
                times = (low, int(repeat["high"]) if repeat["high"] else None if repeat["open"] else low)
        self.parts[-1].repeats.append(times)


def _changed(flags: str, change: str) -> str:
    on, _, off = change.partition("-")
    return "".join(sorted((set(flags) | set(on)) - set(off)))


@lru_cache(maxsize=2048)
def _members(token: str, flags: str) -> str:
    """The characters of a class: those of the sample and those that it names; where these are none, the first of all."""
    engine = rust_engine(rf"(?{flags})\A(?:{token})\z" if flags else rf"\A(?:{token})\z")
    if engine is None:
        raise _LeftAsItIsError
    named = [*token, *(chr(int(code, 16)) for code in re.findall(r"\\[xuU]\{?([0-9A-Fa-f]+)", token))]
    found = [character for character in dict.fromkeys([*SAMPLE, *named]) if engine(character)]
    for code in range(0x110000) if not found else ():
        if len(found) < _MANY and not 0xD800 <= code < 0xE000 and engine(chr(code)):
            found.append(chr(code))
    return "".join(found)


def _fit(parts: list[_Part], shortest: int, longest: int | None) -> None:
    """Narrow the repeats so that the text is as long as asked; exactly, where only one of them varies."""
    varying = [part for part in parts if part.width and len(part.repeats) == 1 and part.repeats[0][0] != part.repeats[0][1]]
    least = sum(_least(part) for part in parts)
    for part in varying if longest is not None else ():
        low, high = part.repeats[0]
        room = max(low, longest - least + low) if longest is not None else low
        part.repeats[0] = (low, room if high is None else min(high, room))
    for part in varying:
        low, high = part.repeats[0]
        more = max(0, shortest - least)
        more = more if high is None else min(more, high - low)
        part.repeats[0] = (low + more, high)
        least += more


def _least(part: _Part) -> int:
    least = part.width
    for low, _ in part.repeats:
        least *= low
    return least


def _written(part: _Part) -> str:
    text = part.text
    for low, high in part.repeats:
        # Twice repeated is not the same as possessively repeated.
        text = (
            f"(?:{text}){{{low},{'' if high is None else high}}}" if text[-1] == "}" else f"{text}{{{low},{'' if high is None else high}}}"
        )
    return text
