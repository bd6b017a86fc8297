"""The divergences of a check in a page: the first one with both sides beside each other, the others a click away."""

from __future__ import annotations

from collections.abc import Iterable

from afk_es.debugger.exchange.markup import cut, inert
from afk_es.debugger.exchange.phrases import counted
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.reports.differing import Beside, Part, beside, value_text

_MOST_CHARACTERS = 20_000
_MOST_SIDES = 10
"""Divergences that are shown with both sides; of the others, what they say."""


def divergences_markup(report: CheckReport) -> str:
    """The markup; "" where nothing diverged."""
    if not report.divergences:
        return ""
    first, *others = report.divergences
    parts = [_divergence(first)]
    if others:
        shown = "".join(map(_divergence, others[: _MOST_SIDES - 1]))
        told = "".join(f"<p>{_said(each)}</p>" for each in others[_MOST_SIDES - 1 :])
        beyond = (
            f'<p class="about">{counted(report.more, "more divergence")} {"is" if report.more == 1 else "are"} not kept.</p>'
            if report.more
            else ""
        )
        name = counted(len(others) + report.more, "more divergence")
        parts.append(f"<details><summary>{name}, which may follow from the first</summary>{shown}{told}{beyond}</details>")
    return "".join(parts)


def _divergence(each: Divergence) -> str:
    sides = _sides(each)
    return (
        f'<div class="divergence"><p>{_said(each)}</p><div class="sides">'
        f"{_side('expected', each.expected is None, sides.expected, 'del', each.recorded)}"
        f"{_side('actual', each.actual is None, sides.actual, 'ins', each.today)}</div></div>"
    )


def _sides(each: Divergence) -> Beside:
    texts = ["" if value is None else value_text(value) for value in (each.expected, each.actual)]
    if each.expected is None or each.actual is None:
        # All of it differs, and to mark all of it tells nothing.
        return Beside(*((Part(text),) for text in texts))
    return beside(*texts)


def _said(each: Divergence) -> str:
    return f'<span class="kind">{inert(each.kind)}</span><code>{inert(cut(each.field, 300))}</code> {inert(cut(each.message, 2_000))}'


def _side(title: str, nothing: bool, parts: Iterable[Part], tag: str, place: Place | None) -> str:
    text = '<span class="out">nothing</span>' if nothing else "".join(_part(part, tag) for part in parts)
    return f'<div class="side"><h4>{title}</h4><pre>{text}</pre>{_place(place)}</div>'


def _part(part: Part, tag: str) -> str:
    if part.left_out:
        return f'<span class="out"> … {counted(part.left_out, "character")} … </span>'
    text = inert(cut(part.text, _MOST_CHARACTERS))
    return f"<{tag}>{text}</{tag}>" if part.differs else text


def _place(place: Place | None) -> str:
    if place is None:
        return ""
    agent = f"{' > '.join(place.agent_path)}, " if len(place.agent_path) > 1 else ""
    return f'<p class="place">{inert(agent)}step {place.step}, seq {place.seq}: {inert(cut(place.text, 300))}</p>'
