"""Reports of suites and of checks of goldens: to stdout as it was asked for, and into files. What they say is the library's."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation
from afk_es.errors import UsageError
from afk_es.evals.reports import Account, ReportForm, print_report, report_text, write_report
from afk_es.evals.reports.keeping_back import kept_back
from afk_es.evals.reports.writing import form_of
from afk_es.redaction import Redaction

Reports = tuple[tuple[Path, ReportForm], ...]
"""Files to write, each with its form."""


def report_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --report, --junit and --html, and hands the command the `reports` they come to, checked before anything is run."""

    @functools.wraps(command)
    def call(*args: Any, report: tuple[str, ...], junit: str | None, html: str | None, **options: Any) -> Any:
        return command(*args, reports=_reports(report, junit, html), **options)

    call = click.option("--html", metavar="FILE", help="A report as one page that needs nothing else.")(call)
    call = click.option("--junit", metavar="FILE", help="A report as JUnit XML, for the test pages of CI systems.")(call)
    return click.option(
        "--report",
        multiple=True,
        metavar="FILE",
        help="A report in the form that the file's end names: .json, .jsonl, .xml (JUnit), .html, .md; may be repeated.",
    )(call)


def _reports(report: Iterable[str], junit: str | None, html: str | None) -> Reports:
    named: list[tuple[str, ReportForm | None]] = [(each, None) for each in report]
    named += [(junit, "junit")] if junit is not None else []
    named += [(html, "html")] if html is not None else []
    found: list[tuple[Path, ReportForm]] = []
    for name, form in named:
        path = Path(name).expanduser()
        if path.is_dir():
            raise UsageError(f"{name} is a directory; name a file")
        found.append((path, form if form is not None else form_of(path)))
    return tuple(found)


def tell(invocation: Invocation, account: Account, reports: Reports, redaction: Redaction | None) -> None:
    """Write the report to stdout, in the format that was asked for, and into the files."""
    shown = account if redaction is None else kept_back(account, redaction)
    for path, form in reports:
        output.note(f"wrote {write_report(shown, path, form, redaction=None)}")
    if invocation.format == "text":
        sys.stdout.flush()
        print_report(shown, width=None if sys.stdout.isatty() else output.WIDTH_WITHOUT_TERMINAL, redaction=None)
    else:
        output.echo(report_text(shown, invocation.format), nl=False)
