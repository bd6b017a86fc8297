"""Which call of a run is which of a reference, and why what is left over has no counterpart. What the modes mean is said in `trajectory`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from typing import Literal, TypeAlias, get_args

import msgspec

from afk_es.errors import UsageError
from afk_es.evals.assertions.call_pattern import CallPattern, call_text
from afk_es.evals.assertions.calls import Counted, RecordedCall
from afk_es.evals.assertions.expectations import Mismatch
from afk_es.evals.assertions.pairing import Fits, Pairs, most_in_groups, most_in_order, most_pairs

TrajectoryMode: TypeAlias = Literal["exact", "in_order", "unordered", "subset", "superset"]
Parallel: TypeAlias = Literal["listed", "free"]
MODES: tuple[TrajectoryMode, ...] = get_args(TrajectoryMode)
_MAY_LACK = frozenset({"subset"})
_MAY_HAVE_MORE = frozenset({"in_order", "superset"})
_ORDERED = frozenset({"exact", "in_order"})

LARGEST = 4_000_000
"""Pairs of an expected call and one that was made that are looked at, at most: some seconds of work."""

_LARGEST_FREE = 20_000_000
"""Expected calls, squared, times the made ones that share their answer with others, at most, for `parallel="free"`."""

REASONS = 5
"""Reasons that a message has; `details` has all, up to `LISTED` of each kind."""


class Missing(msgspec.Struct, frozen=True):
    """A call of the reference that was not made.

    Attributes:
        index: its place in the reference, from 0.
        expected: the call, as a person would write it.
        nearest: the place in the run's calls of the one that comes closest; None where there is none to that tool.
        why: in what that one differs; empty where it would fit and stands elsewhere in the order, or is taken.
        taken_by: the place in the reference of the call that `nearest` is paired with; None where it is free.
    """

    index: int
    expected: str
    nearest: int | None
    why: tuple[Mismatch, ...]
    taken_by: int | None


class TrajectoryMatch(msgspec.Struct, frozen=True):
    """What the comparison of a run's calls with a reference came to.

    Attributes:
        ok: whether the mode is content.
        exercised: False for a vacuous pass.
        pairs: places in the reference and in the run's calls.
        missing: what the reference has and the run has not, whether the mode minds or not.
        extra: places of the run's calls that the reference has not, whether the mode minds or not.
        score: the share that is right, from 0 to 1: of the reference for `in_order` and `superset`, of the run's calls for `subset`, of
            both for `exact` and `unordered`.
    """

    ok: bool
    exercised: bool
    pairs: tuple[tuple[int, int], ...]
    missing: tuple[Missing, ...]
    extra: tuple[int, ...]
    score: float


def match_trajectory(
    reference: Sequence[CallPattern],
    calls: Sequence[RecordedCall],
    *,
    mode: TrajectoryMode = "exact",
    counted: Counted = "permitted",
    parallel: Parallel = "listed",
) -> TrajectoryMatch:
    """Compare the calls of a run with a reference.

    Args:
        calls: as `calls_of` has them, in the order in which they were asked for.
        counted: which calls these are, which says whose arguments are meant.

    Raises:
        UsageError: reference and run have more than `LARGEST` pairs of calls.
    """
    sharing = _sharing(calls) if parallel == "free" and mode in _ORDERED else 0
    if len(reference) * len(calls) > LARGEST or len(reference) ** 2 * sharing > _LARGEST_FREE:
        raise UsageError(f"{len(reference)} expected calls and {len(calls)} made ones are more than can be compared; check a part of them")

    @cache
    def fits(here: int, there: int) -> bool:
        return reference[here].fits(calls[there], counted)

    pairs = _paired(len(reference), calls, fits, mode, parallel)
    held = dict(pairs)
    extra = tuple(sorted(set(range(len(calls))) - set(held.values())))
    missing = tuple(_missing(index, pattern, calls, counted, pairs, extra) for index, pattern in enumerate(reference) if index not in held)
    ok = (mode in _MAY_LACK or not missing) and (mode in _MAY_HAVE_MORE or not extra)
    vacuous = (mode in _MAY_HAVE_MORE and not reference) or (mode in _MAY_LACK and not calls)
    return TrajectoryMatch(ok, not vacuous, tuple(pairs), missing, extra, _score(mode, len(reference), len(calls), len(pairs)))


def _paired(expected: int, calls: Sequence[RecordedCall], fits: Fits, mode: TrajectoryMode, parallel: Parallel) -> Pairs:
    if mode not in _ORDERED:
        return most_pairs(expected, len(calls), fits)
    if parallel == "listed":
        return most_in_order(expected, len(calls), fits)
    return most_in_groups(expected, _answers(calls), fits)


def _answers(calls: Sequence[RecordedCall]) -> list[list[int]]:
    """The places of the calls, those of one answer together."""
    return [list(group) for _answer, group in groupby(range(len(calls)), lambda there: (calls[there].member, calls[there].answer))]


def _sharing(calls: Sequence[RecordedCall]) -> int:
    return sum(len(group) for group in _answers(calls) if len(group) > 1)


def _score(mode: TrajectoryMode, expected: int, made: int, paired: int) -> float:
    match mode:
        case "in_order" | "superset":
            whole = expected
        case "subset":
            whole = made
        case _:
            whole, paired = expected + made, 2 * paired
    return paired / whole if whole else 1.0


def _missing(
    index: int, pattern: CallPattern, calls: Sequence[RecordedCall], counted: Counted, pairs: Pairs, extra: Sequence[int]
) -> Missing:
    """With the nearest candidate: a free call before one that is taken, then the one with the fewest differences, then the closest by place."""
    candidates = [there for there in extra if pattern.names(calls[there])]
    if not candidates:
        candidates = [there for _here, there in pairs if pattern.names(calls[there])]
    if not candidates:
        return Missing(index, str(pattern), None, (), None)
    differences = {there: pattern.mismatches(calls[there], counted) for there in candidates}
    nearest = min(candidates, key=lambda there: (len(differences[there]), abs(there - index)))
    taken_by = next((here for here, there in pairs if there == nearest), None)
    return Missing(index, str(pattern), nearest, tuple(differences[nearest]), taken_by)


def telling(found: TrajectoryMatch, mode: TrajectoryMode) -> list[int]:
    """The calls that prove a match, or break it: what is too much, and what comes nearest to what is missing."""
    if found.ok:
        return [there for _here, there in found.pairs]
    extra = [] if mode in _MAY_HAVE_MORE else list(found.extra)
    nearest = [] if mode in _MAY_LACK else [each.nearest for each in found.missing if each.nearest is not None]
    return sorted({*extra, *nearest})


def reasons_of(found: TrajectoryMatch, mode: TrajectoryMode, calls: Sequence[RecordedCall], counted: Counted = "permitted") -> list[str]:
    """A sentence for each call that the mode minds: what is missing and why, then what is too much. None where all is well."""
    reasons = []
    if mode not in _MAY_LACK:
        reasons += [_why_missing(each, mode, calls, counted) for each in found.missing]
    if mode not in _MAY_HAVE_MORE:
        reasons += [f"not expected: {call_text(calls[there], counted)} at {place_of(calls[there], counted)}" for there in found.extra]
    return reasons


def _why_missing(each: Missing, mode: TrajectoryMode, calls: Sequence[RecordedCall], counted: Counted) -> str:
    missed = f"expected call {each.index + 1}, {each.expected}, was not made"
    if each.nearest is None:
        return f"{missed}: no such tool was called"
    nearest = calls[each.nearest]
    there = f"{call_text(nearest, counted)} at {place_of(nearest, counted)}"
    if each.why:
        return f"{missed}: nearest is {there}; {', '.join(map(str, each.why[:REASONS]))}"
    if each.taken_by is not None:
        return f"{missed}: {there} fits it, and is expected call {each.taken_by + 1}"
    return f"{missed} there: {there} is it, in another order" if mode in _ORDERED else f"{missed}: nearest is {there}"


def place_of(call: RecordedCall, counted: Counted) -> str:
    """Where it stands, as a verdict names it."""
    return call.member.place(call.seq_as(counted))
