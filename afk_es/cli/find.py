"""`afk-es find`: the events of a run that contain a text, or for which an expression holds."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.asked_of import range_of, range_options, recorded, told
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.expression import Expression, help_text, parse
from afk_es.debugger.finding import Phrase, sought
from afk_es.debugger.matching import Search
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.machine import AgentRunEvent
from afk_es.redaction import Redaction
from afk_es.views import Timeline, clipped, heading, redacted_event, render_line


@click.command("find", short_help="Find events by a text or an expression.")
@click.argument("words", nargs=-1, metavar="[RUN] WHAT")
@click.option("--where", metavar="EXPR", help="An expression, also where it could be taken for a text; WHAT is left out then.")
@click.option("--last", "backwards", is_flag=True, help="The last first.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="At most so many; default all.")
@click.option("--names", is_flag=True, help="List what an expression can speak of, and end.")
@range_options
@common_options
@click.pass_obj
@redaction_options
def find(
    invocation: Invocation,
    words: tuple[str, ...],
    where: str | None,
    backwards: bool,
    limit: int | None,
    names: bool,
    first: str | None,
    last: str | None,
    redaction: Redaction | None,
) -> None:
    """Find the events of RUN (default the last) that contain a text, in upper or lower case, or for which an expression holds.

    \b
    afk-es find timeout
    afk-es find @last-failed 'tool ~ "search" and latency > 5s'
    afk-es find --where 'state.cost_usd > 0.5' -n 1

    What is kept back is not found either, without --show-secrets. The exit code is 1 where there is none. `--names` lists what an expression can speak of.
    """
    if names:
        output.echo(help_text())
        return
    run, condition = _wanted(words, where)
    found = asyncio.run(_find(invocation, run, condition, backwards, limit, (first, last), redaction))
    if not found:
        output.note("nothing like that was recorded")
        raise click.exceptions.Exit(NEGATIVE)


def _wanted(words: tuple[str, ...], where: str | None) -> tuple[str, Expression | Phrase]:
    expected = 0 if where is not None else 1
    if not expected <= len(words) <= expected + 1:
        raise UsageError("say what to find: afk-es find [RUN] WHAT, or afk-es find [RUN] --where EXPR")
    run = words[0] if len(words) > expected else "@last"
    return run, parse(where) if where is not None else sought(words[-1])


async def _find(
    invocation: Invocation,
    run: str,
    condition: Expression | Phrase,
    backwards: bool,
    limit: int | None,
    ends: tuple[str | None, str | None],
    redaction: Redaction | None,
) -> int:
    async with recorded(invocation, run) as recording:
        span = await range_of(recording, *ends)
        writer = _Writer(invocation, recording, condition, redaction)
        search = Search(recording, redaction=redaction)
        found = search.hits(condition, after=span.after, before=span.before, backwards=backwards, progress=told("looking"))
        async for scope in found:
            await writer.write(scope.event)
            if limit is not None and writer.count >= limit:
                break
        writer.end()
        return writer.count


class _Writer:
    """Writes what is found, one after the other."""

    def __init__(self, invocation: Invocation, recording: Recording, condition: Expression | Phrase, redaction: Redaction | None) -> None:
        self._format = invocation.format
        self._recording = recording
        self._condition = condition
        self._redaction = redaction
        self._events: list[dict[str, object]] = []
        self._columns = output.width()
        self.count = 0

    async def write(self, event: AgentRunEvent) -> None:
        if not self.count and self._format == "text":
            output.echo(output.toned(heading(), "quiet"))
        self.count += 1
        shown = redacted_event(event, self._redaction)
        match self._format:
            case "text":
                await self._write_line(event, shown)
            case "json":
                self._events.append(output.event_json(shown))
            case "jsonl":
                output.write_json_line({"schema": "afk_es.event/1", **output.event_json(shown)})

    async def _write_line(self, event: AgentRunEvent, shown: AgentRunEvent) -> None:
        reader = Timeline(self._recording.first.at)
        for earlier in await self._recording.referred(event):
            reader.line(redacted_event(earlier, self._redaction))
        line = reader.line(shown)
        output.echo(output.toned(render_line(line, self._columns), line.tone))
        excerpt = self._condition.excerpt(shown) if isinstance(self._condition, Phrase) else ""
        if excerpt:
            output.echo(output.toned(" " * 22 + clipped(excerpt, max(8, self._columns - 22)), "quiet"))

    def end(self) -> None:
        if self._format == "json":
            asked = self._condition.text
            output.write_json({"schema": "afk_es.find/1", "run_id": self._recording.run_id, "what": asked, "events": self._events})
