"""Which tests asked for which goldens, and what came of it: gathered from test reports, so that it is the same with and without workers.

Nothing here knows an agent or a log: it is imported by every test session.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Came = Literal["passed", "new", "updated", "diverged", "missing", "not_measurable"]

OUTCOMES: tuple[Came, ...] = get_args(Came)
"""What can come of a golden, in the order in which they are counted."""

FAILED: frozenset[Came] = frozenset({"diverged", "missing", "not_measurable"})


@dataclass(frozen=True)
class GoldenUse:
    """A golden that a test asked for.

    Attributes:
        path: its file, absolute.
        outcome: what came of it. updated: it was written anew, for the reason in `category`.
        category: of `--golden-update`, for what was written.
        state: what the live run came to, of one that was recorded.
        lines: the text of what differs, line by line, each with its tone; of a missing one, what to do.
        report: the check's report as JSON data; for what could not be checked, one that says why.
    """

    path: str
    outcome: Came
    category: str = ""
    state: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the test that asked for it has failed by it."""
        return self.outcome in FAILED


def packed(uses: Iterable[GoldenUse]) -> str:
    """Uses as a text that gets through from a worker: in ASCII, whatever is in the agents' texts."""
    return json.dumps([asdict(use) for use in uses], default=str)


def unpacked(text: str) -> list[GoldenUse]:
    """The uses that `packed` packed."""
    made = json.loads(text)
    return [GoldenUse(**{**use, "lines": tuple((line, tone) for line, tone in use["lines"])}) for use in made]


@dataclass
class TestRun:
    """A test of the session, and its goldens.

    Attributes:
        file: its module; None while only its report is known.
        asks: whether it takes the `golden` fixture.
        passed: None before it has run.
    """

    __test__ = False

    nodeid: str
    file: Path | None = None
    asks: bool = False
    passed: bool | None = None
    uses: list[GoldenUse] = field(default_factory=list)


class Tally:
    """The tests of a session. Tests that run again, as some plugins have failing ones do, count with their last run."""

    def __init__(self) -> None:
        self.tests: dict[str, TestRun] = {}

    def collected(self, tests: Iterable[tuple[str, str, bool]]) -> None:
        """Tests that were collected: node id, file, and whether it takes the fixture."""
        for nodeid, file, asks in tests:
            test = self._test(nodeid)
            test.file, test.asks = Path(file), asks

    def reported(self, nodeid: str, when: str, outcome: str, uses: str | None) -> None:
        """A report of pytest: of the setup, the call or the teardown of a test."""
        test = self._test(nodeid)
        if when == "setup":
            test.passed, test.uses = None, []
        if uses is not None:
            test.uses += unpacked(uses)
        if outcome != "passed":
            test.passed = False
        elif when == "call" and test.passed is None:
            test.passed = True

    def uses(self) -> list[tuple[str, GoldenUse]]:
        """Every use with the node id of its test."""
        return [(test.nodeid, use) for test in self.tests.values() for use in test.uses]

    def counts(self) -> dict[str, int]:
        """How many checks came to what; what none came to is left out."""
        found = Counter(use.outcome for _nodeid, use in self.uses())
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}

    def _test(self, nodeid: str) -> TestRun:
        return self.tests.setdefault(nodeid, TestRun(nodeid))
