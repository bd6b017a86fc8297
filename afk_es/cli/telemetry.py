"""`afk-es telemetry`: tells a sink of a run that has happened, from its log."""

from __future__ import annotations

import asyncio
import sys

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.naming import named_run
from afk_es.redaction import Redaction
from afk_es.telemetry import Exported, export_run, sink_of
from afk_es.telemetry.port import TelemetrySink


@click.command("telemetry", short_help="Tell a telemetry sink of a run that has happened.")
@click.argument("run", metavar="RUN", default="@last")
@click.option(
    "--to",
    "sink",
    type=click.Choice(["console", "json", "otel"]),
    default="console",
    show_default=True,
    help="Lines, a JSON object a line, or the OpenTelemetry collector that OTEL_EXPORTER_OTLP_ENDPOINT names.",
)
@common_options
@click.pass_obj
@redaction_options
def telemetry(invocation: Invocation, run: str, sink: str, redaction: Redaction | None) -> None:
    """Tell a sink of RUN as it would have been told while the run went on; default the last run.

    The ids of traces and spans are made of what the log says, so telling twice is telling the same. To OpenTelemetry only spans are sent:
    measurements belong to the moment at which they are made.
    """
    told = asyncio.run(_telemetry(invocation, run, sink, redaction))
    if sink == "otel":
        if invocation.format == "text":
            output.echo(f"{told.events} events of {told.run_id} were sent as spans")
        else:
            output.write_json_line({"schema": "afk_es.exported/1", "run_id": told.run_id, "events": told.events})


async def _telemetry(invocation: Invocation, run: str, name: str, redaction: Redaction | None) -> Exported:
    parsed = parse_name(run, invocation)
    async with reading(parsed.location) as log:
        run_id = await named_run(log, parsed.run)
        sink = _sink(name)
        try:
            return await export_run(log, run_id, sink, redaction=redaction)
        finally:
            await asyncio.to_thread(sink.close)


def _sink(name: str) -> TelemetrySink:
    """The sink of that name, on stdout, which is where the command line writes what it was asked for."""
    if name == "console":
        from afk_es.telemetry import ConsoleSink

        return ConsoleSink(sys.stdout)
    if name == "json":
        from afk_es.telemetry import JsonSink

        return JsonSink(sys.stdout)
    return sink_of(name, measured=False)
