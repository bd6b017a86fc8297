"""`afk-es log`: the events of a run, a line each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from fnmatch import fnmatchcase
from typing import NamedTuple

import click

from afk_es.cli import output
from afk_es.cli.asked_of import Range, range_of, range_options, recorded
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.expression import Expression, parse
from afk_es.debugger.following import growth
from afk_es.debugger.matching import Search
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.machine import EVENT_TYPES, AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.redaction import Redaction
from afk_es.views import Timeline, heading, redacted_event, render_line, visible_json

AROUND = 5
"""Events before and after the one that --at names."""


FAR = 250
"""Events between two that are shown, above which those in between are not read for what the later one refers to."""


class Wanted(NamedTuple):
    """Which events are wanted: a range of seqs, patterns of types, what holds for them, and whether those that are yet to come are too."""

    span: Range
    types: tuple[str, ...]
    where: Expression | None
    follow: bool = False

    def takes(self, event: AgentRunEvent) -> bool:
        """Whether an event of the range is of a type that is wanted."""
        return not self.types or any(fnmatchcase(event.type, pattern) for pattern in self.types)


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
    asyncio.run(_log(invocation, run, (first, last, at), _checked(types), asked, follow, redaction))


def _checked(types: tuple[str, ...]) -> tuple[str, ...]:
    for pattern in types:
        if not any(fnmatchcase(name, pattern) for name in EVENT_TYPES):
            raise UsageError(f"--type {pattern!r} fits no event type; there are: {', '.join(EVENT_TYPES)}")
    return types


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
                async for event in _read(recording, wanted):
                    output.write_json_line({"schema": "afk_es.event/1", **output.event_json(redacted_event(event, redaction))})
        if follow and (await recording.event(await recording.last_seq())).type not in TERMINAL:
            output.note(
                f"nobody drives this run any more; go on with it: {output.command('resume', recording.run_id, 'MODULE:AGENT', db=invocation.db)}"
            )


async def _span(recording: Recording, first: str | None, last: str | None, at: str | None) -> Range:
    if at is None:
        return await range_of(recording, first, last)
    place = (await range_of(recording, at, None)).after + 1
    return Range(max(place - 1 - AROUND, 0), place + AROUND + 1)


async def _write_text(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> None:
    columns = output.width()
    timeline = Timeline(recording.first.at)
    output.echo(output.toned(heading(), "quiet"))
    told = wanted.span.after
    async for event in _read(recording, wanted):
        if told == wanted.span.after or event.seq - told > FAR:
            # What a line refers to stands in the events since the last answer of a model before it.
            async for answer in recording.scan(before=event.seq, types=("llm_completed",), backwards=True, limit=1):
                told = answer.seq - 1
        async for page in recording.pages(after=told, before=event.seq):
            for passed in page:
                timeline.line(redacted_event(passed, redaction))
        told = event.seq
        line = timeline.line(redacted_event(event, redaction))
        output.echo(output.toned(render_line(line, columns), line.tone))


async def _write_json(recording: Recording, wanted: Wanted, redaction: Redaction | None) -> None:
    output.echo('{\n  "schema": "afk_es.log/1",')
    output.echo(f'  "run_id": {_json(recording.run_id)},\n  "thread_id": {_json(recording.thread_id)},\n  "events": [', nl=False)
    separator = "\n    "
    async for event in _read(recording, wanted):
        output.echo(separator + _json(output.event_json(redacted_event(event, redaction))), nl=False)
        separator = ",\n    "
    output.echo("\n  ]\n}")


def _json(value: object) -> str:
    return visible_json(value).decode()


async def _read(recording: Recording, wanted: Wanted) -> AsyncIterator[AgentRunEvent]:
    """The events that are wanted, in order."""
    after, before = wanted.span
    search = Search(recording)
    if not wanted.follow:
        async for event in _between(recording, search, wanted, after, before):
            yield event
        return
    async for last in growth(recording, after):
        async for event in _between(recording, search, wanted, after, last + 1):
            yield event
        after = last


async def _between(recording: Recording, search: Search, wanted: Wanted, after: int, before: int | None) -> AsyncIterator[AgentRunEvent]:
    if wanted.where is not None:
        async for scope in search.hits(wanted.where, after=after, before=before):
            if wanted.takes(scope.event):
                yield scope.event
        return
    async for page in recording.pages(after=after, before=before):
        for event in page:
            if wanted.takes(event):
                yield event
