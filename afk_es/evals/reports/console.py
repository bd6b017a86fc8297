"""A report for a terminal: rows that did not pass first, with the reason and where to look; the totals last, where a terminal is read first.

What it says is made as lines of text with tones, for a number of columns; rich gives them their colours, where the output is a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, TextIO

import msgspec

from afk_es.debugger.exchange.phrases import counted
from afk_es.debugger.figures import dollars, span
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import report_lines
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.reports.account import OUTCOME_WORDS, Account, Reported, account_of, check_of, command_of
from afk_es.evals.reports.figures import ended, figures_of, idle_criteria, repeats_table, scores_table, tags_table, tokens, tone_of
from afk_es.evals.reports.keeping_back import STANDARD, kept_back
from afk_es.evals.reports.lines import StyledLine, Tone, wrapped
from afk_es.evals.reports.tables import Column, Row, Table, table_lines
from afk_es.redaction import Redaction
from afk_es.views import clipped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 120
MARKS: dict[str, str] = {"good": "✓", "bad": "✗", "mark": "!", "quiet": "·"}
_STYLES = {"quiet": "dim", "good": "green", "bad": "red", "mark": "yellow", "strong": "bold"}

_MOST_PASSED = 40
"""Rows that passed, or did not run, that are listed; more are counted."""
_MOST_TROUBLED = 200
"""Rows that did not pass that are listed."""
_MOST_TABLED = 40
"""Rows of one of the small tables."""
_REASONS_SHOWN = 5
_REASON_LINES = 6
"""Lines of one reason."""
_INDENT = 4


def print_report(
    reported: Reported,
    *,
    file: TextIO | None = None,
    width: int | None = None,
    title: str | None = None,
    redaction: Redaction | None = STANDARD,
) -> None:
    """Write the report to a terminal, or to whatever stands in for it, without colours there.

    Args:
        reported: a suite's result, checks of goldens, or an `Account` of both.
        file: default stdout.
        width: columns; default the terminal's, 120 where there is none.
        title: default, as in `account_of`.
        redaction: what is kept back; default, what looks like a secret by its name or its shape. None for nothing.

    Colours follow NO_COLOR and FORCE_COLOR.
    """
    console = console_of(file if file is not None else sys.stdout, width)
    account = account_of(reported, title=title)
    for line in console_lines(account if redaction is None else kept_back(account, redaction), console.width):
        print_line(console, line)


def console_of(file: TextIO, width: int | None = None) -> Console:
    """A console that takes text as it is given: no markup, no emoji, no highlights."""
    from rich.console import Console

    if width is None and not file.isatty():
        width = WIDTH_WITHOUT_TERMINAL
    return Console(file=file, width=width, markup=False, emoji=False, highlight=False, soft_wrap=True)


def print_line(console: Console, line: StyledLine) -> None:
    """Write a line."""
    console.print(text_of(line, console.encoding), soft_wrap=True)


def text_of(line: StyledLine, encoding: str) -> Text:
    """A line as rich has it, in characters that the encoding has."""
    from rich.text import Text

    return Text.assemble(*((text.encode(encoding, "replace").decode(encoding), _STYLES.get(tone, "")) for text, tone in line))


def console_lines(account: Account, width: int) -> list[StyledLine]:
    """The report for that many columns."""
    parts = [list(part) for part in (_rows(account, width), _goldens(account, width), _idle(account, width), *_tables(account, width))]
    lines: list[StyledLine] = []
    for part in parts:
        if part:
            lines += [*part, ()]
    return [*lines, *_totals(account, width)]


# --------------------------------------------------------------------------------------------------------------------------- rows


def _rows(account: Account, width: int) -> Iterator[StyledLine]:
    if not account.rows:
        return
    troubled = account.troubled[:_MOST_TROUBLED]
    others = account.others
    shown = [*troubled, *others[:_MOST_PASSED]]
    columns = (Column("case", wide=True), Column("outcome"), Column("took", True), Column("tokens", True), Column("cost", True))
    table = Table("", columns, tuple(_cells(row) for row in shown))
    head, *lines = table_lines(table, width)
    yield head
    for row, line in zip(shown, lines, strict=True):
        yield line
        if not row.passed:
            yield from _why(row, width)
    for what, left in (("did not pass", len(account.troubled) - len(troubled)), ("passed or did not run", len(others) - _MOST_PASSED)):
        if left > 0:
            yield ((f"  and {left:,} more that {what}", "quiet"),)


def _cells(row: EvalCaseResult) -> Row:
    tone = tone_of(row.outcome)
    ran = row.run_id is not None
    cells = (
        f"{MARKS[tone]} {row.label}",
        ended(row),
        span(row.duration_s) if row.started_at is not None else "",
        tokens(row.tokens) if ran else "",
        dollars(row.cost_usd) if ran else "",
    )
    return Row(cells, "plain" if row.passed else tone)


def _why(row: EvalCaseResult, width: int) -> Iterator[StyledLine]:
    for reason in row.reasons[:_REASONS_SHOWN]:
        yield from _indented(f"{reason.name}: {reason.message}", width, "plain")
    if len(row.reasons) > _REASONS_SHOWN:
        yield ((f"{' ' * _INDENT}and {counted(len(row.reasons) - _REASONS_SHOWN, 'more reason')}", "quiet"),)
    if row.error and not any(row.error in reason.message for reason in row.reasons):
        yield from _indented(row.error, width, "plain")
    if row.golden is not None and not (report := check_of(row)).ok:
        yield from _difference(report, width)
    command = command_of(row)
    if command is not None:
        # In one piece, however long: it is there to be copied.
        yield ((f"{' ' * _INDENT}{clipped(command, 2_000)}", "quiet"),)


def _indented(text: str, width: int, tone: Tone) -> Iterator[StyledLine]:
    for line in wrapped(text, width - _INDENT, _REASON_LINES):
        yield ((f"{' ' * _INDENT}{line}", tone),)


# --------------------------------------------------------------------------------------------------------------------------- the rest


def _goldens(account: Account, width: int) -> Iterator[StyledLine]:
    if not account.checks:
        return
    ordered = sorted(account.checks, key=lambda report: report.ok)
    columns = (
        Column("golden", wide=True),
        Column("outcome"),
        Column("mode"),
        Column("runs", True),
        Column("served", True),
        Column("took", True),
    )
    head, *lines = table_lines(Table("", columns, tuple(map(_golden_cells, ordered))), width)
    yield head
    for report, line in zip(ordered, lines, strict=True):
        yield line
        if not report.ok:
            # The line above is its verdict.
            yield from islice(_difference(report, width), 1, None)


def _golden_cells(report: CheckReport) -> Row:
    tone = tone_of(report.outcome)
    cells = (
        f"{MARKS[tone]} {report.name}",
        OUTCOME_WORDS[report.outcome],
        report.mode,
        f"{len(report.runs):,}",
        f"{report.served:,}",
        span(report.duration_s),
    )
    return Row(cells, "plain" if report.ok else tone)


def _difference(report: CheckReport, width: int) -> Iterator[StyledLine]:
    for text, tone in report_lines(report, width - _INDENT):
        yield ((f"{' ' * _INDENT}{text}".rstrip(), tone),)


def _idle(account: Account, width: int) -> Iterator[StyledLine]:
    idle = idle_criteria(account)
    if idle:
        yield (("Not exercised", "strong"), ("  passed only because nothing was there to be checked", "quiet"))
    for name, where in idle:
        yield ((clipped(f"  ○ {name}: {where}", width), "mark"),)


def _tables(account: Account, width: int) -> Iterator[list[StyledLine]]:
    suite = account.suite
    for table in () if suite is None else (repeats_table(suite), tags_table(suite), scores_table(suite)):
        if table is not None:
            about: StyledLine = (("  " + clipped(table.about, width - len(table.title) - 2), "quiet"),) if table.about else ()
            left = len(table.rows) - _MOST_TABLED
            more: list[StyledLine] = [((f"  and {left:,} more", "quiet"),)] if left > 0 else []
            yield [((table.title, "strong"), *about), *table_lines(_shortened(table), width), *more]


def _shortened(table: Table) -> Table:
    """What a terminal has room for: what is worth a look first where there is more."""
    if len(table.rows) <= _MOST_TABLED:
        return table
    rows = sorted(table.rows, key=lambda row: row.tone == "plain")
    return msgspec.structs.replace(table, rows=tuple(rows[:_MOST_TABLED]))


def _totals(account: Account, width: int) -> Iterator[StyledLine]:
    tone = tone_of(account.outcome)
    head, *more = wrapped(account.ending, width - len(account.outcome) - 4, 6)
    yield ((f"{MARKS[tone]} {OUTCOME_WORDS[account.outcome].upper()}", tone), (f"  {head}", "strong"))
    yield from (((f"  {line}", "strong"),) for line in more)
    told = " · ".join(f"{figure.name} {figure.value}" for figure in figures_of(account) if figure.name in _LAST)
    yield ((f"  {told}", "quiet"),)


_LAST = ("pass rate", "took", "tokens", "cost", "known cost", "answers served")
