"""A golden in trajectory mode by another measure than exact: in order, unordered, subset or superset, with matchers for arguments.

Which call has which counterpart is `trajectory`'s affair, by the largest pairing; here its reasons become divergences in their classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from afk_es.debugger.recording import Recording
from afk_es.evals.assertions.call_pattern import call_text
from afk_es.evals.assertions.calls import RecordedCall, calls_of
from afk_es.evals.assertions.trajectory import Missing, Trajectory, match_trajectory
from afk_es.evals.goldens.differences import Compared
from afk_es.evals.goldens.divergence import Divergence, Place


async def compare_trajectories(recorded: Recording, today: Recording, options: Mapping[str, Any]) -> Compared:
    """Compare the tool calls of two runs.

    Args:
        options: as of `Trajectory`: mode, arguments, tools, counted, subagents, parallel.

    Raises:
        UsageError: an option that there is not, or more calls than can be compared.
    """
    trajectory = await Trajectory.recorded(recorded.log, recorded.run_id, **options)
    which: dict[str, Any] = {"counted": trajectory.counted, "subagents": trajectory.subagents}
    expected = await calls_of(recorded.log, recorded.run_id, **which)
    made = await calls_of(today.log, today.run_id, **which)
    found = match_trajectory(trajectory.reference, made, mode=trajectory.mode, counted=trajectory.counted, parallel=trajectory.parallel)
    divergences: list[Divergence] = []
    if not found.ok:
        nearest = {each.nearest for each in found.missing}
        if trajectory.mode != "subset":
            divergences += [each for one in found.missing for each in _missing(one, expected[one.index], made, found.extra)]
        if trajectory.mode not in ("in_order", "superset"):
            divergences += [_extra(made[index]) for index in found.extra if index not in nearest or trajectory.mode == "subset"]
    notes = [] if found.exercised else [f"trajectory {trajectory.mode} was not exercised: there was no call to compare"]
    return Compared(divergences, 0, len(found.pairs), notes)


def _missing(one: Missing, expected: RecordedCall, made: list[RecordedCall], extra: tuple[int, ...]) -> Iterator[Divergence]:
    """A call without a counterpart: it has other arguments, comes in another order, or is not made."""
    place = _place(expected)
    nearest = made[one.nearest] if one.nearest in extra and one.nearest is not None else None
    if nearest is not None and one.why:
        for each in one.why:
            message = f"{expected.tool_name} is called with other arguments: {each}"
            yield Divergence("params", each.field, each.expected, each.actual, place, _place(nearest), message)
    elif nearest is not None:
        message = f"{expected.tool_name} is called, in another order"
        yield Divergence("order", "tool_name", expected.tool_name, nearest.tool_name, place, _place(nearest), message)
    else:
        message = f"{expected.tool_name} is called in the golden, and not today"
        yield Divergence("missing", "tool_name", expected.tool_name, None, place, None, message)


def _extra(call: RecordedCall) -> Divergence:
    message = f"{call.tool_name} is called today, and not in the golden"
    return Divergence("extra", "tool_name", None, call.tool_name, None, _place(call), message)


def _place(call: RecordedCall) -> Place:
    return Place(call.member.run_id, call.answer, call.step, (), "llm_completed", call_text(call), call.tool_name, call.tool_call_id)
