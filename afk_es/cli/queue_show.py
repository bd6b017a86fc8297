"""`afk-es queue show`: one task, all of it."""

from __future__ import annotations

import asyncio
import datetime as dt

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.cli.tasks import TONES, records_of, shown, task_json, task_named, tries
from afk_es.log import EventLog
from afk_es.queues.items import TaskItem
from afk_es.redaction import Redaction
from afk_es.views import compact_json, visible

_LEAD = 10


@click.command("show", short_help="Show a task: what was asked, where it stands, what it came to.")
@click.argument("task", metavar="TASK", default="@last")
@common_options
@click.pass_obj
@redaction_options
def show(invocation: Invocation, task: str, redaction: Redaction | None) -> None:
    """Show TASK: what was asked, where it stands, and what it came to; default the newest."""
    asyncio.run(_show(invocation, task, redaction))


async def _show(invocation: Invocation, task: str, redaction: Redaction | None) -> None:
    async with records_of(invocation.location) as (log, records):
        item = shown(await task_named(log, records, task), redaction)
        match invocation.format:
            case "json":
                output.write_json({"schema": "afk_es.task/1", **task_json(item)})
            case "jsonl":
                output.write_json_line({"schema": "afk_es.task/1", **task_json(item)})
            case "text":
                await _write(log, item, invocation.db)


async def _write(log: EventLog, item: TaskItem, db: str | None) -> None:
    output.echo(f"{output.toned(visible(item.id), 'strong')}  {output.toned(item.state, TONES[item.state])}")
    _line("contract", visible(item.contract))
    _line("payload", visible(compact_json(item.payload)))
    _line("queue", visible(item.queue) + (f", priority {item.priority}" if item.priority else ""))
    for name, text in (("key", item.key), ("lane", item.lane), ("worker", item.worker)):
        if text is not None:
            _line(name, visible(text))
    _line("pushed", _time(item.created_at))
    if item.not_before is not None and item.state == "queued":
        _line("not before", _time(item.not_before))
    _line("changed", _time(item.updated_at))
    _line("tries", tries(item) + (f", {item.crashes} cut by a worker that was gone" if item.crashes else ""))
    if item.progress.doing and not item.ended:
        _line("doing", visible(f"step {item.progress.step}: {item.progress.doing}"))
    if item.cancel_requested and not item.ended:
        _line("cancel", "asked for; the worker that has it next ends its run")
    if item.error is not None:
        # What it waits for stands there as well, and is no error.
        _line("error" if item.state != "waiting" else "why", visible(f"{item.error_type}: {item.error}" if item.error_type else item.error))
    if item.state == "completed":
        _line("result", "too large for this list; it is in the run" if item.result_in_log else visible(compact_json(item.result)))
    if await log.head(item.id) is not None:
        _line("run", visible(output.command("show", item.id, db=db)))


def _line(lead: str, text: str) -> None:
    output.echo(f"  {output.toned(lead.ljust(_LEAD), 'quiet')} {text}")


def _time(moment: dt.datetime) -> str:
    return output.local(moment)
