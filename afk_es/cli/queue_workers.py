"""`afk-es queue workers`: the workers of a log, as they said last."""

from __future__ import annotations

import asyncio
import datetime as dt

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.tasks import records_of
from afk_es.clock import SystemClock
from afk_es.debugger.figures import span
from afk_es.debugger.styled import Style
from afk_es.queues.presence import WorkerPresence
from afk_es.views import visible

_HEADER = ("worker", "host", "process", "busy", "since", "queues")
_TONES: dict[str, Style] = {"working": "good", "draining": "mark", "gone": "bad"}


@click.command("workers", short_help="List the workers that are there.")
@common_options
@click.pass_obj
def workers(invocation: Invocation) -> None:
    """List the workers that take tasks from the log, and those that went without saying so, whose tasks others take over."""
    asyncio.run(_workers(invocation))


async def _workers(invocation: Invocation) -> None:
    async with records_of(invocation.location) as (log, records):
        found = await records.workers() if records is not None else ()
        now = SystemClock().now()
        rows = [{**msgspec.to_builtins(each), "state": state_of(each, now)} for each in found]
        match invocation.format:
            case "json":
                output.write_json({"schema": "afk_es.workers/1", "log": log.location, "workers": rows})
            case "jsonl":
                for row in rows:
                    output.write_json_line({"schema": "afk_es.worker/1", **row})
            case "text":
                _write_text(found, now)
                if not found:
                    output.note(f"no worker takes tasks from {log.location}; `afk-es worker MODULE` starts one")


def state_of(worker: WorkerPresence, now: dt.datetime) -> str:
    """How it is, as far as it is known."""
    if not worker.alive(now):
        return "gone"
    return "draining" if worker.draining else "working"


def _write_text(workers: tuple[WorkerPresence, ...], now: dt.datetime) -> None:
    if not workers:
        return
    rows = [
        (
            state_of(each, now),
            visible(each.worker),
            visible(each.host),
            str(each.pid),
            f"{each.busy}/{each.slots}",
            span((now - each.started_at).total_seconds()),
            visible(", ".join(each.queues)),
        )
        for each in workers
    ]
    header, *lines = output.table(("state", *_HEADER), rows, total=output.width())
    output.echo(output.toned(header, "quiet"))
    for line, (state, *_) in zip(lines, rows, strict=True):
        output.echo(output.toned(line[: len(state)], _TONES[state]) + line[len(state) :])
