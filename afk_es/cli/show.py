"""`afk-es show`: a run at a glance, or one event in full with the request behind it."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.metrics import write_metrics
from afk_es.cli.reading import events_of, parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger import Recording
from afk_es.debugger.family import descendants, parent_of
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.naming import named_run
from afk_es.debugger.overview_text import family_lines, overview_lines
from afk_es.debugger.positions import resolve
from afk_es.debugger.showing import event_text, request_messages, seen_event, seen_whole, whole_message
from afk_es.errors import RunNotFoundError, UsageError
from afk_es.redaction import Redaction
from afk_es.views import RebuiltRequest, run_metrics, visible


@click.command("show", short_help="Show a run at a glance, or one event and the request behind it.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--at", metavar="POSITION", help="One event in full; for an llm_called the exact request, proved.")
@click.option("--metrics", is_flag=True, help="Where time, tokens and money went: by model, by tool, waiting for people and retries.")
@common_options
@click.pass_obj
@redaction_options
def show(invocation: Invocation, run: str, at: str | None, metrics: bool, redaction: Redaction | None) -> None:
    """Show RUN at a glance: how it ended, what was said and called, what it used up. Default: the last run.

    With --at, one event in full. The request of an `llm_called` is rebuilt from the log, and proved by the hash that was recorded before
    it was sent; where the two differ, the exit code is 4. The hash is of the request as it was sent, which --show-secrets shows whole.
    """
    if metrics and at is not None:
        raise UsageError("--metrics is about the whole run, and --at about one event; leave one of them out")
    code = asyncio.run(_show(invocation, run, at, metrics, redaction))
    if code:
        raise click.exceptions.Exit(code)


async def _show(invocation: Invocation, run: str, at: str | None, metrics: bool, redaction: Redaction | None) -> int:
    name = parse_name(run, invocation)
    async with reading(name.location) as log:
        run_id = await named_run(log, name.run)
        if await log.head(run_id) is None:
            raise RunNotFoundError(f"{log.location} names a run {run_id!r}, and has no event of it")
        if metrics:
            write_metrics(invocation, run_metrics([event async for event in events_of(log, run_id)]))
            return 0
        rec = await Recording.open(log, run_id, keyframes=KeyframeFile())
        if at is not None:
            return await _show_event(invocation, rec, at, redaction)
        seen, status = await seen_whole(rec, redaction)
        if invocation.format == "text":
            output.write_styled(overview_lines(seen, status, output.width()))
            output.write_styled(family_lines(await parent_of(log, run_id), await descendants(log, run_id), output.width()))
            return 0
        data = {"schema": "afk_es.show/1", **msgspec.to_builtins(seen), "status": status}
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)
    return 0


async def _show_event(invocation: Invocation, recording: Recording, at: str, redaction: Redaction | None) -> int:
    seen = await seen_event(recording, await resolve(recording, at), redaction)
    data: dict[str, Any] = {"schema": "afk_es.event/1", **seen.data}
    match invocation.format:
        case "text":
            output.echo(event_text(data))
            if seen.rebuilt is not None:
                _write_request(seen.rebuilt, redaction)
        case "json":
            output.write_json(data)
        case "jsonl":
            output.write_json_line(data)
    return 0 if seen.rebuilt is None or seen.rebuilt.proved else 4


def _write_request(rebuilt: RebuiltRequest, redaction: Redaction | None) -> None:
    request = rebuilt.request
    output.echo()
    if rebuilt.proved:
        output.echo(output.toned(f"the request, rebuilt; its hash is the recorded one: {request.hash}", "good"))
    else:
        output.echo(output.toned(f"the rebuilt request has hash {request.hash}, recorded is {visible(rebuilt.recorded_hash)}", "bad"))
    output.echo(f"model {visible(request.model)}, {len(request.messages)} messages, {len(request.tools)} tools")
    for message in request_messages(rebuilt, redaction):
        lead = f"{message.role:<10} "
        for index, line in enumerate(whole_message(message)):
            output.echo((output.toned(lead, "quiet") if not index else " " * len(lead)) + line)
    for tool in request.tools:
        output.echo(output.toned("tool       ", "quiet") + visible(f"{tool.name}({', '.join(tool.parameters.get('properties', {}))})"))
