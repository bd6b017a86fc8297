"""`afk-es import`: transcripts of other systems, and runs that `export` wrote, into a log."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Literal

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.debugger.exchange import ImportReport, import_files
from afk_es.errors import ConfigurationError
from afk_es.log import open_log
from afk_es.views import clipped

_RUNS_SHOWN = 10


@click.command("import", short_help="Read transcripts of other systems, an exported run or a golden into a log.")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option(
    "--as",
    "form",
    type=click.Choice(["chat", "atif", "jsonl", "golden"]),
    help="What the files are: OpenAI-style chat messages, ATIF trajectories, a run of `export --to jsonl`, a golden. Default: what is in them.",
)
@click.option(
    "--thread",
    metavar="ID",
    help="The thread of the runs; {n} is the conversation's number, {name} what its file says under that name. Default: a new one each.",
)
@click.option("--instructions", metavar="FILE", help="The system message, for chat transcripts that leave it out.")
@click.option("--tools", metavar="FILE", help="The tools' JSON schemas, for chat transcripts that leave them out.")
@common_options
@click.pass_obj
def import_(
    invocation: Invocation,
    files: tuple[str, ...],
    form: Literal["chat", "atif", "jsonl", "golden"] | None,
    thread: str | None,
    instructions: str | None,
    tools: str | None,
) -> None:
    """Read FILEs into a log, so that runs of other systems can be debugged like our own. The log of --db is made if it is not there.

    One message of a user and all that follows up to the next is a run; the runs of a conversation share a thread. What a transcript does
    not say is unknown here as well: tokens, prices, how long something took. All files are checked before anything is written.
    """
    text = Path(instructions).expanduser().read_text(encoding="utf-8") if instructions is not None else None
    report = asyncio.run(_import(invocation, files, form, thread, text, tools))
    match invocation.format:
        case "text":
            _write_text(report, invocation)
        case "json":
            output.write_json({"schema": "afk_es.import/1", **msgspec.to_builtins(report)})
        case "jsonl":
            for run in report.runs:
                output.write_json_line({"schema": "afk_es.imported_run/1", **msgspec.to_builtins(run)})


async def _import(
    invocation: Invocation,
    files: tuple[str, ...],
    form: Literal["chat", "atif", "jsonl", "golden"] | None,
    thread: str | None,
    instructions: str | None,
    tools: str | None,
) -> ImportReport:
    if invocation.location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    log = open_log(invocation.location)
    await log.open()
    try:
        return await import_files(log, files, format=form, thread=thread, instructions=instructions, tools=tools)
    finally:
        await log.close()


def _write_text(report: ImportReport, invocation: Invocation) -> None:
    columns = output.width()
    for run in report.runs[:_RUNS_SHOWN]:
        head = f"{run.run_id}  "
        output.echo(
            head
            + output.toned(f"{run.state:<12}", output.STATUS_TONES.get(run.state, "plain"))
            + clipped(run.source, columns - len(head) - 12)
        )
    if len(report.runs) > _RUNS_SHOWN:
        output.note(f"... and {len(report.runs) - _RUNS_SHOWN} more; `--format json` lists them all")
    states = ", ".join(f"{count} {state}" for state, count in Counter(run.state for run in report.runs).items())
    output.echo(f"{report.log}: {len(report.runs)} runs of {report.conversations} conversations, {report.events} events; {states}")
    for sentence, count in Counter(note for run in report.runs for note in run.notes).items():
        output.note(f"note: {sentence} ({count} run{'s' if count > 1 else ''})", "mark")
    output.note(f"next: {output.command('runs', db=invocation.db)}")


# `import` is a word of Python's, so the command of that name cannot be one of its variables.
globals()["import"] = import_
