"""`afk-es log`: the events of a run, a line each."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.asked_of import Range, range_of, range_options, recorded
from afk_es.cli.going_on import how_to_go_on
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.expression import Expression, parse
from afk_es.debugger.listing import AROUND, Wanted, around, type_patterns, wanted_events, wanted_lines
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.machine.events import TERMINAL
from afk_es.redaction import Redaction
from afk_es.views import heading, redacted_event, render_line, visible_json


@click.command("log", short_help="Show the events of a run, a line each.")
@click.argument("run", metavar="RUN", default="@last")
@range_options
@click.option("--at", metavar="POSITION", help=f"The event there, and {AROUND} before and after it.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type, or a glob such as 'tool_*'; may be repeated.")
@click.option("--where", metavar="EXPR", help="Only where this holds, such as 'latency > 5s'; see `afk-es find --names`.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is to come, until the run ends or nobody drives it.")
@common_options
@click.pass_obj
@redaction_options
def log(
    invocation: Invocation,
    run: str,
    first: str | None,
    last: str | None,
    at: str | None,
    types: tuple[str, ...],
    where: str | None,
    follow: bool,
    redaction: Redaction | None,
) -> None:
    """Show the events of RUN, a line each; default the last run. `--format json` has them whole, secrets redacted."""
    if at is not None and (first is not None or last is not None):
        raise UsageError("--at says where already; leave --from and --to out")
    if follow and (at is not None or last is not None):
        raise UsageError("--follow goes on to the end of the run, whenever that is; leave --to and --at out")
    asked = parse(where) if where is not None else None
    asyncio.run(_log(invocation, run, (first, last, at), type_patterns(types), asked, follow, redaction))


async def _log(
    invocation: Invocation,
    run: str,
    places: tuple[str | None, str | None, str | None],
    types: tuple[str, ...],
    where: Expression | None,
    follow: bool,
    redaction: Redaction | None,
) -> None:
    async with recorded(invocation, run) as recording:
        wanted = Wanted(await _span(recording, *places), types, where, follow)
        match invocation.format:
            case "text":
                await _write_text(recording, wanted, redaction)
            case "json":
                await _write_json(recording, wanted, redaction)
            case "jsonl":
                async for event in wanted_events(recording, wanted, redaction):
                    output.write_json_line({"schema": "afk_es.event/1", **output.event_json(redacted_event(event, redaction))})
        if follow and (await recording.event(await recording.last_seq())).type not in TERMINAL:
            context = (await recording.event(1)).data.get("context") or {}
            goes_on = await how_to_go_on(recording.log, context, recording.run_id, invocation.db)
            output.note(f"nobody drives this run any more; {goes_on}")


async def _span(recording: Recording, first: str | None, last: str | None, at: str | None) -> Range:
    if at is None:
        return await range_of(recording, first, last)
    return around((await range_of(recording, at, None)).after + 1)


async def _write_text(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> None:
    columns = output.width()
    output.echo(output.toned(heading(), "quiet"))
    async for line in wanted_lines(recording, wanted, redaction):
        output.echo(output.toned(render_line(line, columns), line.tone))


async def _write_json(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> None:
    output.echo('{\n  "schema": "afk_es.log/1",')
    output.echo(f'  "run_id": {_json(recording.run_id)},\n  "thread_id": {_json(recording.thread_id)},\n  "events": [', nl=False)
    separator = "\n    "
    async for event in wanted_events(recording, wanted, redaction):
        output.echo(separator + _json(output.event_json(redacted_event(event, redaction))), nl=False)
        separator = ",\n    "
    output.echo("\n  ]\n}")


def _json(value: object) -> str:
    return visible_json(value).decode()
