"""What waits for a person, as lines: whoever says yes has to be able to see all of what would run. Pure."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Sequence
from typing import Any

from afk_es.debugger.context import NewMessage
from afk_es.debugger.figures import span
from afk_es.debugger.waiting import Request, Standing
from afk_es.interaction import ApprovalRequest, InputRequest
from afk_es.redaction import Redaction
from afk_es.views import arguments_text, compact_json, padded, visible
from debugger.lines import Span, wrapped
from debugger.runs_table import status_span

Line = list[Span]
Row = tuple[Standing, Request | None]

_LEAD = 11
"""Columns of the words that lead the lines of a request."""


def rows_of(standings: Sequence[Standing]) -> list[Row]:
    """The lines of the list: each run, and below it what it waits with."""
    rows: list[Row] = []
    for standing in standings:
        rows.append((standing, None))
        rows += [(standing, request) for request in standing.requests]
    return rows


def row_line(row: Row, now: dt.datetime, redaction: Redaction | None) -> Line:
    """A run, or a question of it."""
    standing, request = row
    if request is None:
        sign = status_span(standing.status)
        asks = len(standing.requests)
        waits = f"  waits with {asks} question{'s' if asks > 1 else ''}" if asks else ""
        drives = "a process drives it" if standing.live else "nobody drives it" if not standing.ended else "over"
        return [
            Span(padded(sign.text, 13) + " ", sign.tone),
            Span(f"{standing.agent_name}  ", "agent"),
            Span(f"{standing.run_id}  ", "plain"),
            Span(f"step {standing.step}, {drives}", "quiet"),
            Span(waits, "warn"),
        ]
    asks_for = "may it run?" if isinstance(request, ApprovalRequest) else "your words?"
    arguments = redaction.value(request.arguments) if redaction is not None else request.arguments
    return [
        Span(f"  ? {asks_for} ", "person"),
        Span(request.tool_name, "tool"),
        Span(f"({arguments_text(arguments)})", "plain"),
        Span(f"  {term(request, now)}", "quiet"),
    ]


def request_details(
    request: Request, seen: Sequence[NewMessage] | None, now: dt.datetime, redaction: Redaction | None, width: int
) -> list[Line]:
    """A question, whole, and what the model saw before it asked for the call; `seen` is None while that is being read."""
    asks = "wants to run" if isinstance(request, ApprovalRequest) else "asks for your words"
    lines: list[Line] = [[Span(f"{request.tool_name} {asks}", "strong")]]
    said = request.prompt if isinstance(request, InputRequest) else request.reason
    pairs: list[tuple[str, str, str]] = [("it says", said or "", "person")]
    if request.proposed_arguments is not None:
        pairs.append(("asked", _arguments(request.proposed_arguments, redaction), "quiet"))
        pairs.append(("would run", _arguments(request.arguments, redaction), "value"))
    else:
        pairs.append(("arguments", _arguments(request.arguments, redaction), "value"))
    pairs += [
        ("rule", request.rule or "none", "plain"),
        ("payload", compact_json(_kept(request.payload, redaction)) if request.payload else "", "plain"),
        ("agent", " > ".join(request.agent_path), "agent"),
        ("waits", f"{span(max(0.0, (now - request.asked_at).total_seconds()))}; {term(request, now)}", "plain"),
        ("request", f"{request.request_id} of {request.run_id}", "quiet"),
    ]
    for lead, text, tone in pairs:
        lines += _led(lead, str(_kept(text, redaction)), tone, width)
    if seen is None:
        return [*lines, [Span("model saw   …", "quiet")]]
    for index, message in enumerate(seen):
        lines += _led("model saw" if not index else "", f"{message.role}: {_kept(message.text, redaction)}", "plain", width)
    return lines if seen else [*lines, *_led("model saw", "nothing new since its last answer", "quiet", width)]


def standing_details(standing: Standing, width: int) -> list[Line]:
    """What can be done with a run now."""
    if standing.ended:
        return _led("it has", "ended; nothing can be said to it", "quiet", width)
    if standing.live:
        lines = _led(
            "it lives", "in another process, or in a task of this one; what is said to it is taken in within a second", "plain", width
        )
        verbs = "unpause, interrupt (it can be resumed), cancel (for good)" if standing.status == "paused" else ""
        return lines + _led("you may", verbs or "pause, interrupt (it can be resumed), cancel (for good)", "plain", width)
    lines = _led("it lies", "there: nobody drives it. What is said waits in the log until the run is resumed", "warn", width)
    return lines + _led("resume", f"afk-es resume {shlex.quote(standing.run_id)} MODULE:AGENT", "plain", width)


def term(request: Request, now: dt.datetime) -> str:
    """Until when it can be answered."""
    if request.deferred:
        return "put off, without a term"
    if request.expires_at is None:
        return "without a term"
    left = (request.expires_at - now).total_seconds()
    return f"the fallback answers in {span(left)}" if left > 0 else f"overdue since {span(-left)}: the fallback answers when it goes on"


def request_text(request: Request, redaction: Redaction | None) -> str:
    """What a dialog says of a question: all that would run."""
    said = request.prompt if isinstance(request, InputRequest) else request.reason
    text = f"{request.tool_name}({_arguments(request.arguments, redaction)})"
    return visible(str(_kept(f"{said}\n{text}" if said else text, redaction)), multiline=True)


def _arguments(arguments: Any, redaction: Redaction | None) -> str:
    shown = _kept(arguments, redaction)
    return arguments_text(shown) if isinstance(shown, (dict, str)) else compact_json(shown)


def _kept(value: Any, redaction: Redaction | None) -> Any:
    return value if redaction is None else redaction.value(value)


def _led(lead: str, text: str, tone: str, width: int) -> list[Line]:
    """Lines led by a word; nothing where there is no text."""
    parts = wrapped(visible(text), max(8, width - _LEAD - 1)) if text else []
    return [[Span(padded(lead if not index else "", _LEAD) + " ", "quiet"), Span(part, tone)] for index, part in enumerate(parts)]
