"""`afk-es golden update`: goldens written anew, as far as that is accepted; without that, what there would be to write."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE, NOT_FOUND
from afk_es.cli.golden_updating import Finding, found, updated
from afk_es.cli.goldens import Agents, golden_files, golden_options
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import redacted
from afk_es.cli.redacting import redaction_options
from afk_es.errors import UsageError
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.evals.goldens.updates import UpdatePolicy, check_may_update
from afk_es.redaction import Redaction
from afk_es.views import visible


@click.command("update", short_help="Write goldens anew, as far as that is accepted.")
@click.argument("names", metavar="[GOLDEN]...", nargs=-1)
@click.option(
    "--accept",
    default="none",
    metavar="CATEGORIES",
    help="What is accepted, with commas between: behaviour (the agent runs live, which may cost), representation (offline), unused.",
)
@golden_options
@common_options
@click.pass_obj
@redaction_options
def update(
    invocation: Invocation,
    names: tuple[str, ...],
    accept: str,
    directory: str,
    agent: str | None,
    policy: str | None,
    mode: MatchMode | None,
    redaction: Redaction | None,
) -> None:
    """Write goldens anew: files, directories or names; default all below --dir. Without --accept it says what there would be to do.

    \b
    behaviour       the agent does something else: it runs live, with what was
                    said in the record, and that is recorded
    representation  it does the same, and the file would be written in another
                    way today: offline and free
    unused          the goldens that are named are deleted; which those are, a
                    whole test run knows: pytest --golden-update=unused
    new             is what `afk-es golden record` is for

    Runs that are made for it stay in the log of --db, as any other does. Never in CI. Exit code 0 where all hold now, 1 where something is left to do, 3 where a golden could not be measured.
    """
    accepted = UpdatePolicy.parse(accept)
    if accepted.accepted:
        check_may_update(os.environ)
    if accept.strip().casefold() == "unused":
        _delete(invocation, names, directory)
        return
    findings = asyncio.run(_update(invocation, golden_files(names, directory), Agents(agent, policy), mode, accepted))
    _tell(invocation, [redacted(finding, redaction) for finding in findings])
    _leave(findings)


def _delete(invocation: Invocation, names: tuple[str, ...], directory: str) -> None:
    if not names:
        raise UsageError("which goldens are unused, a whole test run knows: pytest --golden-update=unused; or name those that are to go")
    files = golden_files(names, directory)
    for path in files:
        path.unlink()
        output.note(f"deleted {path}")
    if invocation.format != "text":
        deleted = [{"path": str(path), "category": "unused", "done": True} for path in files]
        output.write_json({"schema": "afk_es.golden_updates/1", "updates": deleted})


async def _update(
    invocation: Invocation, files: tuple[Path, ...], agents: Agents, mode: MatchMode | None, accepted: UpdatePolicy
) -> list[Finding]:
    findings = []
    for path in files:
        finding = await found(path, agents, mode)
        if finding.category is not None and accepted.accepts(finding.category):
            finding = await updated(invocation, finding, agents)
        findings.append(finding)
    return findings


def _tell(invocation: Invocation, findings: list[Finding]) -> None:
    if invocation.format != "text":
        write = output.write_json if invocation.format == "json" else output.write_json_line
        write({"schema": "afk_es.golden_updates/1", "updates": msgspec.to_builtins(findings)})
        return
    for finding in findings:
        text, tone = _line(finding)
        output.echo(output.toned(visible(text), tone))
    wanted = sorted({finding.category for finding in findings if finding.category is not None and not finding.done})
    if wanted:
        output.note(f"look at them with `afk-es golden review`; to accept: --accept {','.join(wanted)}")


def _line(finding: Finding) -> tuple[str, str]:
    if finding.done:
        return f"{finding.name}: written anew ({finding.category}): {finding.reason}", "good"
    if finding.holds:
        return f"{finding.name}: holds", "good"
    return f"{finding.name}: {finding.category or 'not measurable'}: {finding.reason}", "mark" if finding.category is not None else "bad"


def _leave(findings: list[Finding]) -> None:
    left = [finding for finding in findings if not finding.done and not finding.holds]
    if any(finding.report.outcome == "diverged" or finding.report.ok for finding in left):
        raise click.exceptions.Exit(NEGATIVE)
    if left:
        raise click.exceptions.Exit(NOT_FOUND)
