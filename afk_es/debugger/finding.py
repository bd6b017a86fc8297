"""Find in a run what contains a text, or what an expression holds for: one after the other, or all that fit and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from afk_es.debugger.expression import NOTHING, Expression, ExpressionError, Need, parse
from afk_es.debugger.matching import Condition, Search
from afk_es.debugger.recording import Progress, Recording
from afk_es.debugger.requirement import Requirement, stored_text
from afk_es.debugger.scope import Scope
from afk_es.debugger.terms import Constant, Path
from afk_es.debugger.values import lowered
from afk_es.errors import UsageError
from afk_es.machine import AgentRunEvent, RunState
from afk_es.machine.values import clean_text
from afk_es.views import compact_json

_BEFORE, _AFTER = 30, 90
"""Characters around a find that an excerpt shows."""


@dataclass(frozen=True)
class Phrase:
    """An event whose type, message or data contains a text, in upper or lower case; names of fields are no part of what happened."""

    text: str

    @cached_property
    def requirement(self) -> Requirement:
        """That it contains it."""
        return Requirement(texts=stored_text(self.text))

    @property
    def need(self) -> Need:
        """Nothing else."""
        return NOTHING

    def may_hold(self, scope: Scope) -> bool:
        """As `holds`."""
        return True

    def holds(self, scope: Scope) -> bool:
        """Whether it contains it."""
        return self._place(scope.shown) is not None

    def _place(self, event: AgentRunEvent) -> str | None:
        """The text of the event, or of one value in it, that contains it."""
        sought = lowered(self.text)
        return next((text for text in (event.message, *_texts(event.data), event.type) if sought in lowered(text)), None)

    def quiet(self, before: RunState, after: RunState) -> bool:
        """States say nothing of what is between them."""
        return False

    def excerpt(self, event: AgentRunEvent) -> str:
        """The first place in the event where it is found, with some of what is around it; empty where it is not there (any more)."""
        return _around(self._place(event) or "", self.text)


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value, and its numbers as JSON writes them."""
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case _:
            yield compact_json(value)


def _around(text: str, sought: str) -> str:
    place = lowered(text).find(lowered(sought))
    if place < 0:
        return ""
    begin, end = max(0, place - _BEFORE), place + len(sought) + _AFTER
    return ("…" if begin else "") + text[begin:end] + ("…" if end < len(text) else "")


def sought(text: str) -> Expression | Phrase:
    """What a person wants to find: an expression where it is one that asks something, else the text itself, quotation marks taken off.

    `gap > 30s` is an expression; `timeout`, `error` and `"gap > 30s"` are texts.

    Raises:
        UsageError: there is nothing to find.
    """
    text = clean_text(text)
    if not text.strip():
        raise UsageError("there is nothing to find: give a text, or an expression such as latency > 5s")
    try:
        expression = parse(text)
    except ExpressionError:
        return Phrase(text)
    if isinstance(expression.term, Constant):
        constant = expression.term.constant
        return Phrase(constant) if isinstance(constant, str) and constant else Phrase(text)
    return Phrase(text) if isinstance(expression.term, Path) else expression


async def find(
    recording: Recording,
    condition: Condition,
    *,
    after: int = 0,
    before: int | None = None,
    backwards: bool = False,
    limit: int = 250,
    progress: Progress | None = None,
    search: Search | None = None,
) -> list[AgentRunEvent]:
    """At most `limit` events for which a condition holds, in order or the last first: a page of what fits, for whoever shows nothing else."""
    found: list[AgentRunEvent] = []
    if limit <= 0:
        return found
    async for scope in (search or Search(recording)).hits(condition, after=after, before=before, backwards=backwards, progress=progress):
        found.append(scope.event)
        if len(found) >= limit:
            break
    return found
