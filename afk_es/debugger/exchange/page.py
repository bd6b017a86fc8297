"""A run as one page: no other file, no network, no script needed to read it. A small script filters and expands; the policy allows no other.

Whatever stands in a log is text here. It goes through `inert`, and nothing of a log becomes an address: images are shown from their bytes
alone, and addresses are written, not linked.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from afk_es.debugger.exchange.document import document, section
from afk_es.debugger.exchange.drawing import STYLE, TONES, inline_drawing
from afk_es.debugger.exchange.markup import cut, inert
from afk_es.debugger.exchange.page_assets import PAGE_STYLE, SCRIPT
from afk_es.debugger.exchange.phrases import counted, figures_of, took
from afk_es.debugger.exchange.report import Report
from afk_es.debugger.exchange.story import Call, Turn
from afk_es.debugger.figures import dollars, span
from afk_es.machine import AgentRunEvent
from afk_es.machine.values import Message
from afk_es.views import Line, since, without_bytes

_MOST_CHARACTERS = 200_000
"""Of one text. A page that holds a tool's output of many megabytes opens nowhere."""
_MOST_EVENTS = 4_000
"""Events that are in the page with their data: as many of the first as of the last."""
_SHORT = 240
"""Characters of a value that is shown beside its call; a longer one is a click away."""
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def page(report: Report) -> str:
    """The page."""
    sections = [
        _header(report),
        section("Timeline", f'<div class="wide">{inline_drawing(report)}</div>', "where nothing happens, time is folded"),
        section("Conversation", _conversation(report)),
        section("Events", _events(report), f"{counted(len(report.events), 'event')}; each opens to its data"),
        section("The agent", _agent(report)),
        _footer(report),
    ]
    title = f"{report.agent_name}: {report.status} · {report.run_id}"
    return document(title, "".join(sections), style=STYLE + PAGE_STYLE, script=SCRIPT, images=True)


# --------------------------------------------------------------------------------------------------------------------------- the head


def _header(report: Report) -> str:
    tone = TONES.get(report.status, "mark")
    time = took(report)
    facts = [
        ("took", time if report.stretches == 1 else f"{time}, {report.stretches} stretches"),
        *figures_of(report),
    ]
    cells = "".join(
        f"<div{' class=bad' if name == 'errors' and report.errors else ''}><dt>{name}</dt><dd>{inert(value)}</dd></div>"
        for name, value in facts
    )
    missing = "".join(f'<p class="missing">missing: {inert(sentence)}</p>' for sentence in report.missing)
    where = [
        ("run", report.run_id),
        ("thread", report.thread_id),
        ("models", ", ".join(report.models)),
        ("started", report.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
    ]
    where += [(relative.role, f"{relative.run_id} ({relative.state or 'not in the log'})") for relative in report.relatives]
    rows = "".join(f"<div><dt>{inert(name)}</dt><dd>{inert(value)}</dd></div>" for name, value in where)
    return (
        f'<header><p class="pill {tone}">{inert(report.status)}</p><h1>{inert(report.agent_name)}</h1>'
        f'<p class="ending">{inert(cut(report.ending, 2_000))}</p>{missing}'
        f'<dl class="facts">{cells}</dl>{_limits(report)}<dl class="where">{rows}</dl>{_imported(report)}</header>\n'
    )


def _limits(report: Report) -> str:
    """How much of each limit was used, where that is worth a look."""
    parts = []
    for limit in report.limits:
        if limit.maximum <= 0 or limit.maximum >= 1e9:
            continue
        share = limit.used / limit.maximum
        tone = "bad" if share >= 1 else "mark" if share >= 0.8 else "plain"
        name = limit.limit.removeprefix("max_").removesuffix("_s").removesuffix("_usd").replace("_", " ")
        said = f"{limit.used:,.4g} of {limit.maximum:,.6g}"
        parts.append(f'<label class="{tone}">{inert(name)} <meter max="1" value="{min(share, 1):.4f}"></meter> {said}</label>')
    return f'<p class="limits">{"".join(parts)}</p>' if parts else ""


def _imported(report: Report) -> str:
    if report.imported is None:
        return ""
    times = report.imported.get("times")
    notes = report.imported.get("notes")
    sentences = [f"Imported from {report.imported.get('source')} ({report.imported.get('format')}); its times are {times}."]
    sentences += [str(note) for note in notes] if isinstance(notes, list) else []
    metadata = report.imported.get("metadata")
    shown = _folded("metadata", _json(metadata)) if metadata else ""
    return f'<div class="imported">{"".join(f"<p>{inert(sentence)}</p>" for sentence in sentences)}{shown}</div>'


# --------------------------------------------------------------------------------------------------------------------------- the conversation


def _conversation(report: Report) -> str:
    parts = []
    if report.history:
        before = "".join(_remembered(message) for message in report.history)
        parts.append(
            f'<details class="history"><summary>{counted(len(report.history), "earlier message")} of the thread, which the model saw as well</summary>{before}</details>'
        )
    parts += [_turn(turn, report) for turn in report.turns]
    return "".join(parts)


def _remembered(message: Message) -> str:
    calls = "".join(
        f"<p><code>{inert(call.tool_name)}({inert(cut(_json(call.arguments), _SHORT))})</code></p>" for call in message.tool_calls
    )
    text = f"<pre>{inert(cut(message.content, _MOST_CHARACTERS))}</pre>" if message.content else ""
    return f'<article class="{message.role}"><h3>{message.role}</h3>{text}{calls}</article>'


def _turn(turn: Turn, report: Report) -> str:
    at = since(turn.at - report.started_at)
    link = f'<a class="seq" href="#e{turn.seq}">{turn.seq}</a>'
    if turn.kind == "note":
        calls = "".join(map(_call, turn.calls))
        return f'<article class="note {turn.tone}"><p>{inert(cut(turn.text, _MOST_CHARACTERS))} <span class="about">{at}</span> {link}</p>{calls}</article>'
    told = [at]
    if turn.model is not None:
        told.append(turn.model)
    if turn.took_s:
        told.append(span(turn.took_s))
    if turn.usage is not None:
        told.append(f"{turn.usage['input_tokens']:,} → {turn.usage['output_tokens']:,} tokens")
    if turn.cost_usd is not None:
        told.append(dollars(turn.cost_usd))
    head = f'<h3>{turn.kind} <span class="about">{inert(" · ".join(told))}</span> {link}</h3>'
    reasoning = turn.extra.get("reasoning")
    thought = _folded("reasoning", reasoning) if isinstance(reasoning, str) else ""
    text = f"<pre>{inert(cut(turn.text, _MOST_CHARACTERS))}</pre>" if turn.text else ""
    images = "".join(_image(part) for part in turn.parts if part.get("type") == "image")
    return f'<article class="{turn.kind}">{head}{thought}{text}{images}{"".join(map(_call, turn.calls))}</article>\n'


def _image(part: dict[str, Any]) -> str:
    """An image from its bytes. One by address is only named: a page must not tell anybody that it was opened."""
    kind, data = part.get("media_type"), part.get("data")
    if kind not in _IMAGES or not isinstance(data, str) or not _BASE64.fullmatch(data):
        return f'<p class="about">[image {inert(str(part.get("url") or kind))}]</p>'
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return '<p class="about">[image that cannot be decoded]</p>'
    return f'<img alt="image of the user" src="data:{kind};base64,{data}">'


_OUTCOMES = {"returned": "good", "deferred": "plain", "open": "mark", "unknown": "mark"}


def _call(call: Call) -> str:
    tone = _OUTCOMES.get(call.outcome, "bad")
    took = f" · {span(call.took_s)}" if call.took_s else ""
    arguments = _json(call.arguments)
    result = call.error if call.error is not None else call.output if isinstance(call.output, str) else _json(call.output)
    result = result or ""
    short = f"<code>{inert(_one_line(arguments))}</code>"
    notes = "".join(f"<li>{inert(cut(note, 4_000))}</li>" for note in call.notes)
    child = f"<p>run {inert(call.child)}</p>" if call.child is not None else ""
    opened = " open" if tone == "bad" else ""
    return (
        f'<details class="call {tone}"{opened}><summary><b>{inert(call.tool_name)}</b> {short} <span class="outcome">{inert(call.outcome)}{took}</span> '
        f'<a class="seq" href="#e{call.seq}">{call.seq}</a></summary>{child}{f"<ul>{notes}</ul>" if notes else ""}'
        f"<h4>arguments</h4><pre>{inert(cut(arguments, _MOST_CHARACTERS))}</pre>"
        f"<h4>{'error' if call.error is not None else 'result'}</h4><pre>{inert(cut(result, _MOST_CHARACTERS))}</pre></details>"
    )


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[:_SHORT]}…"


def _folded(name: str, text: str) -> str:
    return f"<details><summary>{inert(name)}</summary><pre>{inert(cut(text, _MOST_CHARACTERS))}</pre></details>"


def _json(value: Any) -> str:
    """A value as JSON to read."""
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


# --------------------------------------------------------------------------------------------------------------------------- the events


def _events(report: Report) -> str:
    types = sorted({event.type for event in report.events})
    options = "".join(f'<option value="{inert(name)}">{inert(name)}</option>' for name in types)
    bar = (
        '<p class="filter" hidden><input type="search" placeholder="filter: text in an event" aria-label="Text in an event">'
        f'<select aria-label="Type of event"><option value="">all types</option>{options}</select>'
        '<label><input type="checkbox" value="bad"> errors only</label>'
        '<button type="button" value="open">expand all</button><button type="button" value="close">fold all</button>'
        "<output></output></p>"
    )
    pairs = list(zip(report.events, report.lines, strict=True))
    left_out = ""
    if len(pairs) > _MOST_EVENTS:
        half = _MOST_EVENTS // 2
        left_out = (
            f'<p class="about">{len(pairs) - 2 * half:,} events in the middle are left out: seq {pairs[half][0].seq} to '
            f"{pairs[-half - 1][0].seq}. <code>afk-es export --to jsonl</code> has them all.</p>"
        )
        rows = [_event(*pair) for pair in pairs[:half]] + [left_out] + [_event(*pair) for pair in pairs[-half:]]
    else:
        rows = [_event(*pair) for pair in pairs]
    return f'{bar}<div class="events">{"".join(rows)}</div>'


def _event(event: AgentRunEvent, line: Line) -> str:
    data = msgspec.to_builtins(event) | {"data": without_bytes(event.data)}
    if event.type == "run_started" and "agent" in event.data:
        data["data"] = {**data["data"], "agent": "(see: the agent)"}
    return (
        f'<details class="event {line.tone}" id="e{event.seq}" data-type="{inert(event.type)}"><summary><span class="n">{event.seq}</span>'
        f'<span class="n">{since(line.since)}</span><b>{inert(event.type)}</b><span class="what">{inert(_one_line(line.text))}</span></summary>'
        f"<pre>{inert(cut(_json(data), _MOST_CHARACTERS))}</pre></details>\n"
    )


# --------------------------------------------------------------------------------------------------------------------------- the rest


def _agent(report: Report) -> str:
    parts = []
    if report.instructions:
        parts.append(
            f'<details><summary>instructions <span class="about">{counted(len(report.instructions), "character")}</span></summary><pre>{inert(cut(report.instructions, _MOST_CHARACTERS))}</pre></details>'
        )
    else:
        parts.append('<p class="about">It has no instructions.</p>')
    for tool in report.tools:
        hints = [
            name
            for name, given in (("read-only", tool.read_only), ("idempotent", tool.idempotent), ("destructive", tool.destructive))
            if given
        ]
        about = f' <span class="about">{inert(", ".join(hints))}</span>' if hints else ""
        parts.append(
            f"<details><summary><b>{inert(tool.name)}</b>{about} {inert(_one_line(tool.description))}</summary>"
            f"<pre>{inert(cut(_json(tool.parameters), _MOST_CHARACTERS))}</pre></details>"
        )
    if not report.tools:
        parts.append('<p class="about">It has no tools.</p>')
    if report.context:
        parts.append(_folded("context", _json(report.context)))
    if len(report.spending) > 1:
        rows = "".join(
            f"<tr><td>{inert(name)}</td><td>{use.requests}</td><td>{use.answers}</td><td>{use.usage.total_tokens:,}</td>"
            f"<td>{dollars(use.cost_usd)}</td></tr>"
            for name, use in report.spending.items()
        )
        parts.append(f"<table><tr><th>model</th><th>asked</th><th>answers</th><th>tokens</th><th>cost</th></tr>{rows}</table>")
    return "".join(parts)


def _footer(report: Report) -> str:
    kept = "Secrets were kept back by name and shape." if report.redacted else "Nothing was redacted."
    return f"<footer>Written by afk-es {inert(report.made_by['afk_es'])} from {inert(report.made_by['log'])}. {kept}</footer>\n"
