"""A report without what looks like a secret: reports leave the machine, as artefacts of CI and comments on pull requests, and hold what runs said."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import msgspec

from afk_es.evals.goldens.check_report import CheckReport, LeftOver
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.outcomes import EvalCaseResult, EvalSuiteResult
from afk_es.evals.reports.account import Account, check_of
from afk_es.evals.verdict import Verdict
from afk_es.redaction import MARK, Redaction

STANDARD: Redaction = Redaction()
"""What is kept back where nobody says otherwise: values of secret names, and texts in the shape of a secret."""

_NAMES = re.compile(r"[^.\[\]]+")


def kept_back(account: Account, redaction: Redaction) -> Account:
    """The account without secrets. Names, numbers and outcomes stay as they are."""
    suite = None if account.suite is None else _suite(account.suite, redaction)
    checks = tuple(_check(report, redaction) for report in account.checks)
    return dataclasses.replace(account, suite=suite, checks=checks, redacted=True)


def _suite(suite: EvalSuiteResult, redaction: Redaction) -> EvalSuiteResult:
    stopped = None if suite.stopped is None else redaction.text(suite.stopped)
    return suite.model_copy(update={"results": tuple(_row(row, redaction) for row in suite.results), "stopped": stopped})


def _row(row: EvalCaseResult, redaction: Redaction) -> EvalCaseResult:
    changes: dict[str, Any] = {
        "reasons": tuple(_verdict(reason, redaction) for reason in row.reasons),
        "verdicts": tuple(_verdict(verdict, redaction) for verdict in row.verdicts),
        "output": redaction.text(row.output),
        "error": None if row.error is None else redaction.text(row.error),
        "metadata": redaction.value(row.metadata),
        "golden": None if row.golden is None else msgspec.to_builtins(_check(check_of(row), redaction)),
        "result": None,
    }
    return row.model_copy(update=changes)


def _verdict(verdict: Verdict, redaction: Redaction) -> Verdict:
    return msgspec.structs.replace(verdict, message=redaction.text(verdict.message), details=redaction.value(verdict.details))


def _check(report: CheckReport, redaction: Redaction) -> CheckReport:
    return msgspec.structs.replace(
        report,
        divergences=tuple(_divergence(each, redaction) for each in report.divergences),
        leftovers=tuple(LeftOver(_place(left.recorded, redaction), redaction.text(left.what)) for left in report.leftovers),
        notes=tuple(map(redaction.text, report.notes)),
        reason=redaction.text(report.reason),
    )


def _divergence(each: Divergence, redaction: Redaction) -> Divergence:
    # The name of a value is in the path, and not beside the value as in data.
    secret = any(redaction.is_secret_name(name) for name in _NAMES.findall(each.field))
    return msgspec.structs.replace(
        each,
        expected=_value(each.expected, redaction, secret=secret),
        actual=_value(each.actual, redaction, secret=secret),
        recorded=None if each.recorded is None else _place(each.recorded, redaction),
        today=None if each.today is None else _place(each.today, redaction),
        message=redaction.text(each.message),
    )


def _value(value: Any, redaction: Redaction, *, secret: bool) -> Any:
    if value is None:
        return None
    if secret:
        return MARK
    return redaction.text(value) if isinstance(value, str) else redaction.value(value)


def _place(place: Place, redaction: Redaction) -> Place:
    return msgspec.structs.replace(place, text=redaction.text(place.text))
