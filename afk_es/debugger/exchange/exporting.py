"""`export`: a run in a form to share. What each form looks like stands in a module of its own; this one says which there are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

from afk_es.debugger.exchange.kin import kin_of
from afk_es.debugger.exchange.writing import write_text
from afk_es.errors import UsageError
from afk_es.log import EventLog
from afk_es.redaction import Redaction

Form = Literal["jsonl", "db", "md", "html", "atif", "svg"]

FORMS: dict[Form, str] = {
    "jsonl": "the events, a line each, with those of the runs it builds on and started; `import` reads it back",
    "db": "a log of its own with the same runs, exact",
    "md": "a report in Markdown",
    "html": "one page that needs nothing else",
    "atif": "a trajectory in the Agent Trajectory Interchange Format",
    "svg": "the timeline as a picture",
}
"""The forms, and what each is for."""

TEXTS = frozenset({"jsonl", "md", "html", "atif", "svg"})
"""Forms that are text, and may go to stdout. They are the ones that are redacted."""


async def export_text(log: EventLog, run_id: str, form: Form, *, redaction: Redaction | None = None) -> AsyncIterator[str]:
    """The pieces of a text form.

    Args:
        redaction: what is kept back; None for nothing.

    Raises:
        UsageError: not a text form, or a run that is too large for one that people read.
        RunNotFoundError: there is no such run.
    """
    if form == "jsonl":
        from afk_es.debugger.exchange.event_lines import event_lines

        async for line in event_lines(log, await kin_of(log, run_id), redaction):
            yield line
        return
    if form not in TEXTS:
        raise UsageError(f"{form} is not text; give it a file to go to")
    from afk_es.debugger.exchange.report import report_of

    report = await report_of(log, run_id, redaction)
    match form:
        case "md":
            from afk_es.debugger.exchange.markdown import markdown

            yield markdown(report)
        case "html":
            from afk_es.debugger.exchange.page import page

            yield page(report)
        case "svg":
            from afk_es.debugger.exchange.drawing import drawing

            yield drawing(report)
        case _:
            from afk_es.debugger.exchange.trajectory import trajectory_json

            yield await trajectory_json(log, report, redaction)


async def export_run(
    log: EventLog,
    run_id: str,
    form: Form,
    target: Path,
    *,
    redaction: Redaction | None = None,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write a run in a form to a file, whole or not at all; the files that were written.

    Args:
        log: open, and left as it is.
        redaction: what is kept back of text forms; None for nothing. A `db` is exact.
        force: replace what is there.

    Raises:
        UsageError: there is something at the target.
        RunNotFoundError: there is no such run.
    """
    if form == "db":
        from afk_es.debugger.exchange.database import write_database

        await write_database(log, await kin_of(log, run_id), target, force=force)
        return (target,)
    await write_text(target, export_text(log, run_id, form, redaction=redaction), force=force)
    return (target,)
