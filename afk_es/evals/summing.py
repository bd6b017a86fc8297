"""Adds rows up to what a suite came to. Pure."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import TypeVar

from afk_es.evals.models import EvalSuiteConfig
from afk_es.evals.outcomes import CaseStatistics, EvalCaseResult, EvalSuiteResult, ScoreSummary, TagSummary
from afk_es.evals.repeats import case_statistics, suite_statistics

N = TypeVar("N", int, float)


def suite_result(
    rows: Sequence[EvalCaseResult],
    config: EvalSuiteConfig,
    *,
    started_at: dt.datetime,
    duration_s: float,
    stopped: str | None = None,
    interrupted: bool = False,
    widest: int = 1,
) -> EvalSuiteResult:
    """What these rows come to, which are in the order of the cases. For arguments see `EvalSuiteResult`."""
    ran = [row for row in rows if row.outcome != "not_run"]
    passed = sum(row.passed for row in ran)
    pass_rate = passed / len(rows) if rows else 0.0
    repeated = _repeated(ran)
    judges = [verdict.details for row in ran for verdict in row.verdicts if "cost_usd" in verdict.details]
    return EvalSuiteResult(
        results=tuple(rows),
        total=len(rows),
        passed=passed,
        failed=len(ran) - passed,
        not_run=len(rows) - len(ran),
        errors=sum(row.outcome == "error" for row in ran),
        pass_rate=pass_rate,
        min_pass_rate=config.min_pass_rate,
        ok=bool(rows) and not interrupted and pass_rate >= config.min_pass_rate,
        interrupted=interrupted,
        stopped=stopped,
        started_at=started_at,
        duration_s=duration_s,
        total_tokens=_sum_of_known([row.tokens for row in ran]),
        total_cost_usd=_cost(ran) if all(row.cost_usd is not None for row in ran) else None,
        known_cost_usd=_cost(ran),
        judging_tokens=_sum_of_known([details.get("tokens") for details in judges]),
        judging_cost_usd=_sum_of_known([details["cost_usd"] for details in judges]),
        tags=_by_tag(rows),
        scores=_by_scorer(ran),
        not_exercised=_never_exercised(ran),
        cases=repeated,
        repeats=suite_statistics(repeated) if repeated else None,
        execution_mode=config.execution_mode,
        max_concurrency=config.max_concurrency,
        widest=widest,
    )


def _sum_of_known(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _cost(rows: Sequence[EvalCaseResult]) -> float:
    return math.fsum(row.cost_usd for row in rows if row.cost_usd is not None)


def _by_tag(rows: Sequence[EvalCaseResult]) -> dict[str, TagSummary]:
    tagged: dict[str, list[EvalCaseResult]] = {}
    for row in rows:
        for tag in dict.fromkeys(row.tags):
            tagged.setdefault(tag, []).append(row)
    summaries = {}
    for tag in sorted(tagged):
        group = tagged[tag]
        passed, left_out = sum(row.passed for row in group), sum(row.outcome == "not_run" for row in group)
        summaries[tag] = TagSummary(
            total=len(group), passed=passed, failed=len(group) - passed - left_out, not_run=left_out, pass_rate=passed / len(group)
        )
    return summaries


def _by_scorer(rows: Sequence[EvalCaseResult]) -> dict[str, ScoreSummary]:
    scores: dict[str, list[float]] = {}
    for row in rows:
        for name, score in row.scores.items():
            scores.setdefault(name, []).append(score)
    return {
        name: ScoreSummary(count=len(given), mean=math.fsum(given) / len(given), minimum=min(given), maximum=max(given))
        for name, given in scores.items()
    }


def _never_exercised(rows: Sequence[EvalCaseResult]) -> tuple[str, ...]:
    """Criteria that were asked, and never had anything to check."""
    exercised: dict[str, bool] = {}
    for row in rows:
        for verdict in row.verdicts:
            exercised[verdict.name] = exercised.get(verdict.name, False) or verdict.exercised
    return tuple(name for name, ever in exercised.items() if not ever)


def _repeated(rows: Sequence[EvalCaseResult]) -> tuple[CaseStatistics, ...]:
    """Statistics of the cases that ran more than once."""
    attempts: dict[str, list[bool]] = {}
    for row in rows:
        if row.outcome != "cancelled":
            attempts.setdefault(row.name, []).append(row.passed)
    return tuple(case_statistics(name, len(passed), sum(passed)) for name, passed in attempts.items() if len(passed) > 1)
