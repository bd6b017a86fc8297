"""The timeline of a run as a picture: a lane for the model, the tools, the subagents and the people, and idle time folded. SVG, 1200 wide."""

from __future__ import annotations

from afk_es.debugger.exchange.axis import Axis
from afk_es.debugger.exchange.document import PALETTE
from afk_es.debugger.exchange.markup import element, inert
from afk_es.debugger.exchange.phrases import totals
from afk_es.debugger.exchange.report import Report
from afk_es.debugger.exchange.story import Bar
from afk_es.debugger.figures import span
from afk_es.views import clipped

WIDTH = 1200
_LEFT, _RIGHT = 104.0, 1180.0
_ROW, _BAR = 22.0, 16.0
_MOST_ROWS = 12
"""Rows of one lane; what would need more is drawn over what is there."""
_LANES = ("model", "tools", "subagents", "people", "waits")
_CHARACTER = 6.3
"""Pixels of a character of a label, on average."""

STYLE = """
.t{font:12px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink)}
.t.h{font-size:15px;font-weight:650}.t.q{fill:var(--quiet)}.t.s{font-size:11px}.t.in{fill:var(--on-bar);font-size:11px}
.t.e{text-anchor:end}.t.m{text-anchor:middle}
.band{fill:var(--band)}.rule{stroke:var(--line);stroke-width:1}.step{stroke:var(--line);stroke-dasharray:2 3}
.fold{fill:url(#fold);pointer-events:none}.end{stroke-width:2}
.bar.model{fill:var(--model)}.bar.tools{fill:var(--tools)}.bar.subagents{fill:var(--subagents)}.bar.people{fill:var(--people)}
.bar.waits{fill:var(--quiet)}.bar.bad{fill:var(--bad)}.bar.mark{fill:var(--mark)}
.good.end{stroke:var(--good)}.bad.end{stroke:var(--bad)}.mark.end{stroke:var(--mark)}.plain.end{stroke:var(--quiet)}
.t.good{fill:var(--good)}.t.bad{fill:var(--bad)}.t.mark{fill:var(--mark)}
a:hover .bar,a:focus .bar{stroke:var(--ink);stroke-width:1.5}
"""
"""How the parts look; the colours are those of whatever the picture stands in."""

TONES = {"completed": "good", "failed": "bad", "crashed": "bad"}


def drawing(report: Report) -> str:
    """The picture as a file of its own, in light and dark as the viewer likes it."""
    body, height = _picture(report, heading=True, linked=False)
    inner = element("style", PALETTE + STYLE) + f'<rect width="{WIDTH}" height="{height:g}" fill="var(--paper)"/>' + body
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{inert(f"Timeline of run {report.run_id}")}">{inner}</svg>\n'
    )


def inline_drawing(report: Report) -> str:
    """The picture for a page, whose bars lead to the events. The page has its style."""
    body, height = _picture(report, heading=False, linked=True)
    return f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="Timeline of the run">{body}</svg>'


def _picture(report: Report, *, heading: bool, linked: bool) -> tuple[str, float]:
    start = report.started_at
    end = (report.updated_at - start).total_seconds()
    bars = [(bar, (bar.start - start).total_seconds(), (bar.end - start).total_seconds() if bar.end else end) for bar in report.story.bars]
    axis = Axis([(begin, until) for _bar, begin, until in bars], end, _LEFT, _RIGHT)
    parts: list[str] = [_pattern()]
    y = 12.0
    if heading:
        parts.append(_heading(report))
        y = 66.0
    top = y
    y += 16
    lanes: list[str] = []
    for lane in _LANES:
        own = [each for each in bars if each[0].lane == lane]
        if own:
            lane_parts, height = _lane(lane, own, axis, y, linked=linked)
            lanes += lane_parts
            y += height + 8
    if not bars:
        lanes.append(_text("Nothing took time in this run: no model and no tool was called.", _LEFT, y + 14, "q"))
        y += 24
    parts += _ground(report, axis, top, y)
    parts += lanes
    parts += _folds(axis, top, y)
    tone = TONES.get(report.status, "mark")
    parts.append(element("line", x1=_RIGHT, x2=_RIGHT, y1=top, y2=y, class_=f"{tone} end"))
    return "".join(parts), y + 26


def _pattern() -> str:
    lines = '<path d="M0 6L6 0" stroke="var(--paper)" stroke-width="2"/>'
    lines += '<path d="M0 3L3 0M3 6L6 3" stroke="var(--line)" stroke-width="1"/>'
    return element("defs", element("pattern", lines, id="fold", width=6, height=6, patternUnits="userSpaceOnUse"))


def _heading(report: Report) -> str:
    tone = TONES.get(report.status, "mark")
    name = inert(clipped(report.agent_name, 40)) + element("tspan", inert(report.status), class_=f"h {tone} t", dx=10)
    return (
        element("text", name, x=20, y=26, class_="t h")
        + _text(totals(report), _RIGHT, 26, "q e")
        + _text(clipped(f"{report.run_id} · {report.ending}", 150), 20, 46, "q")
    )


def _ground(report: Report, axis: Axis, top: float, bottom: float) -> list[str]:
    """Steps and times, behind the bars."""
    parts: list[str] = []
    last = -100.0
    for event in report.events:
        if event.type == "step_started":
            x = axis.at((event.at - report.started_at).total_seconds())
            if x - last >= 46 and x < _RIGHT - 30:
                parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="step"))
                parts.append(_text(f"step {event.step}", x + 3, top + 9, "q s"))
                last = x
    parts.append(element("line", x1=_LEFT, x2=_RIGHT, y1=bottom, y2=bottom, class_="rule"))
    folded = [(stretch.left, stretch.right) for stretch in axis.stretches if stretch.folded and stretch.right - stretch.left >= 30]
    for second, x in axis.ticks(78):
        if any(left - 44 < x < right - 2 for left, right in folded) or x > _RIGHT - 40:
            continue
        parts.append(element("line", x1=x, x2=x, y1=bottom, y2=bottom + 4, class_="rule"))
        parts.append(_text(f"+{span(second)}" if second else "0", x, bottom + 14, "q s"))
    return parts


def _folds(axis: Axis, top: float, bottom: float) -> list[str]:
    """Folded time, over what went on meanwhile, and how long it was."""
    parts: list[str] = []
    for stretch in axis.stretches:
        if stretch.folded:
            width = stretch.right - stretch.left
            parts.append(element("rect", x=stretch.left, y=top + 13, width=width, height=bottom - top - 13, class_="fold"))
            if width >= 30:
                said = span(stretch.end - stretch.begin)
                parts.append(_text(said, (stretch.left + stretch.right) / 2, bottom + 14, "q s m"))
    return parts


def _lane(lane: str, bars: list[tuple[Bar, float, float]], axis: Axis, y: float, *, linked: bool) -> tuple[list[str], float]:
    rows: list[list[tuple[float, float, Bar, float]]] = []
    for bar, begin, until in bars:
        left = axis.at(begin)
        right = max(axis.at(until), left + 3)
        row = next((row for row in rows if row[-1][1] + 1 <= left), None)
        if row is None:
            if len(rows) < _MOST_ROWS:
                rows.append([])
            row = rows[-1]
        row.append((left, right, bar, until - begin))
    height = _ROW * len(rows)
    parts = [
        element("rect", x=_LEFT - 94, y=y - 2, width=_RIGHT - _LEFT + 94, height=height + 2, rx=4, class_="band"),
        _text(lane, _LEFT - 84, y + 14, "q"),
    ]
    for index, row in enumerate(rows):
        for place, (left, right, bar, took) in enumerate(row):
            room = (row[place + 1][0] if place + 1 < len(row) else _RIGHT) - right - 6
            parts.append(_bar(bar, left, right, y + index * _ROW + 2, took, room, linked=linked))
    return parts, height


def _bar(bar: Bar, left: float, right: float, y: float, took: float, room: float, *, linked: bool) -> str:
    tone = "mark" if bar.end is None else bar.tone if bar.tone in ("bad", "mark") else ""
    said = f"{bar.name}: {span(took)}{'' if bar.end else ', still under way'} (seq {bar.seq})"
    parts = element("title", inert(said))
    parts += element(
        "rect", x=left, y=y, width=right - left, height=_BAR, rx=min(3.0, (right - left) / 2), class_=f"bar {bar.lane} {tone}".strip()
    )
    inside = int((right - left - 8) / _CHARACTER)
    if inside >= min(len(bar.name), 8):
        parts += _text(clipped(bar.name, inside), left + 4, y + 12, "in")
    elif room >= _CHARACTER * min(len(bar.name), 8):
        parts += _text(clipped(bar.name, int(room / _CHARACTER)), right + 4, y + 12, "s")
    return element("a", parts, href=f"#e{bar.seq}") if linked else element("g", parts)


def _text(text: str, x: float, y: float, kind: str) -> str:
    return element("text", inert(text), x=float(x), y=float(y), class_=f"t {kind}".strip())
