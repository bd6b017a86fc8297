"""`afk-es golden review`: one golden that differs after another, shown with its first divergence, to be accepted or not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE, NOT_FOUND
from afk_es.cli.golden_updating import Finding, found, updated
from afk_es.cli.goldens import Agents, golden_files, golden_options
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.places import redacted, write_lines
from afk_es.cli.redacting import redaction_options
from afk_es.evals.goldens.check_text import report_lines
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.redaction import Redaction
from afk_es.views import visible


@click.command("review", short_help="Go through what differs, one golden after another, and accept it or not.")
@click.argument("names", metavar="[GOLDEN]...", nargs=-1)
@golden_options
@common_options
@click.pass_obj
@redaction_options
def review(
    invocation: Invocation,
    names: tuple[str, ...],
    directory: str,
    agent: str | None,
    policy: str | None,
    mode: MatchMode | None,
    redaction: Redaction | None,
) -> None:
    """Go through the goldens that differ: files, directories or names; default all below --dir.

    Each is shown with its first divergence as a difference. At a terminal you say whether to accept it, skip it or quit; what was accepted is
    written at once, as by `afk-es golden update`. Elsewhere it only says what there would be to do. Exit codes as of `golden update`.
    """
    asking = invocation.format == "text" and at_terminal()
    findings = _review(invocation, golden_files(names, directory), Agents(agent, policy), mode, redaction, asking)
    if invocation.format != "text":
        write = output.write_json if invocation.format == "json" else output.write_json_line
        differing = [redacted(finding, redaction) for finding in findings if not finding.holds]
        write({"schema": "afk_es.golden_review/1", "goldens": len(findings), "differing": msgspec.to_builtins(differing)})
    left = [finding for finding in findings if not finding.done and not finding.holds]
    if any(finding.category is not None for finding in left):
        raise click.exceptions.Exit(NEGATIVE)
    if left:
        raise click.exceptions.Exit(NOT_FOUND)


def at_terminal() -> bool:
    """Whether somebody is there who can answer."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _review(
    invocation: Invocation, files: tuple[Path, ...], agents: Agents, mode: MatchMode | None, redaction: Redaction | None, asking: bool
) -> list[Finding]:
    findings: list[Finding] = []
    for number, path in enumerate(files, start=1):
        # An event loop for each step: none goes on while a person thinks, and Ctrl-C ends the question.
        finding = asyncio.run(found(path, agents, mode))
        answer = ""
        if invocation.format == "text" and not finding.holds:
            _show(redacted(finding, redaction), f"{number} of {len(files)}", asking)
            answer = _asked() if asking and finding.category is not None else ""
        if answer == "a":
            finding = asyncio.run(updated(invocation, finding, agents))
            said = f"wrote {finding.path}" if finding.done else finding.reason
            output.echo(output.toned(visible(said), "good" if finding.done else "bad"))
        findings.append(finding)
        if answer == "q":
            break
    if invocation.format == "text":
        _sum_up(findings, len(files))
    return findings


def _show(finding: Finding, place: str, asking: bool) -> None:
    output.echo()
    output.echo(output.toned(f"{place}: {visible(finding.path)}", "strong"))
    if finding.report.ok:
        output.echo(f"  {visible(finding.reason)}")
    else:
        # Who is asked needs no command for it.
        write_lines(report_lines(finding.report, output.screen_width(), way_out=not asking or finding.category is None))
    if finding.category is not None:
        output.echo(output.toned(f"to accept: {_WHAT[finding.category]}", "mark"))


_WHAT = {
    "behaviour": "the agent runs live once, which may cost, and that is recorded (behaviour)",
    "representation": "the file is written as it is today, offline and free (representation)",
    "new": "record a run",
    "unused": "delete the file",
}


def _asked() -> str:
    try:
        answer: str = click.prompt("[a]ccept, [s]kip, [q]uit", type=click.Choice(["a", "s", "q"]), default="s", show_choices=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    return answer


def _sum_up(findings: list[Finding], total: int) -> None:
    differing = sum(not finding.holds for finding in findings)
    done = sum(finding.done for finding in findings)
    seen = f"{len(findings)} of {total} goldens looked at" if len(findings) < total else f"{total} golden{'s' if total != 1 else ''}"
    said = f"{seen}: {len(findings) - differing} hold"
    if differing:
        said += f", {differing} differ{'' if differing != 1 else 's'}, {done} of them written anew"
    output.echo(output.toned(said, "good" if differing == done else "mark"))
