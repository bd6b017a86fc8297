"""`afk-es runs`: the runs of a log, the newest first."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.figures import span
from afk_es.debugger.naming import all_runs, short_ids, status_of
from afk_es.errors import UsageError
from afk_es.log import EventLog, RunRecord
from afk_es.redaction import Redaction
from afk_es.views import columns

_HEADER = ("status", "run", "agent", "started", "took", "steps", "tools", "errors", "tokens", "cost", "about")
_RIGHT = frozenset({"took", "steps", "tools", "errors", "tokens", "cost"})
_DISPENSABLE = ("cost", "tokens", "took", "agent", "errors", "tools", "steps")
"""Columns that a narrow terminal does without, the first one first, until there is room to say what a run was about."""
_ROOM_FOR_ABOUT = 20
_STATES = ("running", "paused", "completed", "degraded", "failed", "cancelled", "interrupted", "crashed")


@click.command("runs", short_help="List runs, the newest first.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--thread", "thread_id", metavar="ID", help="Only runs of this thread.")
@click.option("--state", type=click.Choice(_STATES), multiple=True, help="Only runs in this state; may be given more than once.")
@click.option("--limit", type=click.IntRange(min=1), default=50, show_default=True, help="Most runs to list.")
@common_options
@click.pass_obj
@redaction_options
def runs(
    invocation: Invocation, file: str | None, thread_id: str | None, state: tuple[str, ...], limit: int, redaction: Redaction | None
) -> None:
    """List the runs of the log, or of the log FILE, the newest first.

    A run that has no end, and that no living process drives, is shown as crashed: `afk-es resume` goes on with it.
    """
    asyncio.run(_runs(invocation, _location(invocation, file), thread_id, state, limit, redaction))


def _location(invocation: Invocation, file: str | None) -> str:
    if file is None:
        return invocation.location
    name = parse_name(file, invocation)
    if not name.whole_log:
        raise UsageError(f"`afk-es runs` lists the runs of a log file, and {file!r} is none; `afk-es show {file}` shows one run")
    return name.location


async def _runs(
    invocation: Invocation, location: str, thread_id: str | None, states: tuple[str, ...], limit: int, redaction: Redaction | None
) -> None:
    async with reading(location) as log:
        found = [(_redacted(record, redaction), status) for record, status in await _selected(log, thread_id, states, limit)]
        if invocation.format == "text":
            await _write_text(log, found)
            return
        rows = [_row(record, status) for record, status in found]
        if invocation.format == "json":
            output.write_json({"schema": "afk_es.runs/1", "log": log.location, "runs": rows})
            return
        for row in rows:
            output.write_json_line({"schema": "afk_es.run/1", **row})


async def _selected(log: EventLog, thread_id: str | None, states: tuple[str, ...], limit: int) -> list[tuple[RunRecord, str]]:
    found: list[tuple[RunRecord, str]] = []
    async for record in all_runs(log, thread_id=thread_id):
        status = await status_of(log, record)
        if not states or status in states:
            found.append((record, status))
        if len(found) >= limit:
            break
    return found


async def _write_text(log: EventLog, found: list[tuple[RunRecord, str]]) -> None:
    short = await short_ids(log, [record.run_id for record, _status in found])
    rows = [_cells(record, status, short[record.run_id]) for record, status in found]
    header, *lines = _fitting(rows, output.width())
    output.echo(output.toned(header, "quiet"))
    for line, (_record, status) in zip(lines, found, strict=True):
        output.echo(output.toned(line[: len(status)], output.STATUS_TONES.get(status, "plain")) + line[len(status) :])
    if not found:
        output.note(f"{log.location} has no runs that fit")


def _fitting(rows: list[tuple[str, ...]], total: int) -> list[str]:
    """The lines of the table, without the columns that there is no room for."""
    shown = list(range(len(_HEADER)))
    widths = [max(map(columns, cells)) for cells in zip(_HEADER, *rows, strict=True)]
    for name in _DISPENSABLE:
        if sum(widths[index] + 2 for index in shown[:-1]) + _ROOM_FOR_ABOUT <= total:
            break
        shown.remove(_HEADER.index(name))
    header = [_HEADER[index] for index in shown]
    right = [place for place, name in enumerate(header) if name in _RIGHT]
    return output.table(header, [[row[index] for index in shown] for row in rows], right=right, total=total)


def _cells(record: RunRecord, status: str, short: str) -> tuple[str, ...]:
    seconds = (record.updated_at - record.started_at).total_seconds()
    tokens = record.input_tokens + record.output_tokens
    return (
        status,
        short,
        record.agent_name[:24],
        output.local(record.started_at)[5:],
        span(seconds),
        str(record.step),
        str(record.tool_calls),
        str(record.errors),
        str(tokens) if tokens else "-",
        output.dollars(record.cost_usd),
        _about(record, status),
    )


def _about(record: RunRecord, status: str) -> str:
    """Why it did not complete, where that is known; otherwise what it was asked."""
    if status != "completed" and record.ended and record.message:
        return record.message
    task = record.user_message or ""
    return f"{_CHILD}{task}" if record.parent_run_id is not None else task


_CHILD = "\u21b3 "
"""Marks the run of a subagent, before the task it was given; `--format json` has its parent's id."""


def _redacted(record: RunRecord, redaction: Redaction | None) -> RunRecord:
    if redaction is None:
        return record
    asked = redaction.text(record.user_message) if record.user_message is not None else None
    return msgspec.structs.replace(record, user_message=asked, message=redaction.text(record.message))


def _row(record: RunRecord, status: str) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(record)
    return {**data, "status": status}
