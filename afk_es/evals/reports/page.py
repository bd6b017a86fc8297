"""A report as one page: no other file, no network, no script. Rows that did not pass come first and are open; everything of others is text.

It is framed as the page of a run is. Nothing in it is a link: what leads on is a command to copy.
"""

from __future__ import annotations

from collections.abc import Iterable

from afk_es.debugger.exchange.document import document, section
from afk_es.debugger.exchange.markup import cut, inert
from afk_es.debugger.exchange.phrases import counted
from afk_es.debugger.figures import span
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.check_text import category
from afk_es.evals.outcomes import EvalCaseResult
from afk_es.evals.reports.account import OUTCOME_WORDS, Account, check_of, command_of
from afk_es.evals.reports.differing import value_text
from afk_es.evals.reports.divergences import divergences_markup
from afk_es.evals.reports.figures import (
    Figure,
    check_reason,
    ended,
    figures_of,
    idle_criteria,
    measured,
    repeats_table,
    row_figures,
    scores_table,
    tags_table,
    tone_of,
)
from afk_es.evals.reports.intervals import intervals_markup
from afk_es.evals.reports.page_style import STYLE
from afk_es.evals.reports.tables import table_markup
from afk_es.evals.verdict import Verdict

_MOST_ROWS = 2_000
"""Rows that are in the page with what they hold, those that did not pass first; the others are counted."""
_MOST_OPEN = 20
"""Rows that are open when the page is opened."""
_LONGEST = 20_000
"""Characters of one text."""
_MOST_WHOLE = 100
"""Rows whose texts may be so long; a page of a hundred megabytes opens nowhere."""
_SHORTER = 2_000
"""Characters of a text of any other row."""
_MARKS = {"good": "✓", "bad": "✗", "mark": "!", "quiet": "·"}


def report_page(account: Account) -> str:
    """The page."""
    parts = [_header(account), _rows(account), _idle(account), _goldens(account), *_tables(account), _footer(account)]
    return document(f"{account.title}: {OUTCOME_WORDS[account.outcome]}", "".join(parts), style=STYLE)


def _header(account: Account) -> str:
    cells = "".join(_fact(figure) for figure in figures_of(account))
    suite = account.suite
    where = []
    if suite is not None:
        where = [
            ("started", suite.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
            ("ran", f"{suite.execution_mode}, {counted(suite.widest, 'case')} at once at most"),
        ]
        where += [("asked for", f"a pass rate of {suite.min_pass_rate * 100:.3g} %")] if suite.min_pass_rate < 1 else []
    lines = "".join(f"<div><dt>{inert(name)}</dt><dd>{inert(value)}</dd></div>" for name, value in where)
    return (
        f'<header><p class="pill {tone_of(account.outcome)}">{OUTCOME_WORDS[account.outcome]}</p><h1>{inert(account.title)}</h1>'
        f'<p class="ending">{inert(cut(account.ending, _LONGEST))}</p><dl class="facts">{cells}</dl>'
        + (f'<dl class="where">{lines}</dl>' if lines else "")
        + "</header>\n"
    )


def _fact(figure: Figure) -> str:
    return f'<div class="{figure.tone}"><dt>{figure.name}</dt><dd>{inert(figure.value)}</dd></div>'


# --------------------------------------------------------------------------------------------------------------------------- rows


def _rows(account: Account) -> str:
    if not account.rows:
        return ""
    ordered = (*account.troubled, *account.others)
    troubled = len(account.troubled)
    shown = "".join(_row(row, place, troubled) for place, row in enumerate(ordered[:_MOST_ROWS]))
    more = len(ordered) - _MOST_ROWS
    unshown = max(0, troubled - _MOST_ROWS)
    which = f"of them {unshown:,} that did not pass" if unshown else "all of them passed or did not run"
    left_out = f'<p class="about">{counted(more, "more row")}, {which}; the JSON has them.</p>' if more > 0 else ""
    about = "those that did not pass first; each opens" if account.troubled else "each opens"
    return section("Cases", f'<div class="rows">{shown}</div>{left_out}', about)


def _row(row: EvalCaseResult, place: int, troubled: int) -> str:
    opened = place < min(_MOST_OPEN, troubled)
    longest = _LONGEST if place < min(_MOST_WHOLE, troubled) else _SHORTER
    tone = tone_of(row.outcome)
    figures = {figure.name: figure.value for figure in row_figures(row)}
    numbers = [
        figures.get("took", ""),
        f"{figures['tokens']} tok" if row.tokens is not None and "tokens" in figures else "",
        figures.get("cost", ""),
    ]
    cells = "".join(f'<span class="n">{inert(number if number != "unknown" else "")}</span>' for number in numbers)
    tags = "".join(f'<span class="tag">{inert(tag)}</span>' for tag in row.tags)
    why = f'<span class="why">{inert(cut(_why(row), 300))}</span>' if row.reasons else ""
    return (
        f'<details class="row {tone}"{" open" if opened else ""}><summary><span class="mark-of">{_MARKS[tone]}</span>'
        f'<span class="name">{inert(cut(row.label, 300))}{tags}</span><span class="outcome">{inert(ended(row))}</span>{cells}{why}</summary>'
        f'<div class="body">{_body(row, figures, longest)}</div></details>\n'
    )


def _why(row: EvalCaseResult) -> str:
    first = row.reasons[0]
    return f"{first.name}: {first.message}"


def _body(row: EvalCaseResult, figures: dict[str, str], longest: int) -> str:
    parts = [_reasons(row.reasons)]
    if row.error and not any(row.error in reason.message for reason in row.reasons):
        parts.append(f"<h3>error</h3><pre>{inert(cut(row.error, longest))}</pre>")
    parts.append(_look(row))
    if row.golden is not None:
        parts.append(f"<h3>golden</h3>{_check(check_of(row))}")
    if row.verdicts:
        parts.append(f'<h3>checks</h3><table class="checks"><tbody>{"".join(map(_verdict, row.verdicts))}</tbody></table>')
    if row.output:
        parts.append(f"<h3>final text</h3><pre>{inert(cut(row.output, longest))}</pre>")
    if row.metadata:
        parts.append(f"<details><summary>metadata</summary><pre>{inert(cut(value_text(row.metadata), longest))}</pre></details>")
    told = " · ".join(f"{name} {value}" for name, value in figures.items())
    where = f"{row.run_id} · " if row.run_id is not None else ""
    parts.append(f'<p class="took">{inert(where + told) if told else "It did not start."}</p>')
    return "".join(parts)


def _reasons(reasons: Iterable[Verdict]) -> str:
    lines = "".join(f"<li><b>{inert(reason.name)}</b>{inert(cut(reason.message, _LONGEST))}</li>" for reason in reasons)
    return f'<ul class="reasons">{lines}</ul>' if lines else ""


def _look(row: EvalCaseResult) -> str:
    command = command_of(row)
    if command is not None:
        return f'<div class="look"><code>{inert(command)}</code></div>'
    if row.run_id is not None and row.outcome != "passed":
        return '<p class="about">The run was in a log in memory and is gone; with a log in a file it could be opened here.</p>'
    return ""


def _verdict(verdict: Verdict) -> str:
    tone, mark = ("bad", "✗") if not verdict.passed else ("good", "✓") if verdict.exercised else ("quiet", "○")
    score = "" if verdict.score is None else f'<meter min="0" max="1" value="{verdict.score:.4f}"></meter> {verdict.score:.3f}'
    said = verdict.message if verdict.exercised or not verdict.passed else f"not exercised: {verdict.message}".removesuffix(": ")
    at = f" (seq {', '.join(verdict.positions[:12])})" if verdict.positions else ""
    return (
        f'<tr class="{tone}"><td>{mark}</td><td><b>{inert(cut(verdict.name, 300))}</b></td><td class="r">{score}</td>'
        f"<td>{inert(cut(said, 2_000) + at)}</td></tr>"
    )


# --------------------------------------------------------------------------------------------------------------------------- the rest


def _idle(account: Account) -> str:
    idle = idle_criteria(account)
    if not idle:
        return ""
    lines = "".join(f"<dt>{inert(name)}</dt><dd>{inert(where)}</dd>" for name, where in idle)
    return section("Not exercised", f'<dl class="idle">{lines}</dl>', "these passed only because nothing was there to be checked")


def _goldens(account: Account) -> str:
    if not account.checks:
        return ""
    ordered = sorted(account.checks, key=lambda report: report.ok)
    rows = "".join(_golden(report, opened=not report.ok and place < _MOST_OPEN) for place, report in enumerate(ordered[:_MOST_ROWS]))
    more = len(ordered) - _MOST_ROWS
    left_out = f'<p class="about">{counted(more, "more golden")}; the JSON has them.</p>' if more > 0 else ""
    return section("Goldens", f'<div class="rows">{rows}</div>{left_out}')


def _golden(report: CheckReport, *, opened: bool) -> str:
    tone = tone_of(report.outcome)
    reason = check_reason(report)
    why = f'<span class="why">{inert(cut(reason, 300))}</span>' if reason else ""
    return (
        f'<details class="row {tone}"{" open" if opened else ""}><summary><span class="mark-of">{_MARKS[tone]}</span>'
        f'<span class="name">{inert(cut(report.name, 300))}</span><span class="outcome">{OUTCOME_WORDS[report.outcome]}</span>'
        f'<span class="n">{span(report.duration_s)}</span><span class="n">{report.served:,} served</span><span class="n">{report.mode}</span>{why}</summary>'
        f'<div class="body">{_check(report)}</div></details>\n'
    )


def _check(report: CheckReport) -> str:
    parts = [f'<p class="took">{inert(measured(report))}{f" · {inert(report.path)}" if report.path else ""}</p>']
    if report.outcome == "not_measurable":
        parts.append(f'<ul class="reasons"><li>{inert(cut(report.reason, _LONGEST))}</li></ul>')
    parts.append(divergences_markup(report))
    if report.leftovers:
        lines = "".join(
            f'<li>{inert(cut(left.what, 1_000))} <span class="about">seq {left.recorded.seq}</span></li>' for left in report.leftovers
        )
        parts.append(
            f"<details><summary>{counted(len(report.leftovers), 'recorded answer')} nobody asked for</summary><ul>{lines}</ul></details>"
        )
    if report.notes:
        lines = "".join(f"<li>{inert(cut(note, 1_000))}</li>" for note in report.notes)
        parts.append(f"<details><summary>{counted(len(report.notes), 'note')}</summary><ul>{lines}</ul></details>")
    if report.outcome == "diverged":
        parts.append(f'<p class="about">If this is meant: <code>pytest --golden-update={category(report)}</code></p>')
    return "".join(parts)


def _tables(account: Account) -> list[str]:
    suite = account.suite
    if suite is None:
        return []
    repeats = repeats_table(suite)
    parts = [] if repeats is None else [section(repeats.title, intervals_markup(suite), repeats.about)]
    return [
        *parts,
        *(section(table.title, table_markup(table), table.about) for table in (tags_table(suite), scores_table(suite)) if table),
    ]


def _footer(account: Account) -> str:
    kept = "Secrets were kept back by name and shape." if account.redacted else "Nothing was redacted."
    return f"<footer>{inert(f'Written by afk-es {account.made_by}'.rstrip())}. {kept}</footer>\n"
