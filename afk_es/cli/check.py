"""`afk-es check`: rules that a run has to keep, for a gate in CI."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.asked_of import recorded, told
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import redacted, write_facts
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.checks import STATES, Checks, check_lines
from afk_es.debugger.checks import check as checked_of
from afk_es.redaction import Redaction
from afk_es.views import visible


@click.command("check", short_help="Check a run against rules, for CI.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--no-errors", is_flag=True, help="No attempt, call or answer failed, not even one that was made good.")
@click.option("--max-cost", "max_cost_usd", type=click.FloatRange(min=0), metavar="USD", help="Subagents' costs included.")
@click.option("--max-steps", type=click.IntRange(min=0), metavar="N", help="Steps.")
@click.option("--max-llm-calls", type=click.IntRange(min=0), metavar="N", help="Requests to a model, retries included.")
@click.option("--max-tool-calls", type=click.IntRange(min=0), metavar="N", help="Starts of tools and subagents, retries included.")
@click.option("--max-tokens", type=click.IntRange(min=0), metavar="N", help="Tokens in and out.")
@click.option("--max-duration", "max_duration_s", type=click.FloatRange(min=0), metavar="SECONDS", help="Time that it ran.")
@click.option("--max-repeats", type=click.IntRange(min=1), metavar="N", help="How often one tool may be asked for with the same arguments.")
@click.option("--state", type=click.Choice(STATES), help="What it has to have ended as.")
@click.option("--tool-called", multiple=True, metavar="TOOL", help="A tool, or a glob, that has to have been started; may be repeated.")
@click.option("--no-tool", multiple=True, metavar="TOOL", help="A tool, or a glob, that must not have been started; may be repeated.")
@click.option("--no-writes-unknown", is_flag=True, help="Of no write is it unknown whether it took effect.")
@click.option("--never", multiple=True, metavar="EXPR", help="An expression that may hold at no event; may be repeated.")
@common_options
@click.pass_obj
@redaction_options
def check(invocation: Invocation, run: str, redaction: Redaction | None, **rules: object) -> None:
    """Check RUN against rules: exit code 0 if it keeps them all, 1 if it breaks one, with the place where it first did. Default: the last run.

    \b
    afk-es check RUN --state completed --no-errors --max-cost 0.5
    afk-es check RUN --tool-called 'search*' --no-writes-unknown
    """
    if not asyncio.run(_check(invocation, run, Checks(**rules), redaction)):  # type: ignore[arg-type]
        raise click.exceptions.Exit(NEGATIVE)


async def _check(invocation: Invocation, run: str, wanted: Checks, redaction: Redaction | None) -> bool:
    async with recorded(invocation, run) as rec:
        found = redacted(await checked_of(rec, wanted, told("checking")), redaction)
    if invocation.format != "text":
        write_facts(invocation, "check", found)
        return found.ok
    for line, ok in check_lines(found):
        output.echo(output.toned(visible(line), "good" if ok else "bad"))
    return found.ok
