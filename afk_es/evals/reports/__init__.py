"""Reports of suites and of checks of goldens: for a terminal, for CI systems, for programs, as a page. One form stands in one module.

A name is loaded when it is first used, as in `afk_es.evals`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from afk_es.evals.reports.account import Account, AccountOutcome, Reported, account_of
    from afk_es.evals.reports.console import print_report
    from afk_es.evals.reports.data import SCHEMA, report_data
    from afk_es.evals.reports.keeping_back import kept_back
    from afk_es.evals.reports.progress import SuiteProgress
    from afk_es.evals.reports.writing import REPORT_FORMS, ReportForm, form_of, report_text, write_report

__all__ = [
    "Account",
    "AccountOutcome",
    "REPORT_FORMS",
    "ReportForm",
    "Reported",
    "SCHEMA",
    "SuiteProgress",
    "account_of",
    "form_of",
    "kept_back",
    "print_report",
    "report_data",
    "report_text",
    "write_report",
]

_HOMES = {
    "Account": "account",
    "AccountOutcome": "account",
    "Reported": "account",
    "account_of": "account",
    "print_report": "console",
    "SCHEMA": "data",
    "report_data": "data",
    "kept_back": "keeping_back",
    "SuiteProgress": "progress",
    "REPORT_FORMS": "writing",
    "ReportForm": "writing",
    "form_of": "writing",
    "report_text": "writing",
    "write_report": "writing",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'afk_es.evals.reports' has no attribute {name!r}")
    value = getattr(import_module(f"afk_es.evals.reports.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
