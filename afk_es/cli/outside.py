"""What verbs share that say something to a run from outside: who says it, how it is sent, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.going_on import how_to_go_on
from afk_es.cli.invocation import Invocation
from afk_es.cli.reading import parse_name, reading
from afk_es.core import AttachedRun, Receipt, Runner
from afk_es.core.pending import state_of
from afk_es.debugger.family import head_of_family
from afk_es.debugger.naming import named_run

F = TypeVar("F", bound=Callable[..., Any])

WAIT_S = 3.0
"""How long a verb waits for a live run to take in what was said. It looks twice a second."""


def by_option(command: F) -> F:
    """Adds --by: the name under which what is said is recorded."""
    return click.option("--by", metavar="NAME", help="Who says so, for the log; default your user name.")(command)


def send(invocation: Invocation, run: str, by: str | None, what: str, say: Callable[[AttachedRun, float], Awaitable[Receipt]]) -> None:
    """Say something to the run that RUN means, and tell what became of it.

    Args:
        what: what is said, as a past participle: "approved".
        say: says it; handed the run, and for how many seconds to wait until it is taken in.
    """
    asyncio.run(_send(invocation, run, by, what, say))


async def _send(
    invocation: Invocation, run: str, by: str | None, what: str, say: Callable[[AttachedRun, float], Awaitable[Receipt]]
) -> None:
    from afk_es.interaction.terminal import user_name

    name = parse_name(run, invocation)
    db = name.location if name.location != invocation.location else invocation.db
    async with reading(name.location) as log:
        run_id = await named_run(log, name.run)
        state = await state_of(log, await log.read(run_id))
        driven = not state.ended and await log.alive(state.owner, run_id)
        head = await head_of_family(log, run_id)
        goes_on = await how_to_go_on(log, state.context, head, db)
    async with Runner(log=name.location) as runner:
        attached = await runner.attach(run_id=run_id, by=by if by is not None else user_name())
        receipt = await say(attached, WAIT_S if driven else 0.0)
    _tell(invocation, what, receipt, None if driven else goes_on)


def _tell(invocation: Invocation, what: str, receipt: Receipt, goes_on: str | None) -> None:
    data = {"schema": "afk_es.receipt/1", "said": what, **receipt.model_dump(mode="json")}
    match invocation.format:
        case "text":
            output.echo(f"{what}: run {receipt.run_id}")
        case "json":
            output.write_json(data)
        case "jsonl":
            output.write_json_line(data)
    match receipt.status:
        case "refused":
            output.note(f"the run did not take it in: {receipt.reason}", "bad")
            raise click.exceptions.Exit(NEGATIVE)
        case "taken_in":
            output.note("the run has taken it in")
        case "posted" if receipt.reason is not None:
            output.note(f"it is in the log; {receipt.reason}")
        case "posted" if goes_on is not None:
            output.note(f"it is in the log; nobody drives this run; {goes_on}")
        case "posted":
            output.note("it is in the log; the run's process has not taken it in yet")
