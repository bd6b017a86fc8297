"""`afk-es resolve` and `fail`: saying what became of a run's background tool, whoever drives the run."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from afk_es.cli import output, reading
from afk_es.cli.invocation import Invocation, common_options
from afk_es.core import Runner
from afk_es.debugger.naming import named_run
from afk_es.errors import UsageError
from afk_es.log import RunHead
from afk_es.views import visible


@click.command("resolve", short_help="Say what a background tool of a run came to.")
@click.argument("run", metavar="RUN")
@click.argument("ticket", metavar="TICKET")
@click.option("--output", "json_", metavar="JSON", help="The result, as JSON; default null.")
@click.option("--text", metavar="TEXT", help="The result, as a text.")
@common_options
@click.pass_obj
def resolve(invocation: Invocation, run: str, ticket: str, json_: str | None, text: str | None) -> None:
    """Say that the work behind TICKET is done, and what it came to. RUN takes it in now, or when it is resumed."""
    if json_ is not None and text is not None:
        raise UsageError("--output and --text both say what the result is; leave one of them out")
    result = text if text is not None else _parsed(json_)
    asyncio.run(_resolve(invocation, run, ticket, result))


@click.command("fail", short_help="Say that a background tool of a run failed.")
@click.argument("run", metavar="RUN")
@click.argument("ticket", metavar="TICKET")
@click.option("--error", required=True, metavar="TEXT", help="What the model is told.")
@common_options
@click.pass_obj
def fail(invocation: Invocation, run: str, ticket: str, error: str) -> None:
    """Say that the work behind TICKET failed. RUN takes it in now, or when it is resumed."""
    asyncio.run(_fail(invocation, run, ticket, error))


def _parsed(json_: str | None) -> Any:
    if json_ is None:
        return None
    try:
        return msgspec.json.decode(json_)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        raise UsageError(f"--output is not JSON: {error}; for a plain text there is --text") from error


async def _resolve(invocation: Invocation, run: str, ticket: str, result: Any) -> None:
    location, head = await _named(invocation, run)
    async with Runner(log=location) as runner:
        await runner.resolve_background_tool(thread_id=head.thread_id, run_id=head.run_id, ticket_id=ticket, output=result)
    _confirm(invocation, head.run_id, ticket, "resolved")


async def _fail(invocation: Invocation, run: str, ticket: str, error: str) -> None:
    location, head = await _named(invocation, run)
    async with Runner(log=location) as runner:
        await runner.fail_background_tool(thread_id=head.thread_id, run_id=head.run_id, ticket_id=ticket, error=error)
    _confirm(invocation, head.run_id, ticket, "failed")


async def _named(invocation: Invocation, run: str) -> tuple[str, RunHead]:
    name = reading.parse_name(run, invocation)
    async with reading.reading(name.location) as log:
        head = await log.head(await named_run(log, name.run))
    assert head is not None
    return name.location, head


def _confirm(invocation: Invocation, run_id: str, ticket: str, status: str) -> None:
    if invocation.format != "text":
        data = {"schema": "afk_es.ticket_ended/1", "run_id": run_id, "ticket_id": ticket, "status": status}
        (output.write_json if invocation.format == "json" else output.write_json_line)(data)
        return
    output.echo(visible(f"{status} {ticket}"))
    output.note(f"{run_id} takes it in by itself if a process drives it, else when it is resumed")
