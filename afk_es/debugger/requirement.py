"""What every event has for which something holds: what a store can be asked for, ahead of looking."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from afk_es.redaction import MARK

_STRUCTURE = re.compile(r"[,:\[\]{}]")


@dataclass(frozen=True, slots=True)
class Requirement:
    """What every event has, at which a term holds. Others may have it too: it is for asking a store, and the answer is looked at again.

    Attributes:
        types: it is of one of these types; None: of any.
        texts: its message and data contain each of these, in upper or lower case.
        first, last: its seq is in between, both included; None: there is no last.
    """

    types: frozenset[str] | None = None
    texts: frozenset[str] = frozenset()
    first: int = 1
    last: int | None = None

    @property
    def impossible(self) -> bool:
        """Whether no event can be so."""
        return (self.types is not None and not self.types) or (self.last is not None and self.last < self.first)

    def both(self, other: Requirement) -> Requirement:
        """What events have that meet both."""
        if self.types is None or other.types is None:
            types = other.types if self.types is None else self.types
        else:
            types = self.types & other.types
        ends = [each for each in (self.last, other.last) if each is not None]
        return Requirement(types, self.texts | other.texts, max(self.first, other.first), min(ends, default=None))

    def either(self, other: Requirement) -> Requirement:
        """What events have that meet one or the other."""
        if self.impossible or other.impossible:
            return other if self.impossible else self
        types = None if self.types is None or other.types is None else self.types | other.types
        last = None if self.last is None or other.last is None else max(self.last, other.last)
        return Requirement(types, self.texts & other.texts, min(self.first, other.first), last)


ANYTHING = Requirement()


def as_shown(required: Requirement, mark: str) -> Requirement:
    """What a store can be asked for where events are judged without what is kept back: not for what may stand in its place.

    Args:
        mark: what stands in its place.
    """
    if mark != MARK:
        # Without the brackets around it, it may make one word with what is beside it.
        return replace(required, texts=frozenset())
    return replace(required, texts=frozenset(text for text in required.texts if text.casefold() not in MARK))


def stored_text(text: str) -> frozenset[str]:
    """What a store can be asked for where an event contains the text: the longest part of it that is within one word or number, if any."""
    # What stands between values in JSON depends on how a row keeps them.
    longest = max(_STRUCTURE.split(text), key=len)
    return frozenset({longest}) if longest else frozenset()
