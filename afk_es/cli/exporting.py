"""`afk-es export`: a run as something to share."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from typing import Literal, cast, get_args

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.reading import parse_name, reading
from afk_es.cli.redacting import redaction_options
from afk_es.debugger.exchange import export_run, export_text
from afk_es.debugger.exchange.exporting import TEXTS, Form
from afk_es.debugger.naming import named_run
from afk_es.errors import UsageError
from afk_es.evals.goldens.divergence import MatchMode
from afk_es.redaction import Redaction

Target = Literal[Form, "golden", "pytest"]

_NAMES: dict[Target, str] = {"db": "{}.db", "golden": "{}.golden.jsonl", "pytest": "test_{}.py"}
"""What a form that cannot go to stdout is called where no name is given."""


@click.command("export", short_help="Write a run as a page, a report, a picture, a test, a golden, a log or a trajectory.")
@click.argument("run", metavar="RUN", default="@last")
@click.option("--to", "form", type=click.Choice([*get_args(Form), "golden", "pytest"]), required=True, help="The form.")
@click.option(
    "-o", "--output", "target", metavar="FILE", help="Where to; default stdout, for db, golden and pytest a file named after the run."
)
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@click.option(
    "--agent", metavar="MODULE:AGENT", help="For pytest: the agent that the test runs; default the one here that has the run's name."
)
@click.option("--mode", type=click.Choice(get_args(MatchMode)), help="For golden and pytest: how much has to be the same; default strict.")
@common_options
@click.pass_obj
@redaction_options
def export(
    invocation: Invocation,
    run: str,
    form: Target,
    target: str | None,
    force: bool,
    agent: str | None,
    mode: MatchMode | None,
    redaction: Redaction | None,
) -> None:
    """Write RUN in a form to share; default the last run. Secrets are kept back, but in db, which is exact.

    jsonl has every event and can be imported; db is a log of its own with all that the run builds on; md and html are for people, html
    one page that needs nothing else; atif is for other tools; svg is a picture. golden is what later runs of the agent are checked against,
    and pytest is a test with a golden beside it, which runs today's agent on the recorded answers, offline.
    """
    if agent is not None and form != "pytest":
        raise UsageError(f"--agent is for a test, and {form} is none")
    if mode is not None and form not in ("golden", "pytest"):
        raise UsageError(f"--mode is for goldens, and {form} is none")
    path = Path(target).expanduser() if target is not None else None
    if form in ("golden", "pytest"):
        from afk_es.cli.pinning import pin

        asyncio.run(pin(invocation, run, path, agent=agent, test=form == "pytest", mode=mode or "strict", redaction=redaction, force=force))
        return
    asyncio.run(_export(invocation, run, cast(Form, form), path, force, redaction))


async def _export(invocation: Invocation, run: str, form: Form, path: Path | None, force: bool, redaction: Redaction | None) -> None:
    name = parse_name(run, invocation)
    async with reading(name.location) as log:
        run_id = await named_run(log, name.run)
        if path is None and form in TEXTS:
            async for piece in export_text(log, run_id, form, redaction=redaction):
                _write(piece)
            return
        written = await export_run(log, run_id, form, path or file_of(run_id, form), redaction=redaction, force=force)
    for each in written:
        output.note(f"wrote {each}")
    if form not in TEXTS:
        output.note("it is exact: nothing was redacted, so give it to nobody who may not see everything in the log", "mark")
    elif redaction is not None and form == "jsonl":
        output.note("secrets were kept back, so requests cannot be proved by their hash where one was; --no-redact writes all of it")


def file_of(run_id: str, form: Target) -> Path:
    """The file that a form of the run is written to where none is named.

    A run's id may be anything that somebody imported; as the name of a file it is none that leads elsewhere.
    """
    return Path(_NAMES[form].format(re.sub(r"[^\w-]", "_", run_id)))


def _write(piece: str) -> None:
    """To stdout, in UTF-8 whatever the terminal's encoding: a page or a trajectory in another one would be another text."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        output.echo(piece, nl=False)
        return
    sys.stdout.flush()
    binary.write(piece.encode("utf-8", "replace"))
    binary.flush()
