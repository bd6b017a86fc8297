"""What a report tells: a suite's result, checks of goldens, or both, and what they come to together. It knows no form."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from afk_es.debugger.exchange.phrases import counted
from afk_es.errors import ConfigurationError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult
from afk_es.evals.reports.lines import Tone

AccountOutcome = Literal["passed", "failed", "not_measurable"]
"""What all of it comes to. not_measurable: nothing failed, and something could not be judged, or there was nothing to judge."""

OUTCOME_WORDS: dict[str, str] = {
    "passed": "passed",
    "failed": "failed",
    "error": "error",
    "not_run": "not run",
    "cancelled": "cancelled",
    "diverged": "diverged",
    "not_measurable": "not measurable",
}
"""Outcomes of rows, of checks and of all, as people read them."""

OUTCOME_TONES: dict[str, Tone] = {
    "passed": "good",
    "failed": "bad",
    "error": "bad",
    "not_run": "quiet",
    "cancelled": "mark",
    "diverged": "bad",
    "not_measurable": "mark",
}


_TROUBLE = frozenset({"failed", "error", "cancelled"})


class GoldenCheck(NamedTuple):
    """A check of a golden, and of whose run: the row's label; "" for a check that stands by itself."""

    row: str
    report: CheckReport


@dataclass(frozen=True)
class Account:
    """What a report is made of.

    Attributes:
        title: what people call it.
        suite: what a suite came to; None where there was none.
        checks: goldens that were checked by themselves, in order. Those of a suite's rows are in the rows.
        made_by: the version of afk_es; "" where it is not installed.
        redacted: whether secrets were kept back.
    """

    title: str
    suite: EvalSuiteResult | None
    checks: tuple[CheckReport, ...]
    made_by: str
    redacted: bool = False

    @property
    def rows(self) -> tuple[EvalCaseResult, ...]:
        """The suite's rows, in its order."""
        return () if self.suite is None else self.suite.results

    @property
    def troubled(self) -> tuple[EvalCaseResult, ...]:
        """Rows that ran and did not pass, in the suite's order."""
        return tuple(row for row in self.rows if row.outcome in _TROUBLE)

    @property
    def others(self) -> tuple[EvalCaseResult, ...]:
        """The other rows: those that did not run, then those that passed."""
        return tuple(sorted((row for row in self.rows if row.outcome not in _TROUBLE), key=lambda row: row.passed))

    @property
    def goldens(self) -> tuple[GoldenCheck, ...]:
        """All checks of goldens: those of rows, then those by themselves."""
        of_rows = (GoldenCheck(row.label, check_of(row)) for row in self.rows if row.golden is not None)
        return (*of_rows, *(GoldenCheck("", report) for report in self.checks))

    @property
    def outcome(self) -> AccountOutcome:
        """What all of it comes to."""
        outcomes = {report.outcome for report in self.checks}
        if self.rows and not any(map(_judged, self.rows)) and not self.checks:
            return "not_measurable"
        if (self.suite is not None and self.suite.total and not self.suite.ok) or "diverged" in outcomes:
            return "failed"
        nothing = not self.checks and not self.rows
        empty_suite = self.suite is not None and not self.suite.total
        return "not_measurable" if nothing or empty_suite or "not_measurable" in outcomes else "passed"

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 not measurable; see `afk-es eval`."""
        return {"passed": 0, "failed": 1, "not_measurable": 3}[self.outcome]

    @property
    def summary(self) -> str:
        """What it comes to, in a sentence or two of ours."""
        return " ".join([*_of_suite(self.suite), *_of_checks(self.checks)]) or "There was nothing to judge."

    @property
    def ending(self) -> str:
        """The same, with why the suite stopped early where it did."""
        return self.summary if self.suite is None or not self.suite.stopped else f"{self.summary} It stopped early: {self.suite.stopped}"


Reported: TypeAlias = Account | EvalSuiteResult | CheckReport | Iterable[CheckReport]
"""What reports can be made of."""


def account_of(reported: Reported, *, checks: Iterable[CheckReport] = (), title: str | None = None) -> Account:
    """What a report tells of a suite's result or of checks of goldens.

    Args:
        reported: a suite's result, a check's report, or several of those.
        checks: of goldens, beside a suite.
        title: what people call it; default "Evals", or "Golden checks" where there are only these.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(reported, Account):
        return reported
    if isinstance(reported, EvalSuiteResult):
        return Account(title or "Evals", reported, tuple(checks), _version())
    several = (reported,) if isinstance(reported, CheckReport) else _checks(reported)
    return Account(title or "Golden checks", None, (*several, *checks), _version())


def _checks(reported: object) -> tuple[CheckReport, ...]:
    found = tuple(reported) if isinstance(reported, Iterable) else (reported,)
    strange = next((each for each in found if not isinstance(each, CheckReport)), None)
    if strange is not None:
        raise ConfigurationError(f"a report is made of an EvalSuiteResult or of CheckReports, not of {type(strange).__name__}")
    return found


def _judged(row: EvalCaseResult) -> bool:
    """Whether there was anything about the row to judge: a row that ran may be right in any state, and its criteria find nothing to check."""
    if row.outcome != "passed":
        return row.outcome != "not_run"
    return row.expected_state != ("any",) or row.golden is not None or any(verdict.exercised for verdict in row.verdicts)


def check_of(row: EvalCaseResult) -> CheckReport:
    """The check of the row's golden. It has one."""
    return msgspec.convert(row.golden, CheckReport)


def command_of(row: EvalCaseResult) -> str | None:
    """The command that opens the row's run; None where there is no run, or its log was in memory and is gone."""
    if row.run_id is None or row.log in (None, "", ":memory:"):
        return None
    return f"afk-es debug {shlex.quote(f'{row.log}:{row.run_id}')}"


def _version() -> str:
    try:
        return version("afk-es")
    except PackageNotFoundError:
        return ""


def _of_suite(suite: EvalSuiteResult | None) -> list[str]:
    if suite is None:
        return []
    if not suite.total:
        return ["The suite has no cases."]
    rows = counted(suite.total, "row")
    if suite.passed == suite.total:
        return [f"All {rows} passed." if suite.total > 1 else "The row passed."]
    said = f"{suite.passed:,} of {rows} passed, {suite.failed:,} failed"
    said += f" (of them {counted(suite.errors, 'error')})" if suite.errors else ""
    said += f", {suite.not_run:,} did not run" if suite.not_run else ""
    return [f"{said}.", *([f"The suite asks for {suite.min_pass_rate * 100:.3g} %."] if suite.min_pass_rate < 1 else [])]


def _of_checks(checks: tuple[CheckReport, ...]) -> list[str]:
    if not checks:
        return []
    goldens = counted(len(checks), "golden")
    diverged = sum(report.outcome == "diverged" for report in checks)
    unmeasured = sum(report.outcome == "not_measurable" for report in checks)
    if not diverged and not unmeasured:
        return [f"All {goldens} hold." if len(checks) > 1 else "The golden holds."]
    said = f"{len(checks) - diverged - unmeasured:,} of {goldens} {'hold' if len(checks) > 1 else 'holds'}"
    said += f", {diverged:,} diverged" if diverged else ""
    return [f"{said}, {unmeasured:,} could not be measured." if unmeasured else f"{said}."]
