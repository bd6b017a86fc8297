"""The parts that an expression is made of. Each has a value at a scope, is written as it is read, and says what an event must be for it to hold.

Nothing here raises at any event: what is not there is null, and what cannot be compared is not so.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import msgspec

from afk_es.debugger.requirement import ANYTHING, Requirement, stored_text
from afk_es.debugger.scope import NAMES, Scope, Source
from afk_es.debugger.values import TEXT_LIMIT, Segment, compare, inner, plain_value, size_of, text_in
from afk_es.machine.values import Messages, canonical_json
from afk_es.redaction import Redaction
from afk_es.views import redacted_under

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


class Term(ABC):
    """A part of an expression. `str()` of it can be parsed to the same term again."""

    @abstractmethod
    def value(self, scope: Scope) -> Any:
        """Its value there, plain."""

    def holds(self, scope: Scope) -> bool:
        """Whether its value there counts as yes: it is not null, false, 0 or empty."""
        return bool(self.value(scope))

    def requirement(self) -> Requirement:
        """What events must be for it to hold."""
        return ANYTHING

    def paths(self) -> Iterator[Path]:
        """The paths in it."""
        return iter(())


@dataclass(frozen=True)
class Constant(Term):
    """A value that is written down. `written` is how: 30s and 30 are the same number."""

    constant: Any
    written: str

    def value(self, scope: Scope) -> Any:
        """The constant."""
        return self.constant

    def __str__(self) -> str:
        return self.written


def quoted(text: str) -> Constant:
    """A text as a constant."""
    return Constant(text, canonical_json(text).decode())


@dataclass(frozen=True)
class Path(Term):
    """A name and a way into what it means."""

    name: str
    segments: tuple[Segment, ...] = ()

    def found(self, scope: Scope) -> Any:
        """What is there: as it is kept, or without what is kept back from whoever asks."""
        kept = self._kept(scope)
        if scope.redaction is None or isinstance(kept, (Messages, msgspec.Struct)):
            # Of a conversation, or a part of the state, nothing is asked as it is but whether it is there and how long it is.
            return kept
        return self._shown(kept, scope.redaction)

    def _kept(self, scope: Scope) -> Any:
        position = self.message_position
        if position is not None:
            which, place = position
            state = scope.before if which == "before" else scope.after
            if state is None:
                return None
            place = place + len(state.messages) if place < 0 else place
            message = scope.said.get((which, place))
            if message is not None:
                return inner(message, self.segments[self._depth :])
        return inner(NAMES[self.name].value(scope), self.segments)

    def value(self, scope: Scope) -> Any:
        """What is there."""
        kept = self._kept(scope)
        return plain_value(kept) if scope.redaction is None else self._shown(kept, scope.redaction)

    def _shown(self, kept: Any, redaction: Redaction) -> Any:
        """What is there without what is kept back. What a name means of the event has come without it."""
        value = plain_value(kept)
        if self.source != "state" or self.name == "used":
            return value
        return redacted_under([each for each in self.segments if isinstance(each, str)], value, redaction)

    def holds(self, scope: Scope) -> bool:
        """Whether there is something that is not false, 0 or empty."""
        return bool(self.found(scope))

    @cached_property
    def message_position(self) -> tuple[str, int] | None:
        """Where it leads into one message of the conversation: of the state "before" or "after", and at which position; or None."""
        lead: tuple[Segment, ...] = () if self.name == "messages" else ("messages",)
        if self.name not in ("messages", "state", "before") or self.segments[: len(lead)] != lead or len(self.segments) < self._depth:
            return None
        place = self.segments[self._depth - 1]
        return ("before" if self.name == "before" else "after", place) if isinstance(place, int) else None

    @property
    def _depth(self) -> int:
        """How many segments lead to one message."""
        return 1 if self.name == "messages" else 2

    @property
    def source(self) -> Source:
        """What it takes to know it."""
        return NAMES[self.name].source

    def requirement(self) -> Requirement:
        """An event at which its name means something."""
        return Requirement(NAMES[self.name].types)

    def paths(self) -> Iterator[Path]:
        """Itself."""
        yield self

    def __str__(self) -> str:
        return self.name + "".join(map(_segment_text, self.segments))


def _segment_text(segment: Segment) -> str:
    if isinstance(segment, int):
        return f"[{segment}]"
    return f".{segment}" if _PLAIN_NAME.match(segment) else f"[{canonical_json(segment).decode()}]"


@dataclass(frozen=True)
class Length(Term):
    """How long a text, a list or an object is."""

    path: Path

    def value(self, scope: Scope) -> int | None:
        """Its length, or None."""
        return size_of(self.path.found(scope))

    def requirement(self) -> Requirement:
        """As the path."""
        return self.path.requirement()

    def paths(self) -> Iterator[Path]:
        """The path."""
        yield self.path

    def __str__(self) -> str:
        return f"len({self.path})"


@dataclass(frozen=True)
class Comparison(Term):
    """Two values and a sign. With the constant null, = and != ask whether there is anything."""

    left: Term
    sign: str
    right: Term

    def value(self, scope: Scope) -> bool:
        """Whether it is so."""
        left, right = self.left.value(scope), self.right.value(scope)
        if self._asks_for_null:
            return (left is None and right is None) == (self.sign == "=")
        return compare(left, self.sign, right)

    @property
    def _asks_for_null(self) -> bool:
        return self.sign in ("=", "!=") and any(isinstance(each, Constant) and each.constant is None for each in (self.left, self.right))

    def requirement(self) -> Requirement:
        """Both sides have to be something, and what an event must equal has to be in it."""
        if self._asks_for_null:
            return self.left.requirement().both(self.right.requirement()) if self.sign == "!=" else ANYTHING
        found = self.left.requirement().both(self.right.requirement())
        if self.left == Path("seq") and isinstance(self.right, Constant):
            return found.both(_between(self.sign, self.right.constant))
        if self.sign == "=":
            for path, other in ((self.left, self.right), (self.right, self.left)):
                if isinstance(path, Path) and isinstance(other, Constant):
                    found = found.both(_equal_to(path, other))
        return found

    def paths(self) -> Iterator[Path]:
        """Those of both sides."""
        yield from self.left.paths()
        yield from self.right.paths()

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right}"


def _between(sign: str, seq: object) -> Requirement:
    """Where events are whose seq compares so."""
    if not isinstance(seq, int):
        return ANYTHING
    match sign:
        case "=":
            return Requirement(first=max(seq, 1), last=seq)
        case "<" | "<=":
            return Requirement(last=seq)
        case ">" | ">=":
            return Requirement(first=max(seq, 1))
        case _:
            return ANYTHING


def _equal_to(path: Path, constant: Constant) -> Requirement:
    if not isinstance(constant.constant, str):
        return ANYTHING
    if path == Path("type"):
        return Requirement(frozenset({constant.constant}))
    return Requirement(texts=_texts(path, constant.constant))


def _texts(path: Path, text: str) -> frozenset[str]:
    return stored_text(text) if NAMES[path.name].verbatim else frozenset()


@dataclass(frozen=True)
class Contains(Term):
    """`~`: whether a text, or the words of a list or object, contain another text, in upper or lower case. `!~`: whether they do not."""

    left: Term
    sought: Constant
    negated: bool = False

    def value(self, scope: Scope) -> bool:
        """Whether it is so."""
        found = text_in(self.left.value(scope), self.sought.constant)
        return found is not None and found != self.negated

    def requirement(self) -> Requirement:
        """The text is in the event."""
        found = self.left.requirement()
        if isinstance(self.left, Path) and not self.negated:
            found = found.both(Requirement(texts=_texts(self.left, self.sought.constant)))
        return found

    def paths(self) -> Iterator[Path]:
        """Those of the left side."""
        return self.left.paths()

    def __str__(self) -> str:
        return f"{self.left} {'!~' if self.negated else '~'} {self.sought}"


@dataclass(frozen=True)
class Fits(Term):
    """`~ /pattern/`: whether a regular expression is found in the first `TEXT_LIMIT` characters of a text."""

    left: Term
    pattern: str
    negated: bool = False

    def value(self, scope: Scope) -> bool:
        """Whether it is so."""
        text = self.left.value(scope)
        return isinstance(text, str) and (self._compiled.search(text[:TEXT_LIMIT]) is None) == self.negated

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    def requirement(self) -> Requirement:
        """The left side is something."""
        return self.left.requirement()

    def paths(self) -> Iterator[Path]:
        """Those of the left side."""
        return self.left.paths()

    def __str__(self) -> str:
        written = re.sub(r"\\.|/", lambda found: "\\/" if found[0] == "/" else found[0], self.pattern, flags=re.DOTALL)
        return f"{self.left} {'!~' if self.negated else '~'} /{written}/"


@dataclass(frozen=True)
class Among(Term):
    """`in`: whether a value is one of several. `not in`: whether there is one, and it is none of them."""

    left: Term
    options: tuple[Constant, ...]
    negated: bool = False

    def value(self, scope: Scope) -> bool:
        """Whether it is so."""
        left = self.left.value(scope)
        return left is not None and any(compare(left, "=", option.constant) for option in self.options) != self.negated

    def requirement(self) -> Requirement:
        """There is a value, and it is in the event where it is one of the options."""
        found = self.left.requirement()
        if isinstance(self.left, Path) and not self.negated:
            found = found.both(reduce(Requirement.either, (_equal_to(self.left, option) for option in self.options)))
        return found

    def paths(self) -> Iterator[Path]:
        """Those of the left side."""
        return self.left.paths()

    def __str__(self) -> str:
        return f"{self.left} {'not ' if self.negated else ''}in [{', '.join(map(str, self.options))}]"


@dataclass(frozen=True)
class Exists(Term):
    """Whether there is anything at a path; an empty text is something."""

    path: Path

    def value(self, scope: Scope) -> bool:
        """Whether there is."""
        return self.path.found(scope) is not None

    def requirement(self) -> Requirement:
        """As the path."""
        return self.path.requirement()

    def paths(self) -> Iterator[Path]:
        """The path."""
        yield self.path

    def __str__(self) -> str:
        return f"exists {self.path}"


@dataclass(frozen=True)
class Not(Term):
    """The contrary."""

    term: Term

    def value(self, scope: Scope) -> bool:
        """Whether the term does not hold."""
        return not self.term.holds(scope)

    def paths(self) -> Iterator[Path]:
        """Those of the term."""
        return self.term.paths()

    def __str__(self) -> str:
        return f"not {_enclosed(self.term, And, Or)}"


@dataclass(frozen=True)
class And(Term):
    """All of them, looked at from left to right."""

    terms: tuple[Term, ...]

    def value(self, scope: Scope) -> bool:
        """Whether all hold."""
        return all(term.holds(scope) for term in self.terms)

    def requirement(self) -> Requirement:
        """What each of them asks for."""
        return reduce(Requirement.both, (term.requirement() for term in self.terms))

    def paths(self) -> Iterator[Path]:
        """Those of all."""
        for term in self.terms:
            yield from term.paths()

    def __str__(self) -> str:
        return " and ".join(_enclosed(term, And, Or) for term in self.terms)


@dataclass(frozen=True)
class Or(Term):
    """One of them."""

    terms: tuple[Term, ...]

    def value(self, scope: Scope) -> bool:
        """Whether one holds."""
        return any(term.holds(scope) for term in self.terms)

    def requirement(self) -> Requirement:
        """What all of them ask for."""
        return reduce(Requirement.either, (term.requirement() for term in self.terms))

    def paths(self) -> Iterator[Path]:
        """Those of all."""
        for term in self.terms:
            yield from term.paths()

    def __str__(self) -> str:
        return " or ".join(_enclosed(term, Or) for term in self.terms)


def _enclosed(term: Term, *looser: type[Term]) -> str:
    return f"({term})" if isinstance(term, looser) else str(term)
