"""`afk-es doctor`: whether this machine, this log and this terminal are fit for use, and the way out where they are not."""

from __future__ import annotations

import asyncio

import click

from afk_es.cli import output
from afk_es.cli.failures import NEGATIVE
from afk_es.cli.health import Finding, environment
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.log_health import log_health
from afk_es.clock import SystemClock
from afk_es.views import visible

_TONES = {"ok": "good", "note": "mark", "wrong": "bad"}


@click.command("doctor", short_help="Check interpreter, libraries, log, terminal and clock.")
@common_options
@click.pass_obj
def doctor(invocation: Invocation) -> None:
    """Check whether everything is fit for use, and say the way out where it is not. Nothing is changed.

    Exit code 0 if nothing is wrong, else 1. What is only good to know is a note, and wrong with nothing.
    """
    found = [*environment(), *asyncio.run(log_health(invocation, SystemClock()))]
    ok = not any(finding.standing == "wrong" for finding in found)
    match invocation.format:
        case "text":
            _write_text(found)
        case "json":
            output.write_json({"schema": "afk_es.doctor/1", "ok": ok, "findings": [_row(finding) for finding in found]})
        case "jsonl":
            for finding in found:
                output.write_json_line({"schema": "afk_es.finding/1", **_row(finding)})
    if not ok:
        raise click.exceptions.Exit(NEGATIVE)


def _row(finding: Finding) -> dict[str, object]:
    # Whole, also where nothing is to be done: whoever reads it as data wants the same keys each time.
    return {name: getattr(finding, name) for name in finding.__struct_fields__}


def _write_text(found: list[Finding]) -> None:
    widest = max(len(finding.name) for finding in found)
    for finding in found:
        output.echo(output.toned(f"{finding.standing:<6}", _TONES[finding.standing]) + f"{finding.name:<{widest}}  {visible(finding.said)}")
        if finding.way_out:
            output.echo(f"{'':<{8 + widest}}-> {visible(finding.way_out)}")
    wrong = sum(finding.standing == "wrong" for finding in found)
    output.echo(f"{wrong} thing{'s' if wrong > 1 else ''} wrong" if wrong else "nothing is wrong")
