"""Trajectories: the tool calls of a run against those of a reference, with the reason for every call that has no counterpart.

| mode | a call may be missing | there may be others | order counts |
|---|---|---|---|
| exact | no | no | yes |
| in_order | no | yes | yes |
| unordered | no | no | no |
| subset | yes | no | no |
| superset | no | yes | no |

The pairs are as many as there can be: a longest common subsequence where order counts, a maximum matching where it does not. A call is
paired once: a reference that has `search` once allows it once.

What is known to go wrong in such comparisons (langchain-ai/agentevals does each of these), and what is done here:

| trap | here |
|---|---|
| `subset` compares the two sides the other way round and turns the modes of the arguments round as well | a call is compared with its pattern, never the pattern with the call, in all modes |
| `unordered` looks both ways, so that arguments in `superset` have to be equal | the same |
| the first call that fits is taken, and a pattern that only it could fit goes without | the largest pairing is looked for |
| an empty reference passes for any run in `superset` | so it does in `superset` and `in_order`, as *not exercised*; in the other modes it says that there are no calls |
| a run without calls passes any `subset` | so it does, as *not exercised* |
| calls of one answer run side by side, and their order is an accident of the listing | `parallel="free"` lets them stand in any order; "listed" (default) does not |
| arguments that are no JSON raise, and the row is lost | they fit what says so or ignores them, and are a reason otherwise |
| arguments are compared as texts in `strict`, so that 1 and 1.0, or two orders of keys, differ | they are compared as values |
| yes or no is all there is | a missing call has its nearest candidate and what differs, every other call its place |
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeAlias, get_args

import msgspec

from afk_es.errors import UsageError
from afk_es.evals.assertions.call_pattern import CallPattern, call_text, patterns_of
from afk_es.evals.assertions.calls import Counted, RecordedCall, calls_in, calls_of, check_counted
from afk_es.evals.assertions.expectations import MATCHES, ArgumentMatch
from afk_es.evals.assertions.trajectory_match import (
    MODES,
    REASONS,
    Missing,
    Parallel,
    TrajectoryMatch,
    TrajectoryMode,
    match_trajectory,
    place_of,
    reasons_of,
    telling,
)
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.log import EventLog
from afk_es.machine.values import plain

__all__ = [
    "Missing",
    "Parallel",
    "Reference",
    "ToolArguments",
    "Trajectory",
    "TrajectoryMatch",
    "TrajectoryMode",
    "match_trajectory",
    "reasons_of",
]

ToolArguments: TypeAlias = ArgumentMatch | Sequence[str] | Mapping[str, Any] | Callable[[dict[str, Any], Any], object]
"""How the arguments of one tool are compared: a mode; the names of those that count; a matcher for some of them, by name, the others as the
trajectory says; or a function of a call's arguments and the reference's."""

LISTED = 200
"""Calls of each kind that the details of a verdict have, the first ones."""

_QUICK = 10_000
"""Pairs of an expected call and one that was made that are looked at in the event loop, some 20 ms of work; more are in a thread."""


class Reference(Protocol):
    """Recorded runs with a log of their own. A `Golden` is one."""

    @property
    def runs(self) -> tuple[str, ...]:
        """Their ids, in order."""
        ...

    async def open_log(self) -> EventLog:
        """The log, open."""
        ...


class Trajectory:
    """An assertion and a scorer: the tool calls of a run are those of a reference.

    Args:
        reference: the calls in order, each as `CallPattern.of` takes it: a pattern, a tool's name for any arguments, or
            `("refund", {"order": 7})`. `Trajectory.recorded` and `Trajectory.of_golden` take those of a run.
        mode: see the table of this module.
        arguments: how arguments are compared where a pattern and `tools` do not say: "exact", "superset", "subset" or "ignore".
        tools: how those of single tools are, by name; see `ToolArguments`.
        counted: which calls count; see `afk_es.evals.assertions.calls.Counted`.
        subagents: those of its subagents' runs too, at every level.
        parallel: whether the calls of one answer are in the order in which the model listed them, or in any.
        threshold: from which score on `score` passes.

    Raises:
        UsageError: a mode that there is not, or a reference that is none.
    """

    def __init__(
        self,
        reference: Sequence[CallPattern | str | Mapping[str, Any] | Sequence[Any]],
        *,
        mode: TrajectoryMode = "exact",
        arguments: ArgumentMatch = "exact",
        tools: Mapping[str, ToolArguments] | None = None,
        counted: Counted = "permitted",
        subagents: bool = False,
        parallel: Parallel = "listed",
        threshold: float = 1.0,
        name: str | None = None,
    ) -> None:
        for what, value, legal in (("mode", mode, MODES), ("arguments", arguments, MATCHES), ("parallel", parallel, get_args(Parallel))):
            if value not in legal:
                raise UsageError(f"{what}={value!r} is none of: {', '.join(legal)}")
        if isinstance(reference, (str, Mapping)):
            raise UsageError(f"a reference is a list of calls; for this one write [{reference!r:.80}]")
        check_counted(counted)
        self.name: str = name or f"trajectory {mode}"
        self.reference: tuple[CallPattern, ...] = tuple(_said(CallPattern.of(each), arguments, tools or {}) for each in reference)
        self.mode: TrajectoryMode = mode
        self.counted: Counted = counted
        self.subagents = subagents
        self.parallel: Parallel = parallel
        self.threshold = threshold

    @classmethod
    async def recorded(cls, log: EventLog, run_id: str, *more: str, **options: Any) -> Trajectory:
        """One whose reference is the calls of a recorded run, or of several one after the other.

        Args:
            log: the open log that holds it.
            options: as of `Trajectory`; `counted` and `subagents` say which calls of the reference count, too.
        """
        counted, subagents = options.get("counted", "permitted"), options.get("subagents", False)
        calls = [call for each in (run_id, *more) for call in await calls_of(log, each, counted=counted, subagents=subagents)]
        return cls(patterns_of(calls, counted=counted, agents=subagents), **options)

    @classmethod
    async def of_golden(cls, golden: Reference, **options: Any) -> Trajectory:
        """One whose reference is the calls of a golden's runs, one after the other; options as of `recorded`."""
        return await cls.recorded(await golden.open_log(), *golden.runs, **options)

    async def check(self, evidence: Evidence) -> Verdict:
        """Whether the run's calls are those of the reference."""
        verdict = await self._verdict(evidence)
        return msgspec.structs.replace(verdict, score=None)

    async def score(self, evidence: Evidence) -> Verdict:
        """How much of it is right, from 0 to 1; good enough from `threshold` on. At 1.0 that is what `check` says."""
        verdict = await self._verdict(evidence)
        good = verdict.passed if self.threshold >= 1.0 else (verdict.score or 0.0) >= self.threshold
        return msgspec.structs.replace(verdict, passed=good)

    async def _verdict(self, evidence: Evidence) -> Verdict:
        calls = await calls_in(evidence, counted=self.counted, subagents=self.subagents)
        compare = partial(match_trajectory, self.reference, calls, mode=self.mode, counted=self.counted, parallel=self.parallel)
        try:
            found = await asyncio.to_thread(compare) if len(self.reference) * len(calls) > _QUICK else compare()
        except UsageError as error:
            return Verdict(self.name, False, str(error), score=0.0, details={"measurable": False})
        places = tuple(place_of(calls[there], self.counted) for there in telling(found, self.mode)[:LISTED])
        if not places and not found.ok:
            places = (str(evidence.result.state_snapshot.seq),)
        reasons = reasons_of(found, self.mode, calls, self.counted)
        told = "; ".join([_summary(found, self.mode, len(self.reference), len(calls)), *reasons[:REASONS]])
        more = f"; and {len(reasons) - REASONS} more" if len(reasons) > REASONS else ""
        return Verdict(
            self.name,
            found.ok,
            told + more,
            found.exercised,
            found.score,
            places,
            self._details(found, calls) if self.reference or calls else {},
        )

    def _details(self, found: TrajectoryMatch, calls: Sequence[RecordedCall]) -> dict[str, Any]:
        return {
            "mode": self.mode,
            "counted": self.counted,
            "reference": [str(pattern) for pattern in self.reference[:LISTED]],
            "calls": [{"call": call_text(each, self.counted), "at": place_of(each, self.counted)} for each in calls[:LISTED]],
            "pairs": [list(pair) for pair in found.pairs[:LISTED]],
            "missing": [plain(msgspec.to_builtins(each)) for each in found.missing[:LISTED]],
            "extra": list(found.extra[:LISTED]),
        }


def _said(pattern: CallPattern, arguments: ArgumentMatch, tools: Mapping[str, ToolArguments]) -> CallPattern:
    """The pattern with what the trajectory says of its tool."""
    how = tools.get(pattern.tool)
    if how is None:
        return pattern.of_trajectory(arguments)
    if isinstance(how, str):
        if how not in MATCHES:
            raise UsageError(f"tools[{pattern.tool!r}]={how!r} is none of: {', '.join(MATCHES)}")
        return pattern.of_trajectory(how)
    expected = pattern.arguments
    if callable(how) and not isinstance(how, Mapping):
        return replace(pattern, arguments=_Compared(how, expected))
    if not isinstance(expected, Mapping):
        return pattern.of_trajectory(arguments)
    if isinstance(how, Mapping):
        return replace(pattern, arguments={**expected, **how}, match=pattern.match or arguments)
    return replace(pattern, arguments={name: expected[name] for name in how if name in expected}, match=pattern.match or "superset")


class _Compared:
    """A function of a call's arguments and the reference's, which waits for the first."""

    def __init__(self, compare: Callable[[dict[str, Any], Any], object], expected: Any) -> None:
        self._compare = compare
        self._expected = expected
        self.__name__ = getattr(compare, "__name__", "the comparison")

    def __call__(self, actual: Any) -> object:
        return self._compare(actual, self._expected)


def _summary(found: TrajectoryMatch, mode: TrajectoryMode, expected: int, made: int) -> str:
    if not found.exercised:
        return f"nothing is required: the reference is empty, and {mode} allows other calls" if not expected else "no call was made"
    paired = len(found.pairs)
    return f"{paired} of {expected} expected calls were made" if expected else f"no call was expected, and {made or 'none'} made"
