"""How much of a golden has to be the same: which findings count in a mode, and what is said of those that do not. Pure."""

from __future__ import annotations

from collections import Counter

from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.finding import Finding, Subject

_COUNTED: dict[MatchMode, frozenset[Subject]] = {
    "strict": frozenset({"call", "policy", "end", "limit", "answer", "request", "agent", "engine", "event"}),
    "contract": frozenset({"call", "policy", "end"}),
    "trajectory": frozenset({"call"}),
}


def counts(finding: Finding, mode: MatchMode) -> bool:
    """Whether the finding is a divergence in this mode.

    A limit that is hit counts in contract mode, where it is told as the cause of what follows; one that is only described otherwise does not.
    """
    return finding.subject in _COUNTED[mode] or (mode == "contract" and finding.subject == "limit")


class Ignored:
    """Findings that a mode does not look at, counted by class."""

    def __init__(self, mode: MatchMode) -> None:
        self._mode = mode
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, finding: Finding) -> None:
        """One more."""
        self._counts[finding.kind] += 1
        self._first.setdefault(finding.kind, finding.field)

    def notes(self) -> list[str]:
        """One sentence for each class."""
        return [
            f"{self._mode} mode ignores {number} {'difference' if number == 1 else 'differences'} of class {kind}"
            f" ({self._first[kind]}{', ...' if number > 1 else ''})"
            for kind, number in self._counts.items()
        ]
