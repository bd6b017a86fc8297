"""What an exploration raises: a violation told in a few lines, a run that does not repeat, and what was never exercised."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from afk_es.testing.exploring.artefact import debug_command, golden_command, where
from afk_es.testing.exploring.coverage import Explored
from afk_es.testing.exploring.shrinking import Shrunk
from afk_es.testing.exploring.telling import told
from afk_es.testing.simulation.facts import Script
from afk_es.testing.simulation.world import Simulation


@dataclass(frozen=True, slots=True)
class Find:
    """A script that violated something while an exploration looked.

    Attributes:
        example: the number of the example that showed it first.
        seconds: after how many real seconds that was.
    """

    script: Script
    violation: Exception
    example: int
    seconds: float


class ViolationFound(AssertionError):
    """An example violates an invariant; the message tells the smallest that was found, and how to open it.

    Attributes:
        violation: what the invariant raised.
        name: the invariant's name.
        script: the smallest script that violates it.
        path: its log; None where none was to be written.
        find: how it was found.
        shrunk: how it was made small.
    """

    def __init__(
        self, find: Find, shrunk: Shrunk, path: Path | None, seed: int, others: Sequence[str], unwritten: str | None = None
    ) -> None:
        at = where(shrunk.violation)
        self.violation: Exception = shrunk.violation
        self.name: str = at.name
        self.script: Script = shrunk.script
        self.path: Path | None = path
        self.find: Find = find
        self.shrunk: Shrunk = shrunk
        self.seed: int = seed
        self.others: tuple[str, ...] = tuple(others)
        place = "" if at.run_id is None else f", at seq {at.seq} of {at.run_id}" if at.seq is not None else f", in {at.run_id}"
        before, after = shrunk.before, shrunk.after
        lines = [f"{at.name}: {at.message}", "", *told(shrunk.script), "", f"Violated: {at.name}{place}."]
        if path is not None:
            lines += ["To look at it:", f"  {debug_command(shown(path), shrunk.violation)}"]
            lines += ["To keep it as a golden:", f"  {golden_command(shown(path))}"]
        if unwritten is not None:
            lines.append(f"Its log could not be written to {unwritten}; `directory=` says where else, and None means nowhere.")
        lines.append(
            f"Example {find.example} of seed {seed}, after {find.seconds:.1f} s; shrunk from {before.events} events and {before.actions} actions"
            f" to {after.events} and {after.actions} in {shrunk.seconds:.1f} s."
        )
        if others:
            lines.append(f"Violated on the way as well: {', '.join(others)}.")
        super().__init__("\n".join(lines))


class NotRepeatableError(AssertionError):
    """The same script did not do the same: the agent keeps something between runs, or looks at what is not simulated."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}\nAn example has to be a function of its script. Something of the agent's remembers earlier runs (a global, a list, a cache, a "
            "file) or asks the real world (time, chance, the network): in a tool that is played as 'real', a hook, a condition, an instruction, a "
            "router, or an invariant. Keep such state in the run's context, or let the tool be simulated."
        )


class NotExercisedError(AssertionError):
    """Something that was required to be reached never was, so the exploration proves little of it.

    Attributes:
        missing: its names.
        explored: what was reached.
    """

    def __init__(self, missing: Sequence[str], explored: Explored) -> None:
        self.missing: tuple[str, ...] = tuple(missing)
        self.explored: Explored = explored
        super().__init__(f"not exercised: {', '.join(missing)} was never reached in {explored.examples} examples\n{explored}")


def shown(path: Path) -> Path:
    """As short as it can be said from here."""
    here = Path(os.curdir).resolve()
    resolved = path.resolve()
    return resolved.relative_to(here) if resolved.is_relative_to(here) else resolved


def difference(first: Simulation, second: Simulation) -> str | None:
    """Where two simulations of one script went apart; None where they did not."""
    ours = [(run.run_id, event.seq, event.type, event.data) for run in first.runs.values() for event in run.events]
    theirs = [(run.run_id, event.seq, event.type, event.data) for run in second.runs.values() for event in run.events]
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            keys = [key for key in one[3] if one[3].get(key) != other[3].get(key)] if one[2] == other[2] else []
            what = f" ({', '.join(keys)})" if keys else ""
            return f"the same script did not do the same: seq {one[1]} was {one[2]}, and is {other[2]}{what}"
    if len(ours) != len(theirs):
        return f"the same script did not do the same: it made {len(ours)} events, and then {len(theirs)}"
    return None


for _error in (ViolationFound, NotRepeatableError, NotExercisedError):
    # As users import them: a test's report begins with the name of what was raised.
    _error.__module__ = "afk_es.testing"
