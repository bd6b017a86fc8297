"""`afk-es trace`: what expressions come to, wherever something holds in a run."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.asked_of import range_of, range_options, recorded, told
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.breakpoints import parse_breakpoint
from afk_es.debugger.expression import parse
from afk_es.debugger.matching import Search
from afk_es.debugger.watching import Sample, samples, watch
from afk_es.redaction import Redaction
from afk_es.views import clipped, compact_json, padded


@click.command("trace", short_help="Print expressions wherever something holds.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--print", "printed", multiple=True, required=True, metavar="EXPR", help="What to print; may be repeated.")
@click.option(
    "--at", "places", metavar="BREAKPOINT", help="Where: a breakpoint such as tool:search*, error, 'gap > 30s', or any expression."
)
@click.option("--watch", "watched", metavar="PATH", help="Where this path of the state changes.")
@range_options
@common_options
@click.pass_obj
@redaction_options
def trace(
    invocation: Invocation,
    run: str,
    printed: tuple[str, ...],
    places: str | None,
    watched: str | None,
    first: str | None,
    last: str | None,
    redaction: Redaction | None,
) -> None:
    """Print expressions of RUN (default the last), one line for each place.

    \b
    afk-es trace --print args.q --print latency --at tool:search
    afk-es trace --print state.cost_usd --watch state.cost_usd

    Without --at and --watch, everywhere. `afk-es find --names` lists what an expression can speak of. The exit code is 1 where there is no
    such place.
    """
    if places is not None and watched is not None:
        raise click.UsageError("--at and --watch both say where; leave one of them out")
    breakpoint_ = watch(watched) if watched is not None else parse_breakpoint(places if places is not None else "seq >= 1")
    expressions = [parse(text) for text in printed]

    async def write() -> int:
        count = 0
        rows: list[dict[str, Any]] = []
        async with recorded(invocation, run) as recording:
            span = await range_of(recording, first, last)
            found = samples(
                recording,
                expressions,
                breakpoint_.condition,
                after=span.after,
                before=span.before,
                progress=told("looking"),
                search=Search(recording, redaction=redaction),
            )
            async for sample in found:
                if invocation.format == "text":
                    _write_line(sample, first=not count)
                elif invocation.format == "jsonl":
                    output.write_json_line({"schema": "afk_es.sample/1", **msgspec.to_builtins(sample)})
                else:
                    rows.append(msgspec.to_builtins(sample))
                count += 1
            if invocation.format == "json":
                output.write_json({"schema": "afk_es.trace/1", "run_id": recording.run_id, "print": list(printed), "samples": rows})
        return count

    if not asyncio.run(write()):
        output.note("there is no such place")
        raise click.exceptions.Exit(NEGATIVE)


def _write_line(sample: Sample, *, first: bool) -> None:
    columns = output.width()
    if first:
        names = "  ".join(sample.values)
        output.echo(output.toned(clipped(f"{'seq':>7} {'step':>4}  {'event':<24}  {names}", columns), "quiet"))
    values = list(map(compact_json, sample.values.values()))
    text = values[0] if len(values) == 1 else "  ".join(f"{name}={value}" for name, value in zip(sample.values, values, strict=True))
    output.echo(clipped(f"{sample.seq:>7} {sample.step:>4}  {padded(sample.type, 24)}  {text}", columns))
