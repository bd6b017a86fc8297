"""What repeats say of the chance to pass, in a page: for each case a bar from 0 to 100 % with the interval on it."""

from __future__ import annotations

from afk_es.debugger.exchange.markup import element, inert
from afk_es.evals.outcomes import EvalSuiteResult, RepeatStatistics
from afk_es.evals.reports.figures import percent, repeats_table

_WIDTH, _HEIGHT = 300, 16


def intervals_markup(suite: EvalSuiteResult) -> str:
    """The table of repeats, with a picture of each interval; "" where nothing was repeated."""
    table = repeats_table(suite)
    if table is None or suite.repeats is None:
        return ""
    heads = "".join(
        f'<th class="{_kind(place)}"{" colspan=2" if place == _INTERVAL else ""}>{inert(column.name)}</th>'
        for place, column in enumerate(table.columns)
    )
    statistics: list[RepeatStatistics] = [*suite.cases, suite.repeats]
    rows = ""
    for row, each in zip(table.rows, statistics, strict=True):
        cells = [f'<td class="{_kind(place)}">{inert(cell)}</td>' for place, cell in enumerate(row.cells)]
        cells[_INTERVAL] = f'<td class="span">{_bar(each)}</td><td class="reach-of">{inert(row.cells[_INTERVAL])}</td>'
        rows += f'<tr class="{row.tone}">{"".join(cells)}</tr>'
    return f'<div class="wide"><table class="chances"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'


_INTERVAL = 3
"""The column of the interval."""


def _kind(place: int) -> str:
    return "" if not place else "span" if place == _INTERVAL else "r"


def _bar(statistics: RepeatStatistics) -> str:
    low, high = statistics.interval
    middle = _HEIGHT / 2
    said = f"{percent(statistics.pass_rate)}; between {percent(low)} and {percent(high)}"
    parts = element("title", inert(said))
    parts += element("line", x1=0, x2=_WIDTH, y1=middle, y2=middle, class_="axis")
    parts += element("line", x1=low * _WIDTH, x2=max(high * _WIDTH, low * _WIDTH + 1), y1=middle, y2=middle, class_="reach")
    at = min(max(statistics.pass_rate * _WIDTH, 2.0), _WIDTH - 2.0)
    parts += element("line", x1=at, x2=at, y1=2, y2=_HEIGHT - 2, class_="dot")
    return element("svg", parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=said, preserveAspectRatio="none")
