"""A run as a report in Markdown: how it ended, what was said and called, what it cost. What a log says stands in code blocks, and is inert."""

from __future__ import annotations

from typing import Any

import msgspec

from afk_es.debugger.exchange.fences import block, cell, code
from afk_es.debugger.exchange.phrases import counted, figures_of, took
from afk_es.debugger.exchange.report import Report
from afk_es.debugger.exchange.story import Call, Turn
from afk_es.debugger.figures import dollars, span
from afk_es.views import since
from afk_es.views.printable import parts_text

_SHORT = 160


def markdown(report: Report) -> str:
    """The report."""
    parts = [
        f"# {code(report.agent_name)}: {code(report.status)}",
        code(report.ending, 2_000),
        _facts(report),
    ]
    if report.missing:
        parts.append("Missing:\n\n" + "\n".join(f"* {code(sentence)}" for sentence in report.missing))
    if report.imported is not None:
        parts.append(_imported(report.imported))
    parts.append("## Conversation")
    if report.history:
        parts.append(f"{counted(len(report.history), 'earlier message')} of the thread came before it, which the model saw as well.")
    parts += [_turn(turn, report) for turn in report.turns]
    parts.append(_calls(report))
    kept = "Secrets were kept back by name and shape." if report.redacted else "Nothing was redacted."
    parts.append(f"---\n\nWritten by afk-es {code(report.made_by['afk_es'])} from {code(report.made_by['log'])}. {kept}")
    return "\n\n".join(parts) + "\n"


def _facts(report: Report) -> str:
    rows = [
        ("run", code(report.run_id)),
        ("thread", code(report.thread_id)),
        ("models", ", ".join(map(code, report.models))),
        ("started", report.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("took", took(report)),
        *figures_of(report),
    ]
    rows += [
        (code(each.role), f"{code(each.run_id)} ({code(each.state) if each.state else 'not in the log'})") for each in report.relatives
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| {cell(name)} | {cell(value)} |" for name, value in rows)


def _imported(imported: dict[str, Any]) -> str:
    sentences = [
        f"Imported from {code(str(imported.get('source')))} ({code(str(imported.get('format')))}); "
        f"its times are {code(str(imported.get('times')))}."
    ]
    notes = imported.get("notes")
    sentences += [code(str(note)) for note in notes] if isinstance(notes, list) else []
    return "\n".join(f"> {sentence}  " for sentence in sentences)


def _turn(turn: Turn, report: Report) -> str:
    at = since(turn.at - report.started_at)
    calls = "\n\n".join(map(_call, turn.calls))
    if turn.kind == "note":
        return f"*seq {turn.seq}, {at}:* {code(turn.text, 2_000)}" + (f"\n\n{calls}" if calls else "")
    told = [at, f"seq {turn.seq}"]
    if turn.model is not None:
        told.append(code(turn.model))
    if turn.usage is not None:
        told.append(f"{turn.usage['input_tokens']:,} in, {turn.usage['output_tokens']:,} out")
    if turn.cost_usd is not None:
        told.append(dollars(turn.cost_usd))
    said = turn.text
    if turn.parts and (images := parts_text(turn.parts)):
        said = f"{said}\n{images}".strip()
    parts = [f"### {turn.kind} ({', '.join(told)})", *([block(said)] if said else []), *([calls] if calls else [])]
    return "\n\n".join(parts)


def _call(call: Call) -> str:
    took = f", {span(call.took_s)}" if call.took_s else ""
    head = f"**{code(call.tool_name)}** {code(call.outcome)}{took} (seq {call.seq})"
    notes = "".join(f"\n* {code(note, 2_000)}" for note in call.notes)
    result = call.error if call.error is not None else call.output
    return "\n\n".join([head + notes, block(_json(call.arguments)), block(_json(result))])


def _calls(report: Report) -> str:
    calls = [call for turn in report.turns for call in turn.calls]
    if not calls:
        return "## Tool calls\n\nNone recorded."
    rows = []
    for call in calls:
        result = call.error if call.error is not None else _json(call.output)
        took = span(call.took_s) if call.took_s else ""
        cells = (str(call.seq), code(call.tool_name), code(_json(call.arguments), _SHORT), code(call.outcome), took, code(result, _SHORT))
        rows.append("| " + " | ".join(map(cell, cells)) + " |")
    return "## Tool calls\n\n| seq | tool | arguments | outcome | took | result |\n|---|---|---|---|---|---|\n" + "\n".join(rows)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
