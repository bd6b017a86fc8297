"""What rows say: those of attempts that never started, and in words what was wrong with the others."""

from __future__ import annotations

from afk_es.core import AgentResult
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.models import EvalCase
from afk_es.evals.outcomes import EvalCaseResult, Outcome
from afk_es.evals.verdict import Verdict


def not_run(case: EvalCase, number: int, reason: str) -> EvalCaseResult:
    """The row of an attempt that was never started."""
    expected = case.expected_state
    return EvalCaseResult.model_construct(
        name=case.name,
        attempt=number,
        outcome="not_run",
        expected_state=expected if isinstance(expected, tuple) else (expected,),
        reasons=(Verdict("not_run", False, reason),),
        tags=case.tags,
        metadata=case.metadata,
    )


def about_state(case: EvalCase, result: AgentResult) -> str:
    """What is wrong with the state of a run that its case does not accept."""
    expected = case.expected_state
    wanted = " or ".join(expected) if isinstance(expected, tuple) else expected
    return f"the run is {result.state}, and was to be {wanted}" + (f": {result.error}" if result.error else "")


def about_golden(report: CheckReport) -> str:
    """In what a run parts from its golden: the first divergence, and how many there are."""
    first = report.first
    if first is None:
        return f"{report.name}: {report.reason}"
    others = len(report.divergences) + report.more - 1
    more = f" (and {others} more)" if others else ""
    return f"{report.name}: {first.kind}, {first.field}: {first.message}{more}"


def error_of(result: AgentResult | None, outcome: Outcome, reasons: tuple[Verdict, ...]) -> str | None:
    """The row's error: the run's, or why there was nothing to judge; None where there is none."""
    if result is not None and result.error is not None:
        return result.error
    return reasons[0].message if outcome == "error" and reasons else None
