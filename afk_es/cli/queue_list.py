"""`afk-es queue list`: the tasks of a log, the newest first."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.cli.tasks import STATES, TONES, about, records_of, shown, task_json, tries
from afk_es.clock import SystemClock
from afk_es.debugger.figures import span
from afk_es.queues.items import TaskItem, TaskState
from afk_es.redaction import Redaction
from afk_es.views import visible

_HEADER = ("state", "task", "queue", "tries", "age", "about")


@click.command("list", short_help="List tasks, the newest first.")
@click.option("--queue", "queue_name", metavar="NAME", help="Only tasks of this queue.")
@click.option("--state", type=click.Choice(STATES), help="Only tasks in this state.")
@click.option("--contract", metavar="NAME", help="Only tasks of this contract.")
@click.option("--limit", type=click.IntRange(min=1, max=1_000), default=50, show_default=True, help="Most tasks to list.")
@common_options
@click.pass_obj
@redaction_options
def list(
    invocation: Invocation, queue_name: str | None, state: TaskState | None, contract: str | None, limit: int, redaction: Redaction | None
) -> None:
    """List the tasks of the log, the newest first."""
    asyncio.run(_list(invocation, queue_name, state, contract, limit, redaction))


async def _list(
    invocation: Invocation, queue: str | None, state: TaskState | None, contract: str | None, limit: int, redaction: Redaction | None
) -> None:
    async with records_of(invocation.location) as (log, records):
        found = await records.list(queue, state, contract, limit) if records is not None else ()
        items = [shown(item, redaction) for item in found]
        match invocation.format:
            case "json":
                output.write_json({"schema": "afk_es.tasks/1", "log": log.location, "tasks": [task_json(item) for item in items]})
            case "jsonl":
                for item in items:
                    output.write_json_line({"schema": "afk_es.task/1", **task_json(item)})
            case "text":
                write_tasks(items)
                if not items:
                    output.note(f"{log.location} has no tasks that fit")


def write_tasks(items: Sequence[TaskItem]) -> None:
    """A table of tasks."""
    now = SystemClock().now()
    rows = [
        (item.state, visible(item.id), visible(item.queue), tries(item), span((now - item.created_at).total_seconds()), about(item))
        for item in items
    ]
    header, *lines = output.table(_HEADER, rows, total=output.width())
    output.echo(output.toned(header, "quiet"))
    for line, item in zip(lines, items, strict=True):
        mark = len(item.state)
        output.echo(output.toned(line[:mark], TONES[item.state]) + line[mark:])
