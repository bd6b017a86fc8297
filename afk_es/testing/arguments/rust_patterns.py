"""A pattern in the language of Rust's `regex`, read as a tree of which texts can be made. It makes no texts.

Python's language is another one where it hurts: Rust's `$` is the end of the text and nothing else, its `\\w` and `\\d` are other sets, and
Python has no `\\p{L}`, `[a-z&&[^aeiou]]` or `[[:alpha:]]`. So what a class of characters holds is asked of Rust's engine, character by
character over a sample of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

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

_STARTS = frozenset({"^", r"\A"})
_ENDS = frozenset({"$", r"\z"})
_EDGES = _STARTS | _ENDS | {r"\b", r"\B"}


class UnreadError(Exception):
    """The pattern is written in a way that is not read here: it ignores white space, or is not Rust's."""


@dataclass
class Characters:
    """One character of these."""

    members: str


@dataclass
class Edge:
    """A place, which takes no character."""

    starts: bool
    """Nothing can stand before it."""
    ends: bool


@dataclass
class Choice:
    """One of these."""

    ways: list[list[Repeat]] = field(default_factory=lambda: [[]])


Piece: TypeAlias = Characters | Edge | Choice


@dataclass
class Repeat:
    """A piece, some times in a row."""

    piece: Piece
    low: int = 1
    high: int | None = 1


@lru_cache(maxsize=2048)
def rust_engine(pattern: str) -> Callable[[str], bool] | None:
    """Whether a text has the pattern, by Rust's engine; None if that cannot read the pattern."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, strict=True)).isinstance_python
    except SchemaError:
        return None


@lru_cache(maxsize=512)
def read_pattern(pattern: str) -> Choice:
    """The pattern as a tree.

    Raises:
        UnreadError: it has to be left to whoever can.
    """
    if rust_engine(pattern) is None:
        raise UnreadError(pattern)
    return _Reading(pattern).read()


class _Reading:
    """A pattern while it is read. Rust's engine has read it before, so its brackets close and its repeats follow something."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._position = 0
        self._flags = [""]
        self._open = [Choice()]

    def read(self) -> Choice:
        while self._position < len(self._pattern):
            match self._pattern[self._position]:
                case "\\":
                    self._escape(self._take(_ESCAPE).group())
                case "[":
                    self._add(Characters(_members(self._bracketed(), self._flags[-1])))
                case "(":
                    self._opening(self._take(_OPENING))
                case ")":
                    self._position += 1
                    self._flags.pop()
                    self._open.pop()
                case "|":
                    self._position += 1
                    self._open[-1].ways.append([])
                case "*" | "+" | "?" | "{":
                    self._repeat(self._take(_REPEAT))
                case "^" | "$" as edge:
                    self._position += 1
                    self._edge(edge)
                case character:
                    self._position += 1
                    self._character(character)
        return self._open[0]

    def _take(self, shape: re.Pattern[str]) -> re.Match[str]:
        match = shape.match(self._pattern, self._position)
        if match is None:
            raise UnreadError(self._pattern)
        self._position = match.end()
        return match

    def _add(self, piece: Piece) -> None:
        self._open[-1].ways[-1].append(Repeat(piece))

    def _edge(self, text: str) -> None:
        self._add(Edge(starts=text in _STARTS, ends=text in _ENDS))

    def _escape(self, text: str) -> None:
        if text in _EDGES or text.startswith(r"\b{"):
            self._edge(text)
        elif len(text) == 2 and not text[1].isalnum():
            self._character(text[1])
        else:
            self._add(Characters(_members(text, self._flags[-1])))

    def _character(self, character: str) -> None:
        if character == "." or "i" in self._flags[-1]:
            token = character if character == "." else re.escape(character)
            self._add(Characters(_members(token, self._flags[-1])))
        else:
            self._add(Characters(character))

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
            raise UnreadError(self._pattern)
        changed = self._flags[-1] if flags is None else _changed(self._flags[-1], flags)
        if opening["end"] == ")":
            self._flags[-1] = changed
            return
        group = Choice()
        self._add(group)
        self._flags.append(changed)
        self._open.append(group)

    def _repeat(self, repeat: re.Match[str]) -> None:
        match repeat.group()[0]:
            case "*":
                low, high = 0, None
            case "+":
                low, high = 1, None
            case "?":
                low, high = 0, 1
            case _:
                low = int(repeat["low"])
                high = int(repeat["high"]) if repeat["high"] else None if repeat["open"] else low
        way = self._open[-1].ways[-1]
        if (way[-1].low, way[-1].high) != (1, 1):
            # A repeat of a repeat.
            way[-1] = Repeat(Choice([[way[-1]]]))
        way[-1].low, way[-1].high = low, high


def _changed(flags: str, change: str) -> str:
    on, _, off = change.partition("-")
    return "".join(sorted((set(flags) | set(on)) - set(off)))


@lru_cache(maxsize=2048)
def _members(token: str, flags: str) -> str:
    """The characters of a class: those of the sample and those that it names; where these are none, the first of all."""
    engine = rust_engine(rf"(?{flags})\A(?:{token})\z" if flags else rf"\A(?:{token})\z")
    if engine is None:
        raise UnreadError
    named = [*token, *(chr(int(code, 16)) for code in re.findall(r"\\[xuU]\{?([0-9A-Fa-f]+)", token))]
    found = [character for character in dict.fromkeys([*SAMPLE, *named]) if engine(character)]
    for code in range(0x110000) if not found else ():
        if len(found) < _MANY and not 0xD800 <= code < 0xE000 and engine(chr(code)):
            found.append(chr(code))
    return "".join(found)
