"""What a check came to, as lines for people: the verdict, the first divergence as a diff, the others in a line each. Pure.

Nothing that a model or a tool wrote reaches the terminal as it is: control characters are shown, lines are cut.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from difflib import unified_diff
from typing import Any

from afk_es.debugger.changes import Change, change_lines, changes
from afk_es.debugger.figures import count
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.divergence import Divergence, Place
from afk_es.evals.goldens.updates import of_report
from afk_es.evals.reports.lines import wrapped
from afk_es.views import clipped, columns, compact_json, visible
from afk_es.views.printable import ELLIPSIS
from afk_es.views.timeline import Tone

Line = tuple[str, Tone]

DIFF_LINES = 40
"""Lines of the first divergence's diff; what is beyond is counted."""

TEXT_LINES = 40
"""Lines of a reason, a message or a note."""

CONTEXT_LINES = 2
SHORT = 60
"""Columns up to which a text is shown whole on each side, and not as a diff."""

OTHERS_SHOWN = 20
NOTES_SHOWN = 10

_LONGEST = 200_000
"""Characters of a text that are compared line by line."""


def report_lines(report: CheckReport, width: int = 100, *, way_out: bool = True) -> tuple[Line, ...]:
    """The report in lines of at most `width` columns, each with how it is meant.

    Args:
        way_out: whether to say at the end what can be done about it; default True.
    """
    lines = [_verdict(report, width)]
    if report.reason:
        lines += [(text, "plain") for text in _indented(report.reason, width)]
    if report.divergences:
        lines += _first(report.divergences[0], width, len(report.runs) > 1)
        lines += _others(report, width)
    lines += _leftovers(report, width)
    if report.divergences and report.notes:
        lines.append(("", "plain"))
    for note in report.notes[:NOTES_SHOWN]:
        lines += [(text, "quiet") for text in _indented(f"note: {note}", width)]
    if len(report.notes) > NOTES_SHOWN:
        lines.append((f"  and {len(report.notes) - NOTES_SHOWN} more notes", "quiet"))
    lines += _way_out(report, width) if way_out else []
    return tuple((clipped(text, width), tone) for text, tone in lines)


def verdict_text(report: CheckReport) -> str:
    """The verdict in one sentence."""
    what = f"golden {report.name} ({report.mode})"
    if report.outcome == "passed":
        same = sum(run.same for run in report.runs)
        served = f", {_number(report.served, 'answer')} served" if report.served else ""
        return f"{what} passed: {_number(same, 'event')}{served}"
    if report.outcome == "not_measurable":
        return f"{what} is not measurable"
    first = report.divergences[0]
    more = len(report.divergences) + report.more - 1
    return f"{what} diverged: {first.kind} {first.field}" + (f", and {count(more)} more" if more else "")


def divergence_text(found: Divergence, width: int = 100) -> str:
    """A divergence in one line: its class, field and place, and both values."""
    head = f"{found.kind} {found.field} {_where(found)}: "
    return head + " -> ".join(_shorts(found.expected, found.actual, max(24, width - columns(visible(head)) - 4)))


_TONES: dict[str, Tone] = {"passed": "good", "diverged": "bad", "not_measurable": "mark"}


def _verdict(report: CheckReport, width: int) -> Line:
    return clipped(verdict_text(report), width), _TONES[report.outcome]


# ------------------------------------------------------------------------------------------------------------- the first divergence


def _first(found: Divergence, width: int, many: bool) -> list[Line]:
    lines: list[Line] = [("", "plain"), (clipped(f"{found.kind}  {found.field}", width), "mark")]
    lines += [(text, "plain") for text in _indented(found.message, width)]
    for side, place in (("golden", found.recorded), ("today", found.today)):
        if place is not None:
            lines.append((clipped(f"  {side:<6} {f'{place.run_id} ' if many else ''}{_place(place)}", width), "quiet"))
    lines += _difference(found, width)
    return lines


def _difference(found: Divergence, width: int) -> Iterator[Line]:
    old, new = found.expected, found.actual
    if isinstance(old, str) and isinstance(new, str) and _is_long(old, new, width):
        yield from _text_diff(old, new, width)
    elif isinstance(old, (dict, list)) and isinstance(new, (dict, list)):
        yield from _value_diff(old, new, width)
    else:
        for mark, name, value, tone in (("-", "expected", old, "bad"), ("+", "actual", new, "good")):
            for number, text in enumerate(_value_lines(value, width)):
                yield clipped(f"  {mark} {name + ':' if not number else '':<10}{text}", width), tone  # type: ignore[misc]


def _value_lines(value: Any, width: int) -> list[str]:
    """A value on one side: one line where it fits, and as many as a diff may have at most."""
    if value is None:
        return ["nothing"]
    text = visible(value if isinstance(value, str) else compact_json(value), multiline=True).expandtabs(4)
    room = max(20, width - 14)
    lines = [piece for line in (text.split("\n") if text else [""]) for piece in _pieces(line, room)]
    return lines if len(lines) <= DIFF_LINES else [*lines[:DIFF_LINES], f"... and {len(lines) - DIFF_LINES} more lines"]


def _is_long(old: str, new: str, width: int) -> bool:
    return "\n" in old + new or max(len(old), len(new)) > min(SHORT, width - 14)


def _text_diff(old: str, new: str, width: int) -> Iterator[Line]:
    yield "  - expected  + actual", "quiet"
    room = max(20, width - 4)
    before, after = (_diffed_lines(text, room) for text in (old, new))
    shown = 0
    for text in list(unified_diff(before, after, lineterm="", n=CONTEXT_LINES))[2:]:
        if shown >= DIFF_LINES:
            yield "  ... and more", "quiet"
            return
        shown += 1
        mark, rest = text[0], text[1:]
        if mark == "@":
            yield "  ...", "quiet"
            continue
        tone: Tone = "bad" if mark == "-" else "good" if mark == "+" else "plain"
        yield clipped(f"  {mark} {rest}", width).rstrip(), tone


def _diffed_lines(text: str, room: int) -> list[str]:
    """A text as lines that fit, broken at words, so that one changed word in a long paragraph shows one changed line and not all of it."""
    return [piece for line in visible(text[:_LONGEST], multiline=True).expandtabs(4).split("\n") for piece in _pieces(line, room)]


def _pieces(line: str, room: int) -> list[str]:
    pieces: list[str] = []
    while columns(line) > room:
        cut = line.rfind(" ", room // 2, room)
        cut = cut + 1 if cut >= 0 else max(1, room // 2 if columns(line[:room]) > room else room)
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def _value_diff(old: Any, new: Any, width: int) -> Iterator[Line]:
    found: list[Change] = []
    for change in changes(old, new):
        if len(found) >= DIFF_LINES:
            break
        found.append(change)
    yield "  expected -> actual", "quiet"
    for text, change in zip(change_lines(found, width - 2), found, strict=True):
        tone: Tone = "bad" if change.kind == "removed" else "good" if change.kind == "added" else "mark"
        yield f"  {text}", tone


# ----------------------------------------------------------------------------------------------------------------------------- the rest


def _others(report: CheckReport, width: int) -> list[Line]:
    others = report.divergences[1:]
    if not others:
        return []
    lines: list[Line] = [("", "plain"), ("then:", "plain")]
    lines += [(clipped(f"  {divergence_text(found, width - 2)}", width), "plain") for found in others[:OTHERS_SHOWN]]
    left = len(others) - OTHERS_SHOWN + report.more if len(others) > OTHERS_SHOWN else report.more
    if left > 0:
        lines.append((f"  and {count(left)} more", "quiet"))
    return lines


def _leftovers(report: CheckReport, width: int) -> list[Line]:
    if not report.leftovers:
        return []
    lines: list[Line] = [("", "plain"), ("recorded answers that nobody asked for:", "plain")]
    lines += [(clipped(f"  {left.what}: {_place(left.recorded)}", width), "plain") for left in report.leftovers[:OTHERS_SHOWN]]
    if len(report.leftovers) > OTHERS_SHOWN:
        lines.append((f"  and {count(len(report.leftovers) - OTHERS_SHOWN)} more", "quiet"))
    return lines


def _way_out(report: CheckReport, width: int) -> list[Line]:
    if report.ok:
        return []
    if report.outcome == "not_measurable":
        texts = ["A check that measures nothing proves nothing: make it measurable, or record the golden anew."]
    else:
        # A command has a line of its own, so that it can be copied; a file is found from anywhere, and a name below --dir alone.
        accepted, file = category(report), shlex.quote(report.path or report.name)
        texts = [
            "If this is meant, one of:",
            f"  pytest --golden-update={accepted}",
            f"  afk-es golden update --accept {accepted} {file}",
            *(["The golden, step by step:", f"  afk-es debug {file}"] if report.path else []),
        ]
    return [("", "plain"), *[(line, "quiet") for text in texts for line in wrapped(text, width, TEXT_LINES)]]


def category(report: CheckReport) -> str:
    """The category of update that would accept the report; see `afk_es.evals.goldens.store`."""
    update = of_report(report)
    return update[0] if update is not None else "behaviour"


def _indented(text: str, width: int) -> list[str]:
    return [f"  {line}" for line in wrapped(text, width - 2, TEXT_LINES)]


def _place(place: Place) -> str:
    path = f"{'/'.join(place.agent_path[1:])} " if len(place.agent_path) > 1 else ""
    return f"@{place.seq} step {place.step} {path}{place.type} {place.text}".rstrip()


def _where(found: Divergence) -> str:
    place = found.today or found.recorded
    if place is None:
        return "the golden"
    side = "" if found.today is not None else " of the golden"
    return f"@{place.seq}{side} {place.tool_name}".rstrip()


def _shorts(old: Any, new: Any, room: int) -> tuple[str, str]:
    """Both values in so many columns, each from shortly before they differ; the shorter one leaves the other what it does not need."""
    texts = ["nothing" if value is None else compact_json(value) for value in (old, new)]
    pairs = enumerate(zip(*texts, strict=False))
    shared = next((index for index, (one, other) in pairs if one != other), min(map(len, texts)))
    lengths = list(map(len, texts))
    if sum(lengths) > room and shared > room // 8:
        texts = [f"{ELLIPSIS}{text[shared - room // 8 :]}" for text in texts]
    half = room // 2
    needed = [min(columns(visible(text[: room + 1])), room) for text in texts]
    rooms = [half if needed[1 - side] > half else room - needed[1 - side] for side in (0, 1)]
    return clipped(texts[0], max(rooms[0], 8)), clipped(texts[1], max(rooms[1], 8))


def _number(number: int, noun: str) -> str:
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"
