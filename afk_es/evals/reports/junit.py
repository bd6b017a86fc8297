"""A report as JUnit XML, for the test pages of CI systems. What it holds is what Jenkins' and Surefire's schemas both allow.

Consumers differ in what they show, so what matters stands where each of them looks: the reason is the message and the text of a failure (GitLab
shows the text alone), names are unlike within a suite (GitLab drops the second of two), there is one failure for a case (Jenkins keeps one), and the
suite's name is the class of its cases. Neither schema has properties of a case: a case's run, tokens and cost stand in its output, and the suite's
properties have the totals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from afk_es.debugger.exchange.markup import cut, element, inert
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import report_lines
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.reports.account import Account, check_of, command_of
from afk_es.evals.reports.figures import check_reason, ended, measured, row_figures
from afk_es.evals.verdict import Verdict
from afk_es.views import clipped, visible

_MESSAGE = 500
"""Columns of a message, which consumers show in one line."""
_TEXT = 20_000
"""Characters of one text; GitLab reads no file beyond 30 MB."""

_WIDTH = 120
"""Columns of a difference in a text."""


class _Case(NamedTuple):
    """A test case: `tag` is what it has beside its output, None of one that passed."""

    name: str
    seconds: float
    tag: Literal["failure", "error", "skipped"] | None
    type: str
    message: str
    text: str
    output: str


def junit_xml(account: Account) -> str:
    """The document."""
    suites = [_suite(account.title, _unlike(map(_row, account.rows)), _properties(account))] if account.suite is not None else []
    if account.checks:
        title = account.title if account.suite is None else f"{account.title}: goldens"
        suites.append(_suite(title, _unlike(map(_check, account.checks)), []))
    cases = [case for _xml, group in suites for case in group]
    root = element("testsuites", "".join(f"\n{xml}" for xml, _group in suites) + "\n", name=account.title, **_counts(cases))
    return f'<?xml version="1.0" encoding="utf-8"?>\n{root}\n'


def _suite(name: str, cases: list[_Case], properties: list[tuple[str, str]]) -> tuple[str, list[_Case]]:
    held = (
        element("properties", "".join(element("property", name=key, value=visible(value)) for key, value in properties))
        if properties
        else ""
    )
    body = "\n".join([*([held] if held else []), *(_xml(case, name) for case in cases)])
    skipped = sum(case.tag == "skipped" for case in cases)
    return element("testsuite", f"\n{body}\n", name=visible(name), **_counts(cases), skipped=skipped), cases


def _counts(cases: list[_Case]) -> dict[str, object]:
    return {
        "tests": len(cases),
        "failures": sum(case.tag == "failure" for case in cases),
        "errors": sum(case.tag == "error" for case in cases),
        "time": _seconds(sum(case.seconds for case in cases)),
    }


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"


def _xml(case: _Case, suite: str) -> str:
    content = ""
    if case.tag is not None:
        kind = None if case.tag == "skipped" else case.type
        content = element(case.tag, inert(cut(case.text, _TEXT)), type=kind, message=clipped(case.message, _MESSAGE))
    if case.output:
        content += element("system-out", inert(case.output))
    return element("testcase", content, classname=visible(suite), name=visible(case.name), time=_seconds(case.seconds))


def _properties(account: Account) -> list[tuple[str, str]]:
    suite = account.suite
    if suite is None:
        return []
    found: list[tuple[str, object]] = [
        ("afk_es", account.made_by or None),
        ("started_at", suite.started_at.isoformat()),
        ("execution_mode", suite.execution_mode),
        ("rows", suite.total),
        ("passed", suite.passed),
        ("pass_rate", suite.pass_rate),
        ("min_pass_rate", suite.min_pass_rate),
        ("tokens", suite.total_tokens),
        ("cost_usd", suite.total_cost_usd),
        ("known_cost_usd", suite.known_cost_usd),
        ("stopped", suite.stopped),
        *(("not_exercised", name) for name in suite.not_exercised),
    ]
    return [(name, str(value)) for name, value in found if value is not None]


def _row(row: EvalCaseResult) -> _Case:
    reasons = [f"{reason.name}: {reason.message}" for reason in row.reasons]
    message = reasons[0] if reasons else row.error or ended(row)
    tags: dict[str, Literal["failure", "error", "skipped"]] = {
        "failed": "failure",
        "error": "error",
        "cancelled": "error",
        "not_run": "skipped",
    }
    text = "\n".join([*reasons, *([row.error] if row.error and not any(row.error in reason for reason in reasons) else [])])
    check = [] if row.golden is None else [_difference(check_of(row))]
    look = command_of(row)
    text = "\n\n".join([text or message, *check, *([look] if look else [])])
    return _Case(row.label, row.duration_s, tags.get(row.outcome), row.outcome, message, text, "\n".join(_output(row)))


def _output(row: EvalCaseResult) -> Iterator[str]:
    if row.run_id is not None:
        yield f"run: {row.run_id}"
        yield f"log: {row.log}"
        yield f"state: {row.state}"
    for figure in row_figures(row):
        yield f"{figure.name}: {figure.value}"
    for tag in row.tags:
        yield f"tag: {tag}"
    for verdict in row.verdicts:
        yield cut(_verdict(verdict), _TEXT)
    if row.output:
        yield f"\n{cut(row.output, _TEXT)}"


def _verdict(verdict: Verdict) -> str:
    word = "FAILED" if not verdict.passed else "passed" if verdict.exercised else "not exercised"
    score = "" if verdict.score is None else f" {verdict.score:.3f}"
    return f"{word}: {verdict.name}{score}" + (f": {verdict.message}" if verdict.message else "")


def _check(report: CheckReport) -> _Case:
    tags: dict[str, Literal["failure", "error"]] = {"diverged": "failure", "not_measurable": "error"}
    first = report.first
    kind = first.kind if first is not None else report.outcome
    notes = "\n".join([measured(report), *([report.path] if report.path else []), *report.notes])
    return _Case(report.name, report.duration_s, tags.get(report.outcome), kind, check_reason(report), _difference(report), notes)


def _difference(report: CheckReport) -> str:
    return "\n".join(text for text, _tone in report_lines(report, _WIDTH))


def _unlike(cases: Iterable[_Case]) -> list[_Case]:
    """The cases, those of one name told apart by a number: goldens of two directories may be called the same, and a case as another's attempt."""
    seen: dict[str, int] = {}
    found = []
    for case in cases:
        seen[case.name] = number = seen.get(case.name, 0) + 1
        found.append(case if number == 1 else case._replace(name=f"{case.name}#{number}"))
    return found
