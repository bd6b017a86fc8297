"""`afk-es queue dead`: the dead letters, each with why, and the commands that look into it, try it again or forget it."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.cli.tasks import about, records_of, shown, task_json
from afk_es.clock import SystemClock
from afk_es.debugger.figures import span
from afk_es.log import EventLog
from afk_es.queues.items import TaskItem
from afk_es.redaction import Redaction
from afk_es.views import visible


@click.command("dead", short_help="List the tasks that failed for good, and why.")
@click.option("--queue", "queue_name", metavar="NAME", help="Only tasks of this queue.")
@click.option("--limit", type=click.IntRange(min=1, max=1_000), default=20, show_default=True, help="Most tasks to list.")
@common_options
@click.pass_obj
@redaction_options
def dead(invocation: Invocation, queue_name: str | None, limit: int, redaction: Redaction | None) -> None:
    """List the tasks that failed for good, the newest first. They stay until somebody retries or discards them."""
    asyncio.run(_dead(invocation, queue_name, limit, redaction))


async def _dead(invocation: Invocation, queue: str | None, limit: int, redaction: Redaction | None) -> None:
    async with records_of(invocation.location) as (log, records):
        found = await records.list(queue, "dead", None, limit) if records is not None else ()
        items = [shown(item, redaction) for item in found]
        match invocation.format:
            case "json":
                output.write_json({"schema": "afk_es.tasks/1", "log": log.location, "tasks": [task_json(item) for item in items]})
            case "jsonl":
                for item in items:
                    output.write_json_line({"schema": "afk_es.task/1", **task_json(item)})
            case "text":
                for item in items:
                    await _write(log, item, invocation.db)
                if not items:
                    output.note(f"no task of {log.location} is dead")


async def _write(log: EventLog, item: TaskItem, db: str | None) -> None:
    ago = span((SystemClock().now() - item.updated_at).total_seconds())
    output.echo(f"{output.toned(visible(item.id), 'strong')}  {about(item)}")
    output.echo(f"  {output.toned(visible(item.error_type or 'dead'), 'bad')} {visible(item.error or 'nobody said why')}")
    times = f"{item.attempts} attempt{'' if item.attempts == 1 else 's'}"
    output.echo(output.toned(f"  {visible(item.queue)}, {times}, {ago} ago", "quiet"))
    words: list[tuple[str, tuple[str, ...]]] = [("debug", ("debug", item.id))] if await log.head(item.id) is not None else []
    for what, command in (*words, ("retry", ("queue", "retry", item.id)), ("discard", ("queue", "discard", item.id))):
        output.echo(f"  {output.toned(what.ljust(8), 'quiet')} {visible(output.command(*command, db=db))}")
