"""What a claim about a run speaks of, found in it: events that an expression or a function picks, or calls that have a pattern."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TypeAlias

import msgspec

from afk_es.debugger import Expression, Recording, Search, parse
from afk_es.debugger.terms import Among, And, Comparison, Constant, Exists, Path, Term
from afk_es.errors import UsageError, text_of
from afk_es.evals.assertions.call_pattern import CallPattern, call_text
from afk_es.evals.assertions.calls import calls_in
from afk_es.evals.assertions.family import Member, Order, events_seen
from afk_es.evals.evidence import Evidence
from afk_es.machine import AgentRunEvent

What: TypeAlias = str | Expression | CallPattern | Callable[[AgentRunEvent], object]
"""What a claim speaks of: an expression of the debugger's language, such as 'tool = "refund" and step > 5'; a call pattern, such as
`call("refund", amount=lambda a: a > 100)`; or a function of an event that answers yes or no."""

_NAMING = frozenset({"type", "tool", "agent", "subagent", "model", "policy", "rule", "limit"})
"""Names that say what an event is about, rather than how it was."""


class Moment(msgspec.Struct, frozen=True):
    """A place at which something is so.

    Attributes:
        order: where it stands over the run and its subagents; one that is not greater than another does not come after it.
        place: as a verdict names it.
        text: in a few words.
        index: tells calls at one event apart; -1 for an event.
    """

    order: Order
    place: str
    text: str
    index: int = -1


class FunctionError(Exception):
    """A function of the caller's that failed at an event. `place` is where, as a verdict names it."""

    def __init__(self, message: str, place: str) -> None:
        super().__init__(message)
        self.place = place


class Happening(ABC):
    """Something that is so at some places of a run, and at others not. `str()` of it is how it was written."""

    @abstractmethod
    async def moments(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        """All places at which it is so, in order.

        Raises:
            FunctionError: a function failed.
        """

    @abstractmethod
    async def came_up(self, evidence: Evidence, family: Sequence[Member]) -> bool:
        """Whether what it speaks of came up at all, so that its being nowhere so says something; see `afk_es.evals.assertions.temporal`."""

    @abstractmethod
    def nothing(self) -> str:
        """That it never came up, in words."""

    async def scope(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        """The places at which it could be so, for a claim that it always is: all events."""
        return [_at(member, event) for member in family async for event in events_seen(evidence, member)]


def happening(what: What) -> Happening:
    """What a claim speaks of.

    Raises:
        ExpressionError: a text that is no expression.
        UsageError: it is none of what `What` says.
    """
    offered: object = what
    match offered:
        case str():
            return _Said(parse(offered))
        case Expression():
            return _Said(offered)
        case CallPattern():
            return _Called(offered)
        case _ if callable(offered) and not inspect.isclass(offered):
            return _Picked(offered)
        case _:
            raise UsageError(f"a claim speaks of an expression, call(...) or a function of an event, not of {offered!r:.80}")


class _Said(Happening):
    """An expression: at the events at which `afk-es find` finds it."""

    def __init__(self, expression: Expression) -> None:
        self._expression = expression

    def __str__(self) -> str:
        return self._expression.text

    async def moments(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        found = []
        for member in family:
            search = Search(await Recording.open(evidence.log, member.run_id))
            found += [_at(member, scope.event) async for scope in search.hits(self._expression)]
        return found

    async def came_up(self, evidence: Evidence, family: Sequence[Member]) -> bool:
        for member in family:
            if await Search(await Recording.open(evidence.log, member.run_id)).first(self._subject) is not None:
                return True
        return False

    def nothing(self) -> str:
        return (
            f"there is no event at which {self._subject} is so" if self._subject.term != self._expression.term else f"{self} is so nowhere"
        )

    @cached_property
    def _subject(self) -> Expression:
        """The part that says what the events are about; where all of it does, or none, that its names mean something there."""
        term = self._expression.term
        parts = term.terms if isinstance(term, And) else (term,)
        naming = tuple(part for part in parts if _names(part))
        if not naming or len(naming) == len(parts):
            naming = tuple(Exists(path) for path in dict.fromkeys(term.paths()))
        subject: Term = And(naming) if len(naming) != 1 else naming[0]
        return Expression(str(subject), subject)


def _names(part: Term) -> bool:
    match part:
        case Comparison(Path(name, ()), "=", Constant(str())) | Among(Path(name, ()), _, False):
            return name in _NAMING
        case _:
            return False


class _Called(Happening):
    """A call pattern: at the calls that it fits, each where it stands by what counts."""

    def __init__(self, pattern: CallPattern) -> None:
        self._pattern = pattern

    def __str__(self) -> str:
        return str(self._pattern)

    async def moments(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        return await self._found(evidence, family, self._pattern)

    async def scope(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        return await self._found(evidence, family, self._of_that_name if self._pattern.arguments is not None else _ANY)

    async def came_up(self, evidence: Evidence, family: Sequence[Member]) -> bool:
        if self._pattern.arguments is not None:
            return bool(await self._found(evidence, family, self._of_that_name))
        for member in family:
            async for event in events_seen(evidence, member):
                if event.type == "run_started" and self._offered(event):
                    return True
        return False

    def nothing(self) -> str:
        if self._pattern.arguments is not None:
            return f"{self._pattern.tool} was not called"
        return f"there is no tool {self._pattern.tool} that could have been called"

    def _offered(self, event: AgentRunEvent) -> bool:
        names = [tool["name"] for tool in event.data.get("agent", {}).get("tools", ())]
        return any(name == self._pattern.tool or fnmatchcase(name, self._pattern.tool) for name in names)

    @property
    def _of_that_name(self) -> CallPattern:
        return CallPattern(self._pattern.tool, agent=self._pattern.agent, counted=self._pattern.counted)

    async def _found(self, evidence: Evidence, family: Sequence[Member], pattern: CallPattern) -> list[Moment]:
        counted = self._pattern.counted
        calls = await calls_in(evidence, counted=counted, subagents=len(family) > 1)
        found = [
            Moment((*each.member.path, seq), each.member.place(seq), call_text(each, counted), each.index)
            for each in calls
            if pattern.fits(each, counted) and (seq := each.seq_as(counted))
        ]
        return sorted(found, key=lambda moment: (moment.order, moment.index))


_ANY = CallPattern("*")


class _Picked(Happening):
    """A function of an event: at the events to which it answers yes."""

    def __init__(self, function: Callable[[AgentRunEvent], object]) -> None:
        self._function = function

    def __str__(self) -> str:
        name = getattr(self._function, "__name__", type(self._function).__name__)
        return "a function" if name == "<lambda>" else name

    async def moments(self, evidence: Evidence, family: Sequence[Member]) -> list[Moment]:
        return [_at(member, event) for member in family async for event in events_seen(evidence, member) if self._answer(member, event)]

    def nothing(self) -> str:
        return "there was no event"

    async def came_up(self, evidence: Evidence, family: Sequence[Member]) -> bool:
        return True  # A function was asked about every event; what it speaks of, nobody knows.

    def _answer(self, member: Member, event: AgentRunEvent) -> bool:
        at = _at(member, event)
        try:
            answer = self._function(event)
            if not inspect.isawaitable(answer):
                return bool(answer)
        except Exception as error:
            raise FunctionError(f"{self} raised {type(error).__name__}: {text_of(error)} at {at.place} ({at.text})", at.place) from error
        if inspect.iscoroutine(answer):
            answer.close()
        raise FunctionError(f"{self} is async, and a claim asks a plain function about each event", at.place)


def _at(member: Member, event: AgentRunEvent) -> Moment:
    about = event.data.get("tool_name") or event.data.get("subagent_name") or ""
    return Moment((*member.path, event.seq), member.place(event.seq), f"{event.type} {about}".rstrip())
