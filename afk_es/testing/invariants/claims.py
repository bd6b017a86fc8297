"""Claims and assertions of `afk_es.evals`, as invariants: asked of every run of a caller's that has ended, in a simulation."""

from __future__ import annotations

import inspect
from typing import Any

from afk_es.core import AgentResult
from afk_es.evals.assertions.criteria import Assertion, name_of
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.testing.invariants.invariant import Invariant
from afk_es.testing.simulation.observing import ObservedRun, at_once


class ClaimHolds(Invariant):
    """A claim such as `never(call("refund", amount=lambda a: a > 100))` holds of each run, whenever its caller has a result.

    Args:
        claim: what `check(evidence)` is asked of. It may look at the log; it cannot wait for anything.
    """

    def __init__(self, claim: Assertion) -> None:
        self.name: str = name_of(claim)
        self._claim = claim

    def ended(self, run: ObservedRun, result: AgentResult) -> None:
        """Ask it."""
        verdict: Any = self._claim.check(Evidence(result, self.simulation.log, events=list(run.events)))
        judged: Verdict = at_once(verdict) if inspect.iscoroutine(verdict) else verdict
        if not judged.passed:
            places = [place for place in judged.positions if place.isdecimal()]
            raise self.violated(judged.message, run, int(places[0]) if places else None)
