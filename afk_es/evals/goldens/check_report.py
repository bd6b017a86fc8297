"""What a check of a golden came to, as data: for the pytest section, the CLI, the reports and their JSON. It knows no agent and no log."""

from __future__ import annotations

from typing import Literal

import msgspec

from afk_es.evals.goldens.divergence import Divergence, MatchMode, Place

Outcome = Literal["passed", "diverged", "not_measurable"]
"""passed: nothing differs that the mode looks at. diverged: something does. not_measurable: nothing could be compared, and `reason` says why."""

DIVERGENCES_KEPT = 50
"""Divergences that a report holds; those beyond it are counted in `more`."""


class LeftOver(msgspec.Struct, frozen=True):
    """A recorded answer that nobody asked for in the check."""

    recorded: Place
    what: str


class CheckedRun(msgspec.Struct, frozen=True):
    """One run of a golden in its check.

    Attributes:
        recorded: id of the golden's run.
        today: id of the run that it was compared with; "" where there was none.
        same: events that are the same on both sides.
        served: recorded answers that today's run was given; 0 for a run that really happened.
    """

    recorded: str
    today: str
    same: int
    served: int


class CheckReport(msgspec.Struct, frozen=True):
    """A golden and a run of today, compared.

    Attributes:
        name: of the golden.
        path: of its file; "" for one that was never written.
        mode: by which it was compared.
        outcome: see `Outcome`.
        divergences: by place, the first one first; at most `DIVERGENCES_KEPT`.
        more: divergences beyond those.
        served: recorded answers that were given to today's agent.
        leftovers: recorded answers that nobody asked for. Each is behind a divergence as well.
        notes: differences that the mode ignores, and what else a reader should know, one sentence each.
        reason: why it was not measurable; "" otherwise.
        duration_s: how long the check took, in seconds of the wall.
        runs: the runs that were compared, in order.
    """

    name: str
    path: str
    mode: MatchMode
    outcome: Outcome
    divergences: tuple[Divergence, ...] = ()
    more: int = 0
    served: int = 0
    leftovers: tuple[LeftOver, ...] = ()
    notes: tuple[str, ...] = ()
    reason: str = ""
    duration_s: float = 0.0
    runs: tuple[CheckedRun, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether it passed; a check that measured nothing did not."""
        return self.outcome == "passed"

    @property
    def first(self) -> Divergence | None:
        """The first divergence."""
        return self.divergences[0] if self.divergences else None

    @property
    def exit_code(self) -> int:
        """0 passed, 1 diverged, 3 not measurable."""
        return {"passed": 0, "diverged": 1, "not_measurable": 3}[self.outcome]
