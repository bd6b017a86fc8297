"""`afk-es policy`: what another policy would have decided in recorded runs. It runs no agent and writes nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE, NOT_FOUND
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.moments import moment
from afk_es.cli.places import redacted, write_facts, write_lines
from afk_es.cli.policies import load_policy
from afk_es.cli.reading import Name, parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.naming import named_run
from afk_es.errors import UsageError
from afk_es.evals.policies.changes import PolicyWhatIf, RunWhatIf
from afk_es.evals.policies.text import policy_lines
from afk_es.evals.policies.trial import policy_what_if
from afk_es.evals.policies.tried_policy import Policy
from afk_es.evals.run_selection import STATES, RunSelection
from afk_es.redaction import Redaction


@click.command("policy", short_help="What another policy would have decided in the runs that are recorded.")
@click.argument("target", metavar="MODULE:POLICY")
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All runs of the log: the default where no RUN is named.")
@click.option("--agent", metavar="NAME", help="Only runs of this agent, or of agents that fit a glob.")
@click.option("--state", type=click.Choice(STATES), help="Only runs in this state.")
@click.option("--thread", "thread_id", metavar="ID", help="Only runs of this thread.")
@click.option("--since", metavar="WHEN", help="Only runs that began then or later: a date, a time, or how long ago, such as 12h, 7d or 4w.")
@click.option("--where", metavar="EXPR", help="Only runs in which this holds somewhere; see `afk-es find --names`.")
@click.option(
    "--limit", type=click.IntRange(min=0), default=10, show_default=True, help="Most changed runs to tell of one by one, in text."
)
@common_options
@click.pass_obj
@redaction_options
def policy(
    invocation: Invocation,
    target: str,
    names: tuple[str, ...],
    everything: bool,
    limit: int,
    redaction: Redaction | None,
    **chosen: Any,
) -> None:
    """Ask another policy all that was put before the policy in recorded runs, and compare. No model, tool or person is asked.

    MODULE:POLICY is a PolicyEngine; an Agent, whose engine, roles and tools are meant, and its subagents' for their runs; a function of the
    event that answers a decision; or a function without parameters that gives one of these. MODULE is a module or a .py file.

    \b
    afk-es policy shop.policies:strict
    afk-es policy ./policies.py:strict @last
    afk-es policy shop.support:agent --since 7d --where 'tool = "refund"'

    A run's decisions are exact up to the first that changes, and bounded from there: the run would have gone elsewhere. The exit code is 0
    where nothing would be decided otherwise, and 1 where something would be.
    """
    selection = _selection(**chosen)
    location, wanted = _located(invocation, names)
    if wanted and (everything or selection != RunSelection(subagents=True)):
        raise UsageError("a RUN is named, so there is nothing to select; leave out the options, or the RUN")
    found = asyncio.run(_ask(invocation, location, load_policy(target), wanted or selection, redaction))
    if invocation.format == "json":
        write_facts(invocation, "policy_what_if", found)
    elif invocation.format == "jsonl":
        summary = {key: value for key, value in _plain(found).items() if key != "changed_runs"}
        write_facts(invocation, "policy_what_if", summary)
    else:
        write_lines(policy_lines(found, output.screen_width(), limit))
    if not found.decisions:
        output.note("no decision of a policy is recorded in them" if found.runs else "no run that fits is recorded")
        raise click.exceptions.Exit(NOT_FOUND)
    if not found.same:
        raise click.exceptions.Exit(NEGATIVE)


def _plain(found: PolicyWhatIf) -> dict[str, Any]:
    import msgspec

    data: dict[str, Any] = msgspec.to_builtins(found)
    return data


def _selection(since: str | None, **chosen: Any) -> RunSelection:
    return RunSelection(**chosen, since=moment(since, "--since") if since is not None else None, subagents=True)


async def _ask(
    invocation: Invocation, location: str, tried: Policy, wanted: list[Name] | RunSelection, redaction: Redaction | None
) -> PolicyWhatIf:
    def tell(row: RunWhatIf) -> None:
        write_facts(invocation, "run_what_if", redacted(row, redaction))

    async with reading(location) as log:
        runs = wanted if isinstance(wanted, RunSelection) else [await named_run(log, name.run) for name in wanted]
        told = tell if invocation.format == "jsonl" else None
        return redacted(await policy_what_if(log, tried, runs=runs, progress=_told(), on_run=told), redaction)


def _located(invocation: Invocation, names: tuple[str, ...]) -> tuple[str, list[Name]]:
    """The log that is meant, and the runs of it; none for all. A log file by itself means all of its runs."""
    parsed = [parse_name(name, invocation) for name in names]
    if not parsed:
        return invocation.location, []
    if len({name.location for name in parsed}) > 1:
        raise UsageError("the runs are of several logs; name runs of one")
    if any(name.whole_log for name in parsed):
        if len(parsed) > 1:
            raise UsageError("a log file means all of its runs; leave out the other names, or write FILE:RUN")
        return parsed[0].location, []
    return parsed[0].location, parsed


def _told() -> Callable[[int, int], None] | None:
    """Tells people at a terminal how far it is, in one line of stderr."""
    if not sys.stderr.isatty():
        return None

    def tell(runs: int, decisions: int) -> None:
        if runs % 50 == 0:
            output.progress(f"{runs} runs, {decisions} decisions", ended=True)

    return tell
