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
from afk_es.debugger.naming import short_ids
from afk_es.debugger.run_table import HEADER, NUMBERS, STATES, Listed, cells, selected_runs
from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.redaction import Redaction
from afk_es.views import columns

_DISPENSABLE = ("cost", "tokens", "took", "agent", "errors", "tools", "steps")
"""Columns that a narrow terminal does without, the first one first, until there is room to say what a run was about."""
_ROOM_FOR_ABOUT = 20


@click.command("runs", short_help="List runs, the newest first.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--thread", "thread_id", metavar="ID", help="Only runs of this thread.")
@click.option("--state", type=click.Choice(STATES), multiple=True, help="Only runs in this state; may be given more than once.")
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
        found = (await selected_runs(log, thread_id=thread_id, states=states, limit=limit, redaction=redaction)).runs
        if invocation.format == "text":
            await _write_text(log, found)
            return
        rows = [_row(run) for run in found]
        if invocation.format == "json":
            output.write_json({"schema": "afk_es.runs/1", "log": log.location, "runs": rows})
            return
        for row in rows:
            output.write_json_line({"schema": "afk_es.run/1", **row})


async def _write_text(log: EventLog, found: list[Listed]) -> None:
    short = await short_ids(log, [record.run_id for record, _status in found])
    rows = [cells(run, short[run.record.run_id]) for run in found]
    header, *lines = _fitting(rows, output.width())
    output.echo(output.toned(header, "quiet"))
    for line, (_record, status) in zip(lines, found, strict=True):
        output.echo(output.toned(line[: len(status)], output.STATUS_TONES.get(status, "plain")) + line[len(status) :])
    if not found:
        output.note(f"{log.location} has no runs that fit")


def _fitting(rows: list[tuple[str, ...]], total: int) -> list[str]:
    """The lines of the table, without the columns that there is no room for."""
    shown = list(range(len(HEADER)))
    widths = [max(map(columns, column)) for column in zip(HEADER, *rows, strict=True)]
    for name in _DISPENSABLE:
        if sum(widths[index] + 2 for index in shown[:-1]) + _ROOM_FOR_ABOUT <= total:
            break
        shown.remove(HEADER.index(name))
    header = [HEADER[index] for index in shown]
    right = [place for place, name in enumerate(header) if name in NUMBERS]
    return output.table(header, [[row[index] for index in shown] for row in rows], right=right, total=total)


def _row(run: Listed) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(run.record)
    return {**data, "status": run.status}
