"""Which forms a report has, and how one gets into a file: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, get_args

from afk_es.debugger.exchange.writing import replacing
from afk_es.errors import UsageError
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.reports.account import Account, Reported, account_of
from afk_es.evals.reports.keeping_back import STANDARD, kept_back
from afk_es.redaction import Redaction

ReportForm = Literal["json", "jsonl", "junit", "html", "md"]

REPORT_FORMS: dict[ReportForm, str] = {
    "json": "one document of the schema afk_es.evals/1",
    "jsonl": "the same, a line for each row and golden",
    "junit": "JUnit XML, for the test pages of CI systems",
    "html": "one page that needs nothing else",
    "md": "a summary in Markdown, as for $GITHUB_STEP_SUMMARY",
}
"""The forms of a report in a file, and what each is for."""

_SUFFIXES: dict[str, ReportForm] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".xml": "junit",
    ".html": "html",
    ".htm": "html",
    ".md": "md",
}


def write_report(
    reported: Reported,
    path: str | os.PathLike[str],
    form: ReportForm | None = None,
    *,
    checks: Iterable[CheckReport] = (),
    title: str | None = None,
    redaction: Redaction | None = STANDARD,
) -> Path:
    """Write a report to a file, over what is there. Directories are made; a reader never sees half of it.

    Args:
        reported: a suite's result, a check of a golden, or several of those.
        path: of the file.
        form: one of `REPORT_FORMS`; default, what the path ends in: .json, .jsonl, .xml, .html, .md.
        checks: of goldens, beside a suite.
        title: what people call it; default "Evals" or "Golden checks".
        redaction: what is kept back; default, what looks like a secret by its name or its shape. None for nothing.

    Returns:
        The path.

    Raises:
        UsageError: there is no such form, the path's end names none, or it is a directory.
        ConfigurationError: reports are not made of what was given.
        OSError: it cannot be written.
    """
    target = Path(path)
    chosen = form if form is not None else form_of(target)
    account = account_of(reported, checks=checks, title=title)
    text = report_text(account if redaction is None else kept_back(account, redaction), chosen)
    with replacing(target, force=True) as beside, beside.open("w", encoding="utf-8", errors="replace", newline="") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    return target


def form_of(path: Path) -> ReportForm:
    """The form that the end of a path names.

    Raises:
        UsageError: it names none.
    """
    form = _SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise UsageError(f"what form {path.name} is to have cannot be told from its end; it is one of {', '.join(_SUFFIXES)}")
    return form


def report_text(account: Account, form: ReportForm) -> str:
    """The report in a form.

    Raises:
        UsageError: there is no such form.
    """
    match form:
        case "json":
            from afk_es.evals.reports.data import report_json

            return report_json(account)
        case "jsonl":
            from afk_es.evals.reports.data import json_lines

            return "".join(json_lines(account))
        case "junit":
            from afk_es.evals.reports.junit import junit_xml

            return junit_xml(account)
        case "html":
            from afk_es.evals.reports.page import report_page

            return report_page(account)
        case "md":
            from afk_es.evals.reports.markdown import report_markdown

            return report_markdown(account)
    raise UsageError(f"there is no report form {form!r}; there are {', '.join(get_args(ReportForm))}")
