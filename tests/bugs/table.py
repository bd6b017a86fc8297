"""`python -m tests.bugs.table`: every planted bug, which invariant finds it, after how many examples and seconds, and how small the run gets.

Each search begins at seed 0. `--unplanted` plays the same seeds without the bug as well, where nothing may be found.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass

from afk_es.testing.invariants import Invariant
from tests.bugs.corpus import BUGS
from tests.bugs.hunting import ENOUGH, Find, hunt, shrunk
from tests.bugs.planting import Bug, planted


@dataclass(frozen=True)
class Row:
    """Of one bug: what found it, and the size of the run before and after shrinking, in events and actions."""

    bug: Bug
    find: Find | None
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    evaluations: int = 0
    seconds: float = 0.0
    false_alarm: Find | None = None

    @property
    def right(self) -> bool:
        """Whether an expected invariant found it, and nothing was found without it."""
        return self.find is not None and self.false_alarm is None and self.find.name in expected(self.bug)


def expected(bug: Bug) -> tuple[str, ...]:
    """The names of what may find it."""
    return tuple(kind.name if issubclass(kind, Invariant) else kind.__name__ for kind in bug.found_by)


def row_of(bug: Bug, *, first: int = 0, most: int = ENOUGH, unplanted: bool = False, evaluations: int = 600) -> Row:
    """Look for a bug, make what is found small with so many scripts at most, and play the same seeds without it."""
    with planted(bug):
        find = hunt(bug, first=first, most=most)
        if find is None:
            return Row(bug, None)
        small = shrunk(bug, find, most_evaluations=evaluations)
    alarm = hunt(bug, first=first, most=find.examples) if unplanted else None
    before, after = (small.before.events, small.before.actions), (small.after.events, small.after.actions)
    return Row(bug, find, before, after, small.evaluations, small.seconds, alarm)


def line(row: Row) -> str:
    """A row of the table, in Markdown."""
    if row.find is None:
        return f"| {row.bug.name} | not found | | | | | |"
    name = row.find.name if row.false_alarm is None else f"{row.find.name}; without the bug: {row.false_alarm.violation}"
    sizes = f"{row.before[0]} / {row.before[1]} | {row.after[0]} / {row.after[1]}"
    return (
        f"| {row.bug.name} | {name} | {row.find.examples} | {row.find.seconds:.2f} | {sizes} | {row.evaluations} in {row.seconds:.1f} s |"
    )


HEAD = """\
| planted bug | found by | examples | seconds | events / actions | shrunk to | scripts tried |
|---|---|---|---|---|---|---|"""


def main(arguments: list[str]) -> int:
    """Print the table; 1 where a bug was not found, or not by what is to find it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bugs.table", description=__doc__)
    parser.add_argument("names", nargs="*", help="of bugs; default all")
    parser.add_argument("--most", type=int, default=ENOUGH, help=f"seeds for each, default {ENOUGH}")
    parser.add_argument("--unplanted", action="store_true", help="play the same seeds without the bug as well")
    options = parser.parse_args(arguments)
    wrong = 0
    print(HEAD)
    for bug in BUGS:
        if options.names and not any(name in bug.name for name in options.names):
            continue
        row = row_of(bug, most=options.most, unplanted=options.unplanted)
        wrong += not row.right
        print(line(row), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
