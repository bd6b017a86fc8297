"""`afk-es diff`: what differs between two places of a run, or between two runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.asked_of import recorded, told
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import place, redacted, write_facts, write_lines
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.changes import change_lines
from afk_es.debugger.comparison import Divergence, compare, first_divergence, states_at, thread_of
from afk_es.debugger.comparison_text import comparison_lines, divergence_lines
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.recording import Recording
from afk_es.debugger.state_diff import StateDiff
from afk_es.debugger.state_diff import diff as diff_of
from afk_es.errors import UsageError
from afk_es.redaction import Redaction


@click.command("diff", short_help="What differs between two places of a run, or between two runs.")
@click.argument("runs", metavar="RUN [RUN2]", nargs=-1)
@click.option("--at", "at", nargs=2, metavar="A B", help="Two places of one run: how its states differ.")
@click.option("--first", "first", is_flag=True, help="Two runs: only where they part first, with how the states differ there.")
@click.option("--thread", "thread", is_flag=True, help="Two runs: the whole conversations that they are part of.")
@common_options
@click.pass_obj
@redaction_options
def diff(
    invocation: Invocation, runs: tuple[str, ...], at: tuple[str, str] | None, first: bool, thread: bool, redaction: Redaction | None
) -> None:
    """What differs: between the states of RUN at two places (--at A B), or between RUN and RUN2, event by event.

    Two runs are aligned by agent, kind of event, tool and arguments; ids, times and tokens are not compared. Exit code 0: nothing differs;
    1: something does.
    """
    if at is not None and (len(runs) > 1 or first or thread):
        raise UsageError("--at A B compares two places of one run; name one run, without --first and --thread")
    if at is None and len(runs) != 2:
        raise UsageError("name two runs, or one run and two places of it with --at A B")
    if at is not None:
        same = asyncio.run(_places(invocation, runs[0] if runs else "@last", at, redaction))
    else:
        same = asyncio.run(_runs(invocation, (runs[0], runs[1]), first, thread, redaction))
    if not same:
        raise click.exceptions.Exit(NEGATIVE)


async def _places(invocation: Invocation, run: str, at: tuple[str, str], redaction: Redaction | None) -> bool:
    async with recorded(invocation, run) as rec:
        found = redacted(await diff_of(rec, await place(rec, at[0]), await place(rec, at[1])), redaction)
    if invocation.format != "text":
        write_facts(invocation, "state_diff", found)
    else:
        _write_states(found)
    return not found.changes


async def _runs(invocation: Invocation, runs: tuple[str, str], first: bool, thread: bool, redaction: Redaction | None) -> bool:
    async with AsyncExitStack() as stack:
        a = await stack.enter_async_context(recorded(invocation, runs[0]))
        b = await stack.enter_async_context(recorded(invocation, runs[1]))
        if a.log.location == b.log.location:
            # One log, and not two views of it: runs of one log may share their beginning.
            b = await Recording.open(a.log, b.run_id, keyframes=KeyframeFile())
        ones = await thread_of(a) if thread else (a,)
        others = await thread_of(b) if thread else (b,)
        if first:
            parted = await first_divergence(ones, others)
            states = await states_at(a, b, parted) if parted is not None else None
            _write_first(
                invocation, redacted(parted, redaction) if parted is not None else None, redacted(states, redaction) if states else None
            )
            return parted is None
        found = redacted(await compare(ones, others, progress=told("comparing")), redaction)
    if invocation.format != "text":
        write_facts(invocation, "comparison", {"equal": found.equal, **msgspec.to_builtins(found)})
    else:
        write_lines(comparison_lines(found, output.width()))
    return found.equal


def _write_first(invocation: Invocation, parted: Divergence | None, states: StateDiff | None) -> None:
    if invocation.format != "text":
        facts = {"equal": parted is None, "first": msgspec.to_builtins(parted), "states": msgspec.to_builtins(states)}
        write_facts(invocation, "first_divergence", facts)
        return
    write_lines(divergence_lines(parted, output.width()))
    if states is not None:
        _write_states(states)


def _write_states(found: StateDiff) -> None:
    for line in change_lines(found.changes, output.width(), truncated=found.truncated):
        output.echo(line)
    if not found.changes:
        output.echo("the states are the same")
