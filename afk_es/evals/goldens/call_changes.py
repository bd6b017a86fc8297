"""Tool calls that a run asked for and another did not, or asked for with other arguments, or in another place. Pure.

Calls are gathered for a whole run, since whether a call is gone or has only moved is known at its end. A call is matched with an equal one
first (the same agent, tool and arguments); what is left, with one of the same tool in the same answer, whose arguments then differ; then
with the one that stands in its place, whose name then differs; and what is left after that is missing, or extra.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from afk_es.debugger.changes import changes
from afk_es.evals.goldens.finding import Finding
from afk_es.machine.values import digest_json

ARGUMENTS_TOLD = 8
"""Arguments of one call that are each told to differ."""

Located = tuple[Finding, "Asked | None", "Asked | None"]


class Asked(NamedTuple):
    """A call that a model asked for.

    Attributes:
        path: the agents from the outermost to the one that asked.
        position: its place among the calls of the answer.
        ordinal: its place among the calls of the run, from 0.
        call_id: of it.
        at: whatever the caller knows the answer by; two calls with equal ones stand in answers that were compared.
    """

    path: tuple[str, ...]
    name: str
    arguments: Any
    position: int
    ordinal: int
    call_id: str
    at: Any = None

    @property
    def identity(self) -> str:
        return digest_json([self.path, self.name, self.arguments])


class AnswerChange(NamedTuple):
    """The calls of two answers that have no equal on the other side."""

    gone: list[Asked]
    come: list[Asked]


def answer_change(recorded: Sequence[Asked], today: Sequence[Asked]) -> AnswerChange:
    """The calls in which two answers differ; a call that only moved is in both lists."""
    if [(call.name, call.arguments) for call in recorded] == [(call.name, call.arguments) for call in today]:
        return AnswerChange([], [])
    gone: list[Asked] = []
    come: list[Asked] = []
    matcher = SequenceMatcher(None, [call.identity for call in recorded], [call.identity for call in today], autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag != "equal":
            gone += recorded[a:a_end]
            come += today[b:b_end]
    return AnswerChange(gone, come)


def counterparts(change: AnswerChange) -> list[tuple[Asked, Asked]]:
    """Of two answers, the calls that are the same but for their arguments, and then those that are the same but for the tool."""
    equal = {call.identity for call in change.gone} & {call.identity for call in change.come}
    gone = [call for call in change.gone if call.identity not in equal]
    come = [call for call in change.come if call.identity not in equal]
    pairs = _by(gone, come, lambda call: (call.path, call.name))
    taken = {id(call) for pair in pairs for call in pair}
    left = [call for call in gone if id(call) not in taken], [call for call in come if id(call) not in taken]
    return pairs + _by(*left, lambda call: (call.path, call.position))


def _by(gone: Sequence[Asked], come: Sequence[Asked], key: Any) -> list[tuple[Asked, Asked]]:
    waiting: dict[Hashable, list[Asked]] = defaultdict(list)
    for call in come:
        waiting[key(call)].append(call)
    return [(call, waiting[key(call)].pop(0)) for call in gone if waiting[key(call)]]


class CallLedger:
    """The calls of one comparison that have no equal in the answer they were compared with.

    Attributes:
        recorded, today: the calls of both sides by run, in order, for what stood in a place.
    """

    def __init__(self) -> None:
        self.recorded: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
        self.today: dict[tuple[str, ...], list[Asked]] = defaultdict(list)
        self._changes: list[AnswerChange] = []

    def enter(self, recorded: Sequence[Asked], today: Sequence[Asked]) -> AnswerChange:
        """Enter two answers that stand side by side, or one that stands alone."""
        for call in recorded:
            self.recorded[call.path].append(call)
        for call in today:
            self.today[call.path].append(call)
        change = answer_change(recorded, today)
        if change.gone or change.come:
            self._changes.append(change)
        return change

    def findings(self, then: str = "in the golden", now: str = "today") -> Iterator[Located]:
        """What all of it comes to, each with the calls that it is about; both sides by these words."""
        moved = self._moved()
        apart: set[int] = set()
        for change in self._changes:
            rest = AnswerChange(
                [call for call in change.gone if id(call) not in moved], [call for call in change.come if id(call) not in moved]
            )
            apart.update(id(call) for call in (*rest.gone, *rest.come))
            pairs = counterparts(rest)
            for old, new in pairs:
                yield from _pair(old, new, then, now)
            paired = {id(call) for pair in pairs for call in pair}
            for call in rest.gone:
                if id(call) not in paired:
                    message = f"{call.name} is called {then}, and not {now}"
                    yield Finding("call", "missing", "tool_name", call.name, None, message), call, None
            for call in rest.come:
                if id(call) not in paired:
                    message = f"{call.name} is called {now}, and not {then}"
                    yield Finding("call", "extra", "tool_name", None, call.name, message), None, call
        yield from self._orders(moved, apart)

    def _moved(self) -> dict[int, tuple[Asked, Asked]]:
        """The calls that are gone in one place and have come in another, by either one's id()."""
        waiting: dict[str, list[Asked]] = defaultdict(list)
        for change in self._changes:
            for call in change.come:
                waiting[call.identity].append(call)
        found: dict[int, tuple[Asked, Asked]] = {}
        for change in self._changes:
            for call in change.gone:
                if waiting[call.identity]:
                    other = waiting[call.identity].pop(0)
                    found[id(call)] = found[id(other)] = (call, other)
        return found

    def _orders(self, moved: dict[int, tuple[Asked, Asked]], apart: set[int]) -> Iterator[Located]:
        """Calls that come in another order, and where all come in the same one, that they come in other answers.

        Args:
            apart: calls without an equal on the other side, by their id().
        """
        for path in dict.fromkeys(old.path for old, _new in moved.values()):
            before = [call for call in self.recorded[path] if id(call) not in apart]
            after = [call for call in self.today[path] if id(call) not in apart]
            reordered = list(_reordered(before, after))
            yield from reordered
            apart_in_answers = ((old, new) for old, new in zip(before, after, strict=False) if old.position != new.position)
            if not reordered and (first := next(apart_in_answers, None)) is not None:
                message = f"the same calls come in the same order, and in other answers of the model; the first is {first[0].name}"
                yield Finding("event", "order", "position", first[0].position, first[1].position, message), *first


def _reordered(before: Sequence[Asked], after: Sequence[Asked]) -> Iterator[Located]:
    """Two orders of the same calls: what stands in the places of those that have moved, each told where it is met first."""
    met: Counter[str] = Counter()
    matcher = SequenceMatcher(None, [call.identity for call in before], [call.identity for call in after], autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            continue
        for side, calls in ((-1, before[a:a_end]), (1, after[b:b_end])):
            for offset, call in enumerate(calls):
                # Met on the other side before: told there.
                known = met[call.identity] * side < 0
                met[call.identity] += side
                if not known:
                    there, facing = (after, b) if side < 0 else (before, a)
                    other = there[min(facing + offset, len(there) - 1)]
                    yield _in_place(call, other) if side < 0 else _in_place(other, call)


def _in_place(old: Asked, new: Asked) -> Located:
    field = "arguments" if old.name == new.name else "tool_name"
    expected, actual = (call.arguments if field == "arguments" else call.name for call in (old, new))
    return Finding("call", "order", field, expected, actual, "the same calls come in another order"), old, new


def _pair(old: Asked, new: Asked, then: str, now: str) -> Iterator[Located]:
    if old.name != new.name:
        message = f"{old.name} is called here {then}, and {new.name} {now}"
        yield Finding("call", "missing", "tool_name", old.name, new.name, message), old, new
        return
    for number, change in enumerate(changes(old.arguments, new.arguments, "arguments")):
        if number >= ARGUMENTS_TOLD:
            return
        message = f"{old.name} is called with another {change.path.removeprefix('arguments.') if '.' in change.path else 'argument'}"
        yield Finding("call", "params", change.path, change.before, change.after, message), old, new
