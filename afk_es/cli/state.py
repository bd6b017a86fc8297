"""`afk-es state`: what a run's events come to at a place."""

from __future__ import annotations

import asyncio

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.asked_of import recorded
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import place, write_facts
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.state_diff import tree_at
from afk_es.debugger.state_text import state_lines, value_at
from afk_es.redaction import Redaction
from afk_es.views import visible


@click.command("state", short_help="The state of a run at any place.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--at", "at", default="end", metavar="POSITION", help="After which event; default the last.")
@click.option("--path", "path", metavar="PATH", help="Only this part, whole: batch.turns[0].status, messages[-1], spec.")
@common_options
@click.pass_obj
@redaction_options
def state(invocation: Invocation, run: str, at: str, path: str | None, redaction: Redaction | None) -> None:
    """The state of RUN after an event: all that its next decision depends on. Values that are not set are left out of the text.

    The paths are those of expressions: what is printed here can be watched, searched for and asked for with --path.
    """
    asyncio.run(_state(invocation, run, at, path, redaction))


async def _state(invocation: Invocation, run: str, at: str, path: str | None, redaction: Redaction | None) -> None:
    async with recorded(invocation, run) as rec:
        seq = await place(rec, at)
        if path is not None:
            value = await value_at(rec, seq, path, redaction)
        else:
            tree = await tree_at(rec, seq)
            value = tree if redaction is None else redaction.value(tree)
        run_id = rec.run_id
    if invocation.format != "text":
        write_facts(invocation, "state", {"run_id": run_id, "at": seq, "path": path, "value": value})
    elif isinstance(value, dict):
        for line in state_lines(value, output.width()):
            output.echo(line)
    else:
        text = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
        output.echo(visible(text, multiline=True))
