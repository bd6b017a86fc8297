"""The figures of a report and its small tables, the same in every form: what it took, repeats, tags, scores, goldens."""

from __future__ import annotations

from typing import NamedTuple

from afk_es.debugger.exchange.phrases import counted
from afk_es.debugger.figures import dollars, span
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult, RepeatStatistics
from afk_es.evals.reports.account import OUTCOME_TONES, OUTCOME_WORDS, Account
from afk_es.evals.reports.lines import Tone
from afk_es.evals.reports.tables import Column, Row, Table


class Figure(NamedTuple):
    """A number with its name."""

    name: str
    value: str
    tone: Tone = "plain"


def figures_of(account: Account) -> list[Figure]:
    """What it comes to in numbers, the most telling ones first."""
    found: list[Figure] = []
    if (suite := account.suite) is not None:
        found += [
            Figure("rows", f"{suite.total:,}"),
            Figure("passed", f"{suite.passed:,}", "good" if suite.passed else "plain"),
            Figure("failed", f"{suite.failed:,}", "bad" if suite.failed else "plain"),
        ]
        found += [Figure("not run", f"{suite.not_run:,}", "mark")] if suite.not_run else []
        found.append(Figure("pass rate", percent(suite.pass_rate)))
    if goldens := account.goldens:
        held = sum(golden.report.ok for golden in goldens)
        found.append(Figure("goldens held", f"{held:,} of {len(goldens):,}", "plain" if held == len(goldens) else "bad"))
    if suite is not None:
        found += [Figure("took", span(suite.duration_s)), Figure("tokens", tokens(suite.total_tokens)), cost_of(suite)]
    elif account.checks:
        found += [
            Figure("took", span(sum(report.duration_s for report in account.checks))),
            Figure("answers served", f"{sum(report.served for report in account.checks):,}"),
        ]
    return found


def percent(share: float) -> str:
    """A share of one: 100 %, 66.7 %. Never 100 % of what is not all, nor 0 % of what is not nothing."""
    text = f"{share * 100:.1f}".removesuffix(".0")
    if text == "100" and share < 1:
        return "99.9 %"
    return "0.1 %" if text == "0" and share > 0 else f"{text} %"


def tokens(number: int | None) -> str:
    """How many tokens; in words where no provider said."""
    return "unknown" if number is None else f"{number:,}"


def cost_of(suite: EvalSuiteResult) -> Figure:
    """What a suite cost, or what is known of it where a price is unknown."""
    if suite.total_cost_usd is None and suite.known_cost_usd:
        return Figure("known cost", dollars(suite.known_cost_usd))
    return Figure("cost", dollars(suite.total_cost_usd))


def row_figures(row: EvalCaseResult) -> list[Figure]:
    """What a row took; nothing of one that did not run."""
    if row.started_at is None and row.run_id is None:
        return []
    known = [Figure("took", span(row.duration_s))]
    if row.run_id is not None:
        known += [
            Figure("steps", f"{row.steps:,}"),
            Figure("model calls", f"{row.llm_calls:,}"),
            Figure("tool calls", f"{row.tool_calls:,}"),
            Figure("tokens", tokens(row.tokens)),
            Figure("cost", dollars(row.cost_usd)),
        ]
    return known


def ended(row: EvalCaseResult) -> str:
    """How a row ended: its outcome, or the run's state where the row failed by that."""
    strange = row.state not in (None, *row.expected_state) and "any" not in row.expected_state
    return f"run {row.state}" if strange and row.outcome == "failed" else OUTCOME_WORDS[row.outcome]


def measured(report: CheckReport) -> str:
    """How much a check of a golden compared."""
    runs = counted(len(report.runs), "run")
    return f"{report.mode}, {runs}, {report.served:,} answers served" if report.served else f"{report.mode}, {runs}"


def check_reason(report: CheckReport) -> str:
    """Why a check did not pass, in a line; "" for one that did."""
    if report.outcome == "not_measurable":
        return report.reason
    first = report.first
    return "" if first is None else f"{first.kind}: {first.field}: {first.message}"


def _statistics_cells(statistics: RepeatStatistics) -> tuple[str, ...]:
    k = max(statistics.pass_at, default=0)
    low, high = statistics.interval
    return (
        f"{statistics.passed:,} of {statistics.attempts:,}",
        percent(statistics.pass_rate),
        f"{percent(low)} to {percent(high)}",
        f"{k}" if k else "",
        percent(statistics.pass_at[k]) if k else "",
        percent(statistics.pass_all[k]) if k in statistics.pass_all else "",
    )


def repeats_table(suite: EvalSuiteResult) -> Table | None:
    """What attempts say of each case that was repeated, and of all; None where nothing was."""
    if suite.repeats is None:
        return None
    heads = ("case", "passed", "rate", "95 % interval", "k", "pass@k", "pass^k")
    rows = [Row((case.name, *_statistics_cells(case)), _rate_tone(case)) for case in suite.cases]
    rows.append(Row(("all", *_statistics_cells(suite.repeats)), "strong"))
    about = "pass@k: at least one of k attempts passes; pass^k: all of them do. The interval is Wilson's."
    return Table("Repeats", _columns(heads), tuple(rows), about)


def tags_table(suite: EvalSuiteResult) -> Table | None:
    """Rows by tag; None without tags."""
    if not suite.tags:
        return None
    rows = tuple(
        Row(
            (name, f"{tag.total:,}", f"{tag.passed:,}", f"{tag.failed:,}", f"{tag.not_run:,}", percent(tag.pass_rate)),
            _tag_tone(tag.failed),
        )
        for name, tag in suite.tags.items()
    )
    return Table("Tags", _columns(("tag", "rows", "passed", "failed", "not run", "rate")), rows)


def scores_table(suite: EvalSuiteResult) -> Table | None:
    """Scores by scorer; None without any."""
    if not suite.scores:
        return None
    rows = tuple(
        Row((name, f"{each.count:,}", f"{each.mean:.3f}", f"{each.minimum:.3f}", f"{each.maximum:.3f}"))
        for name, each in suite.scores.items()
    )
    return Table("Scores", _columns(("scorer", "rows", "mean", "lowest", "highest")), rows)


def idle_criteria(account: Account) -> list[tuple[str, str]]:
    """Criteria that passed only because nothing was there to be checked: the name, and of which rows."""
    found: dict[str, list[str]] = {}
    for row in account.rows:
        for name in row.not_exercised:
            found.setdefault(name, []).append(row.label)
    nowhere = set(() if account.suite is None else account.suite.not_exercised)
    said = [(name, "in no row" if name in nowhere else _labels(labels)) for name, labels in found.items()]
    return sorted(said, key=lambda each: each[0] not in nowhere)


_LABELS_SHOWN = 5


def _labels(labels: list[str]) -> str:
    more = len(labels) - _LABELS_SHOWN
    return ", ".join(labels[:_LABELS_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


def _columns(names: tuple[str, ...]) -> tuple[Column, ...]:
    """The first names what a row is of; the others hold numbers."""
    return tuple(Column(name, right=bool(place), wide=not place) for place, name in enumerate(names))


def _rate_tone(statistics: RepeatStatistics) -> Tone:
    return "plain" if statistics.passed == statistics.attempts else "bad" if not statistics.passed else "mark"


def _tag_tone(failed: int) -> Tone:
    return "bad" if failed else "plain"


def tone_of(outcome: str) -> Tone:
    """How an outcome is meant."""
    return OUTCOME_TONES[outcome]
