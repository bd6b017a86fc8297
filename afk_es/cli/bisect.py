"""`afk-es bisect`: the first event of a run with which an expression holds, or a program finds it bad."""

from __future__ import annotations

import asyncio
import shlex
import tempfile
from pathlib import Path

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.asked_of import range_of, range_options, recorded, told
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.bisection import Bisection
from afk_es.debugger.bisection import bisect as by_expression
from afk_es.debugger.expression import parse
from afk_es.debugger.judging import bisect_command
from afk_es.debugger.matching import Search
from afk_es.debugger.recording import Recording
from afk_es.machine import AgentRunEvent
from afk_es.redaction import Redaction
from afk_es.views import Timeline, redacted_event, render_line


@click.command("bisect", short_help="Find the first event with which something holds.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--expr", "expression", metavar="EXPR", help="What holds from there on, such as 'state.cost_usd > 0.5'.")
@click.option("--run", "command", metavar="CMD", help="A program that judges the run up to an event: 0 good, 125 cannot tell, else bad.")
@click.option("--scan", is_flag=True, help="With --expr: look at every event, where what holds need not go on to hold.")
@range_options
@common_options
@click.pass_obj
@redaction_options
def bisect(
    invocation: Invocation,
    run: str,
    expression: str | None,
    command: str | None,
    scan: bool,
    first: str | None,
    last: str | None,
    redaction: Redaction | None,
) -> None:
    """Find the first event of RUN (default the last) with which something holds.

    A question about the state is halved, and the answer says whether that was certain to be right; one about single events is looked for.

    \b
    afk-es bisect --expr 'state.cost_usd > 0.5'
    afk-es bisect --expr 'tool = "pay"'
    afk-es bisect --run 'python check.py {state}'

    CMD is called without a shell. It finds the seq, the state after it (JSON) and the events up to it (JSON lines) in AFK_ES_SEQ,
    AFK_ES_STATE and AFK_ES_EVENTS, or where it says {seq}, {state} and {events}; secrets are not kept back from it. Its exit code judges, as
    with git: 0 is good, 125 cannot tell, 1 to 127 otherwise is bad, anything else ends it all. The exit code of bisect is 1 where nothing is
    found.
    """
    if (expression is None) == (command is None):
        raise click.UsageError("say what to look for: --expr EXPR or --run CMD")
    if scan and command is not None:
        raise click.UsageError("--scan goes with --expr; a program is always asked by halves")
    found = asyncio.run(_bisected(invocation, run, expression, command, scan, (first, last), redaction))
    if found.first is None:
        raise click.exceptions.Exit(NEGATIVE)


async def _bisected(
    invocation: Invocation,
    run: str,
    expression: str | None,
    command: str | None,
    scan: bool,
    ends: tuple[str | None, str | None],
    redaction: Redaction | None,
) -> Bisection:
    asked = parse(expression) if expression is not None else None
    words = _words(command) if command is not None else []
    async with recorded(invocation, run) as recording:
        span = await range_of(recording, *ends)
        if asked is not None:
            search = Search(recording, redaction=redaction)
            found = await by_expression(
                recording, asked, after=span.after, before=span.before, scan=scan, progress=told("looking"), search=search
            )
        else:
            with tempfile.TemporaryDirectory(prefix="afk_es_bisect_") as directory:
                found = await bisect_command(recording, words, Path(directory), after=span.after, before=span.before)
        await _write(invocation, recording, found, redaction)
    return found


def _words(command: str) -> list[str]:
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"--run {command!r} is no command line: {error}") from error
    if not words:
        raise click.UsageError("--run names no program")
    return words


async def _write(invocation: Invocation, recording: Recording, found: Bisection, redaction: Redaction | None) -> None:
    event = await recording.event(found.first) if found.first is not None else None
    if invocation.format != "text":
        data = {
            "schema": "afk_es.bisect/1",
            "run_id": recording.run_id,
            **msgspec.to_builtins(found),
            "event": output.event_json(redacted_event(event, redaction)) if event is not None else None,
        }
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)
        return
    if event is None:
        output.note(f"never: {found.reason}; {_effort(found)}")
        return
    output.echo(await _line(recording, event, redaction))
    output.note(f"{found.certainty}, {_effort(found)}: {found.reason}")
    if found.skipped:
        output.note(f"or one of these before it, which could not be judged: {', '.join(map(str, found.skipped))}", "mark")


def _effort(found: Bisection) -> str:
    return f"{found.looked_at} {'asked' if found.method == 'halved' else 'passed'}"


async def _line(recording: Recording, event: AgentRunEvent, redaction: Redaction | None) -> str:
    reader = Timeline(recording.first.at)
    for earlier in await recording.referred(event):
        reader.line(redacted_event(earlier, redaction))
    line = reader.line(redacted_event(event, redaction))
    return output.toned(render_line(line, output.width()), line.tone)
