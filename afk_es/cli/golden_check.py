"""`afk-es golden check`: today's agents on what is recorded. It asks no model, runs no tool and writes no golden."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli.goldens import Agents, checked, golden_files, golden_options
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.redacting import redaction_options
from afk_es.cli.reporting import Reports, report_options, tell
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.reports import account_of
from afk_es.redaction import Redaction


@click.command("check", short_help="Run today's agents on what is recorded, offline, and compare.")
@click.argument("names", metavar="[GOLDEN]...", nargs=-1)
@golden_options
@common_options
@click.pass_obj
@redaction_options
@report_options
def check(
    invocation: Invocation,
    names: tuple[str, ...],
    directory: str,
    agent: str | None,
    policy: str | None,
    mode: MatchMode | None,
    reports: Reports,
    redaction: Redaction | None,
) -> None:
    """Check goldens: files, directories or names; default all below --dir. Offline and free.

    The agent runs, on recorded answers in recorded time, and what it asks for and comes to is compared with the record. The first divergence
    of each is shown as a difference. Exit code 0 where all hold, 1 where one has diverged, 3 where one could not be measured, because its
    file cannot be read, nothing of it was replayed, or nobody says whose agent it is.
    """
    agents = Agents(agent, policy)

    async def checks() -> list[CheckReport]:
        return [await checked(path, agents, mode) for path in golden_files(names, directory)]

    account = account_of(asyncio.run(checks()))
    tell(invocation, account, reports, redaction)
    if account.exit_code:
        raise click.exceptions.Exit(account.exit_code)
