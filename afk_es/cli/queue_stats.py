"""`afk-es queue stats`: the tasks of each queue, counted by their states."""

from __future__ import annotations

import asyncio

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.tasks import STATES, records_of
from afk_es.debugger.figures import count, span
from afk_es.views import visible


@click.command("stats", short_help="Count the tasks of each queue by their states.")
@common_options
@click.pass_obj
def stats(invocation: Invocation) -> None:
    """Count the tasks of each queue by their states, and say for how long the oldest that is due has been."""
    asyncio.run(_stats(invocation))


async def _stats(invocation: Invocation) -> None:
    async with records_of(invocation.location) as (log, records):
        found = await records.stats() if records is not None else ()
        match invocation.format:
            case "json":
                output.write_json({"schema": "afk_es.queues/1", "log": log.location, "queues": msgspec.to_builtins(found)})
            case "jsonl":
                for each in found:
                    output.write_json_line({"schema": "afk_es.queue/1", **msgspec.to_builtins(each)})
            case "text":
                rows = [
                    (
                        *(count(getattr(each, state)) for state in STATES),
                        span(each.oldest_due_s) if each.oldest_due_s is not None else "-",
                        visible(each.queue),
                    )
                    for each in found
                ]
                numbers = range(len(STATES) + 1)
                header, *lines = output.table((*STATES, "due since", "queue"), rows, right=numbers, total=output.width())
                output.echo(output.toned(header, "quiet"))
                for line in lines:
                    output.echo(line)
                if not found:
                    output.note(f"{log.location} has no tasks")
