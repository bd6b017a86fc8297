"""Claims about all of a run: never, always, eventually, what precedes what, what is answered by what, how often at most.

They are total: every event counts, also in a run that failed or was laid down, and of its subagents' runs too where that is asked for. A
verdict names the places that prove or break the claim. What is claimed of nothing holds, and says so: it was *not exercised*.

| claim | holds if | not exercised if |
|---|---|---|
| `never(p)` | p is so nowhere | what p speaks of never came up |
| `never(p, where=q)` | p is so nowhere where q is | q is so nowhere |
| `at_most(n, p)` | p is so at n places or fewer | p is so nowhere, and what it speaks of never came up |
| `always(p, where=q)` | p is so wherever q is | q is so nowhere |
| `always(p)` | p is so at every event; for a call pattern, at every call of that name | there is none |
| `eventually(p)` | p is so somewhere | never |
| `precedes(a, b)` | every b has an a before it | b is so nowhere |
| `responds(a, b)` | every a has a b after it | a is so nowhere |

What p speaks of:

* A call pattern with arguments speaks of the calls of that name (by what it counts). Without arguments it speaks of the tool, which came up
  if the agent had one of that name: `never(call("delete"))` of an agent without such a tool is not exercised, nor is a misspelt name.
* An expression that joins parts by `and` speaks of the events at which the parts hold that say what an event is about (`type`, `tool`,
  `agent`, `subagent`, `model`, `policy`, `rule` or `limit` equal to a text or `in` some): `tool = "refund" and step > 5` speaks of events
  about refund. If all parts are such, or none, it speaks of the events at which all its names mean something: `tool = "refund"` of events
  about any tool, `cost > 0.1` of events that have a cost.
* Of a function nobody knows; it was exercised. Give `where` to say what it speaks of.

Before and after is the order of events. A subagent's events stand behind the event that started it and before its parent's next one. Two
calls of one answer start one after the other and run side by side: `precedes(call("check", counted="succeeded"), call("pay"))` asks for
one that is done.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from afk_es.errors import UsageError
from afk_es.evals.assertions.family import Member, members
from afk_es.evals.assertions.happenings import FunctionError, Happening, Moment, What, happening
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict

LISTED = 100
"""Places that a verdict names, the first ones."""

TOLD = 3
"""Places that a message tells of."""


class Claim(ABC):
    """An assertion about all events of a run; made by the functions of this module."""

    def __init__(self, name: str, subagents: bool) -> None:
        self.name: str = name
        self.subagents = subagents

    async def check(self, evidence: Evidence) -> Verdict:
        """Whether it holds of the run. A function that raises fails it, at the event at which it did."""
        family = await members(evidence.log, evidence.run_id, subagents=self.subagents)
        try:
            return await self._judged(evidence, family)
        except FunctionError as error:
            return Verdict(self.name, False, str(error), positions=(error.place,))

    @abstractmethod
    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict: ...

    def _held(self, message: str, places: Sequence[Moment] = ()) -> Verdict:
        return Verdict(self.name, True, message, positions=_places(places))

    def _vacuous(self, message: str) -> Verdict:
        return Verdict(self.name, True, message, exercised=False)

    def _broken(self, message: str, places: Sequence[Moment]) -> Verdict:
        return Verdict(self.name, False, message, positions=_places(places))


class _AtMost(Claim):
    def __init__(self, name: str, subagents: bool, most: int, what: Happening, where: Happening | None) -> None:
        super().__init__(name, subagents)
        self._most = most
        self._what = what
        self._where = where

    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict:
        found = await self._what.moments(evidence, family)
        if self._where is not None:
            scope = await self._where.moments(evidence, family)
            if not scope:
                return self._vacuous(f"{self._where} is so nowhere")
            _left, found = _split(found, scope)
        if len(found) > self._most:
            # Those that are allowed break nothing.
            return self._broken(f"{self._what} is so {_counted(found)}: {_told(found)}", found[self._most :])
        if found:
            return self._held(f"{self._what} is so {_counted(found)}", found)
        if self._where is None and not await self._what.came_up(evidence, family):
            return self._vacuous(self._what.nothing())
        return self._held(f"{self._what} is so nowhere")


class _Always(Claim):
    def __init__(self, name: str, subagents: bool, what: Happening, where: Happening | None) -> None:
        super().__init__(name, subagents)
        self._what = what
        self._where = where

    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict:
        if self._where is not None:
            scope = await self._where.moments(evidence, family)
        else:
            scope = await self._what.scope(evidence, family)
        if not scope:
            return self._vacuous(f"{self._where} is so nowhere" if self._where is not None else self._what.nothing())
        broken, held = _split(scope, await self._what.moments(evidence, family))
        if not broken:
            return self._held(f"{self._what} is so at all {len(scope)} places", held)
        way_out = "" if self._where is not None or held else "; it is meant for some events only? Say for which: where=..."
        return self._broken(f"{self._what} is not so {_counted(broken)} of {len(scope)}: {_told(broken)}{way_out}", broken)


class _Eventually(Claim):
    def __init__(self, name: str, subagents: bool, what: Happening) -> None:
        super().__init__(name, subagents)
        self._what = what

    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict:
        found = await self._what.moments(evidence, family)
        if found:
            return self._held(f"{self._what} is so {_counted(found)}", found)
        end = evidence.result.state_snapshot.seq
        return Verdict(self.name, False, f"{self._what} is so nowhere, up to the end of the run", positions=(str(end),))


class _Precedes(Claim):
    def __init__(self, name: str, subagents: bool, first: Happening, then: Happening) -> None:
        super().__init__(name, subagents)
        self._first = first
        self._then = then

    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict:
        later = await self._then.moments(evidence, family)
        if not later:
            return self._vacuous(f"{self._then} is so nowhere")
        earlier = (await self._first.moments(evidence, family))[:1]
        broken = [moment for moment in later if not earlier or earlier[0].order >= moment.order]
        if not broken:
            return self._held(f"{_told(earlier)} is before {_told(later)}", [earlier[0], *later])
        there = f"the first {self._first} is {_told(earlier)}" if earlier else f"{self._first} is so nowhere"
        return self._broken(f"nothing before {_told(broken)}: {there}", broken)


class _Responds(Claim):
    def __init__(self, name: str, subagents: bool, first: Happening, then: Happening) -> None:
        super().__init__(name, subagents)
        self._first = first
        self._then = then

    async def _judged(self, evidence: Evidence, family: Sequence[Member]) -> Verdict:
        earlier = await self._first.moments(evidence, family)
        if not earlier:
            return self._vacuous(f"{self._first} is so nowhere")
        later = (await self._then.moments(evidence, family))[-1:]
        broken = [moment for moment in earlier if not later or later[0].order <= moment.order]
        if not broken:
            return self._held(f"{_told(later)} is after {_told(earlier)}", [*earlier, later[0]])
        there = f"the last {self._then} is {_told(later)}" if later else f"{self._then} is so nowhere"
        return self._broken(f"nothing after {_told(broken)}: {there}", broken)


def never(what: What, *, where: What | None = None, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that something is so nowhere.

    Args:
        what: an expression, a `call(...)` or a function of an event.
        where: only there; default everywhere.
        subagents: in its subagents' runs as well, at every level; default False.
        name: what reports call it; default, the claim as it is written.

    Raises:
        ExpressionError: a text that is no expression.
        UsageError: nothing that a claim can speak of.
    """
    speaks, at = happening(what), _where(where)
    return _AtMost(name or _named("never", speaks, at), subagents, 0, speaks, at)


def at_most(most: int, what: What, *, where: What | None = None, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that something is so at no more than that many places; the rest as for `never`."""
    if most < 0:
        raise UsageError(f"at most {most} times is no claim that can hold; give 0 or more")
    speaks, at = happening(what), _where(where)
    return _AtMost(name or _named(f"at most {most}", speaks, at), subagents, most, speaks, at)


def always(what: What, *, where: What | None = None, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that something is so at every event, or wherever `where` is; the rest as for `never`.

    Args:
        where: default every event; for a call pattern with arguments every call of that name, without every call.
    """
    speaks, at = happening(what), _where(where)
    return _Always(name or _named("always", speaks, at), subagents, speaks, at)


def eventually(what: What, *, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that something is so somewhere; the rest as for `never`."""
    speaks = happening(what)
    return _Eventually(name or _named("eventually", speaks, None), subagents, speaks)


def precedes(first: What, then: What, *, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that each `then` has a `first` before it; the rest as for `never`."""
    earlier, later = happening(first), happening(then)
    return _Precedes(name or f"{earlier} precedes {later}", subagents, earlier, later)


def responds(first: What, then: What, *, subagents: bool = False, name: str | None = None) -> Claim:
    """The claim that each `first` has a `then` after it; the rest as for `never`."""
    earlier, later = happening(first), happening(then)
    return _Responds(name or f"{later} responds to {earlier}", subagents, earlier, later)


def _where(where: What | None) -> Happening | None:
    return None if where is None else happening(where)


def _named(claim: str, what: Happening, where: Happening | None) -> str:
    return f"{claim} {what}" if where is None else f"{claim} {what} where {where}"


def _split(moments: Sequence[Moment], others: Sequence[Moment]) -> tuple[list[Moment], list[Moment]]:
    """The moments that are not among the others, and those that are. Of two calls, by call; else by event."""
    calls = {(each.order, each.index) for each in others}
    events = {each.order for each in others}
    by_call = all(each.index >= 0 for each in (*moments[:1], *others[:1]))
    left: list[Moment] = []
    both: list[Moment] = []
    for each in moments:
        among = (each.order, each.index) in calls if by_call else each.order in events
        (both if among else left).append(each)
    return left, both


def _places(moments: Sequence[Moment]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(moment.place for moment in moments[:LISTED]))


def _counted(moments: Sequence[Moment]) -> str:
    return "once" if len(moments) == 1 else f"{len(moments)} times"


def _told(moments: Sequence[Moment]) -> str:
    told = ", ".join(f"{moment.text} at {moment.place}" for moment in moments[:TOLD])
    return told if len(moments) <= TOLD else f"{told} and {len(moments) - TOLD} more"
