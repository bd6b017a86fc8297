"""A report in GitHub's Markdown, short: for $GITHUB_STEP_SUMMARY and for comments on pull requests. What runs said stands in it as code."""

from __future__ import annotations

from afk_es.debugger.exchange.fences import block, cell, code
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import report_lines
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.reports.account import OUTCOME_WORDS, Account, check_of, command_of
from afk_es.evals.reports.figures import check_reason, ended, figures_of, idle_criteria, repeats_table, scores_table, tags_table, tone_of
from afk_es.evals.reports.tables import plain_or_code, table_markdown

_MOST_TOLD = 50
"""Rows and goldens that did not pass; a step's summary may have 1 MiB."""
_WIDTH = 100
_MARKS = {"good": "✅", "bad": "❌", "mark": "⚠️", "quiet": "⏭️"}


def report_markdown(account: Account) -> str:
    """The report."""
    figures = figures_of(account)
    parts = [
        f"## {_MARKS[tone_of(account.outcome)]} {plain_or_code(account.title)}: {OUTCOME_WORDS[account.outcome]}",
        account.summary,
        f"| {' | '.join(figure.name for figure in figures)} |\n|{'---|' * len(figures)}\n"
        f"| {' | '.join(cell(plain_or_code(figure.value)) for figure in figures)} |",
    ]
    suite = account.suite
    if suite is not None and suite.stopped:
        parts.append(f"It stopped early: {code(suite.stopped, 2_000)}")
    troubled = [row for row in account.rows if not row.passed]
    parts += [_row(row) for row in troubled[:_MOST_TOLD]]
    goldens = [report for report in account.checks if not report.ok]
    parts += [_golden(report) for report in goldens[:_MOST_TOLD]]
    more = max(0, len(troubled) - _MOST_TOLD) + max(0, len(goldens) - _MOST_TOLD)
    parts += [f"… and {more:,} more that did not pass."] if more else []
    if idle := idle_criteria(account):
        parts.append("### Not exercised\n\n" + "\n".join(f"* {code(name)}: {code(where)}" for name, where in idle[:_MOST_TOLD]))
    for table in () if suite is None else (repeats_table(suite), tags_table(suite), scores_table(suite)):
        if table is not None:
            parts.append(f"### {table.title}\n\n{table_markdown(table).rstrip()}")
    return "\n\n".join(parts) + "\n"


def _row(row: EvalCaseResult) -> str:
    head = f"{_MARKS[tone_of(row.outcome)]} **{code(row.label)}** {ended(row)}"
    reasons = "\n".join(f"* {code(reason.name)}: {code(reason.message, 1_000)}" for reason in row.reasons)
    command = command_of(row)
    check = None if row.golden is None else check_of(row)
    parts = [head, reasons, _difference(check) if check is not None and not check.ok else "", block(command, "sh") if command else ""]
    return "\n\n".join(part for part in parts if part)


def _golden(report: CheckReport) -> str:
    head = f"{_MARKS[tone_of(report.outcome)]} **{code(report.name)}** {OUTCOME_WORDS[report.outcome]}: {code(check_reason(report), 1_000)}"
    return f"{head}\n\n{_difference(report)}"


def _difference(report: CheckReport) -> str:
    # What is taken away and added stands at the beginning of a line, where Markdown's colours look for it.
    return block("\n".join(text.removeprefix("  ") for text, _tone in report_lines(report, _WIDTH)), "diff")
