"""`afk-es stats`: a run in numbers."""

from __future__ import annotations

import asyncio

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.asked_of import range_of, range_options, recorded, told
from afk_es.cli.invocation import Invocation, common_options
from afk_es.debugger.statistics import Statistics, run_statistics
from afk_es.debugger.statistics_text import statistics_lines


@click.command("stats", short_help="Count a run: events, tools, models, gaps, steps.")
@click.argument("run", metavar="RUN", default="@last")
@range_options
@common_options
@click.pass_obj
def stats(invocation: Invocation, run: str, first: str | None, last: str | None) -> None:
    """Count RUN, default the last: events by type, tools with their failures and times, models with tokens and cost, longest gaps."""
    seen = asyncio.run(_counted(invocation, run, first, last))
    if invocation.format == "text":
        for line in statistics_lines(seen, output.width()):
            output.echo(line)
        return
    data = {"schema": "afk_es.stats/1", **msgspec.to_builtins(seen)}
    (output.write_json if invocation.format == "json" else output.write_json_line)(data)


async def _counted(invocation: Invocation, run: str, first: str | None, last: str | None) -> Statistics:
    async with recorded(invocation, run) as recording:
        span = await range_of(recording, first, last)
        return await run_statistics(recording, after=span.after, before=span.before, progress=told("counting"))
