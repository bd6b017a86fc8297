"""`afk-es archive`: runs that have ended, into a log file of their own; and whether all of a log is in one, so that it may be dropped."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.failures import INTEGRITY, NEGATIVE
from afk_es.cli.health import megabytes
from afk_es.cli.invocation import Invocation, common_options
from afk_es.cli.moments import moment
from afk_es.cli.reading import reading
from afk_es.clock import SystemClock
from afk_es.debugger.figures import span
from afk_es.errors import UsageError
from afk_es.log import DatabaseLog, EventLog
from afk_es.log.archive import ArchiveReport, Fate, RunFate, archive_runs, check_archive
from afk_es.log.location import file_of
from afk_es.log.postgres_address import is_postgres
from afk_es.log.sqlite import SqliteEventLog
from afk_es.queues.items import OPEN
from afk_es.queues.records import TaskRecords

_SHOWN = 10
_WAIT_S = 60.0
"""For so long another archiving may hold the file."""

_PHRASES: dict[Fate, str] = {
    "copied": "copied",
    "grown": "added to",
    "there": "there already",
    "open": "open",
    "waits": "forked from one that is not archived",
    "missing": "missing",
    "differs": "different there",
    "damaged": "damaged",
}


@click.command("archive", short_help="Copy runs that have ended to a log file of their own; say whether a log may go.")
@click.option("--to", "target", metavar="FILE", help="The archive: a log file, made if it is not there, gone on with if it is.")
@click.option(
    "--check", "checked", metavar="FILE", help="Copy nothing: is every run of the log in this archive, to the byte, and none open?"
)
@click.option(
    "--ended-before",
    metavar="WHEN",
    help="Only runs whose last event is older: a date, or how long ago (30d, 12h), with what they build on.",
)
@click.option(
    "--thread", "threads", metavar="ID", multiple=True, help="Only runs of this thread, with what they build on; may be repeated."
)
@common_options
@click.pass_obj
def archive(invocation: Invocation, target: str | None, checked: str | None, ended_before: str | None, threads: tuple[str, ...]) -> None:
    """Copy whole runs to a file that every command opens as a log, byte for byte, with the same hash chains.

    Runs that have not ended for good are left out, and named. Call it again to go on where it was ended, or to add what has come since.
    A log forgets nothing: to get room, begin a new one (a file, or `?schema=` on PostgreSQL) each month, archive the old one when its runs
    have ended, and drop it when --check says so with exit code 0 (1: not yet).
    """
    if (target is None) == (checked is None):
        raise UsageError("name the archive: --to FILE copies to it, --check FILE compares with it")
    if checked is not None:
        if ended_before is not None or threads:
            raise UsageError("--check is about the whole log, which is dropped as a whole; leave out --ended-before and --thread")
        report, tasks = asyncio.run(_check(invocation, _file(checked, invocation)))
    else:
        assert target is not None, "one of both is there"
        tasks = {}
        before = moment(ended_before, "--ended-before") if ended_before is not None else None
        began = SystemClock().monotonic()
        report = asyncio.run(_archive(invocation, _file(target, invocation), before, threads))
        if invocation.format == "text" and report.events:
            seconds = max(SystemClock().monotonic() - began, 1e-9)
            speed = f"{sum(report.fates.values()) / seconds:.0f} runs and {megabytes(int(report.bytes / seconds))} a second"
            output.note(f"{span(seconds)}; {speed}")
    may_go = report.complete and not tasks
    _write(invocation, report, tasks, may_go=may_go if checked is not None else None)
    if not report.sound:
        raise click.exceptions.Exit(INTEGRITY)
    if checked is not None and not may_go:
        raise click.exceptions.Exit(NEGATIVE)


def _file(target: str, invocation: Invocation) -> Path:
    """The file of an archive of that log.

    Raises:
        UsageError: it is no file.
    """
    if is_postgres(target):
        raise UsageError("an archive is a file, to be put away; name one")
    path = file_of(target)
    if path is None:
        raise UsageError("a log in memory is gone with its process; name a file")
    if path.is_dir():
        raise UsageError(f"{path} is a directory; name a file in it")
    own = None if is_postgres(invocation.location) else file_of(invocation.location)
    if own is not None and own.exists() and path.exists() and path.samefile(own):
        raise UsageError(f"{path} is the log itself; name another file")
    return path


async def _archive(invocation: Invocation, target: Path, before: dt.datetime | None, threads: Sequence[str]) -> ArchiveReport:
    async with reading(invocation.location) as log:
        archived = SqliteEventLog(target, durability="normal", busy_timeout_s=_WAIT_S)
        await archived.open()
        try:
            return await archive_runs(log, archived, ended_before=before, threads=threads, tell=_teller(invocation))
        finally:
            # What "normal" had not brought to the disk yet is there when the file is closed.
            await archived.close()


async def _check(invocation: Invocation, checked: Path) -> tuple[ArchiveReport, dict[str, int]]:
    async with reading(invocation.location) as log, reading(str(checked)) as archived:
        return await check_archive(log, archived, tell=_teller(invocation)), await _unfinished(log)


async def _unfinished(log: EventLog) -> dict[str, int]:
    """By state, tasks of the log's queues that somebody still wants something of; a task that no run has begun for is in no archive."""
    if not isinstance(log, DatabaseLog):
        return {}
    records = TaskRecords(log)
    stats = await records.stats() if await records.open(make=False) else ()
    counts = {state: sum(getattr(each, state) for each in stats) for state in sorted(OPEN | {"dead"})}
    return {state: count for state, count in counts.items() if count}


def _teller(invocation: Invocation) -> Callable[[RunFate], None] | None:
    """Tells of each run in a line of its own where that is the form, and people at a terminal how far it is."""
    if invocation.format == "jsonl":
        return lambda found: output.write_json_line({"schema": "afk_es.archived_run/1", **msgspec.to_builtins(found)})
    if not sys.stderr.isatty():
        return None
    runs = 0

    def tell(found: RunFate) -> None:
        nonlocal runs
        runs += 1
        if runs % 100 == 0:
            output.progress(f"{runs} runs", ended=True)

    return tell


def _write(invocation: Invocation, report: ArchiveReport, tasks: dict[str, int], *, may_go: bool | None) -> None:
    """Tell what was done, or, where `may_go` is not None, what was found."""
    check = may_go is not None
    if invocation.format == "json":
        facts = {"complete": report.complete, "sound": report.sound, **({"tasks": tasks, "may_go": may_go} if check else {})}
        output.write_json({"schema": "afk_es.archive_check/1" if check else "afk_es.archive/1", **msgspec.to_builtins(report), **facts})
    if invocation.format != "text":
        return
    for found in report.left[:_SHOWN]:
        tone = "bad" if found.fate in ("differs", "damaged") else "mark"
        output.echo(output.toned(f"{found.run_id}  {_PHRASES[found.fate]}: {found.reason}", tone))
    left = sum(count for fate, count in report.fates.items() if fate not in ("copied", "grown", "there"))
    if left > _SHOWN:
        output.note(f"... and {left - _SHOWN} more; `--format jsonl` lists them all")
    told = ", ".join(f"{report.fates[fate]} {phrase}" for fate, phrase in _PHRASES.items() if fate in report.fates)
    what = "compared" if check else "written"
    output.echo(f"{report.archive}: {report.runs} runs of {report.log}{f' ({told})' if told else ''}; ", nl=False)
    output.echo(f"{report.events} events, {report.letters} letters, {megabytes(report.bytes)} {what}")
    if tasks:
        told = ", ".join(f"{count} {state}" for state, count in tasks.items())
        output.echo(
            output.toned(f"its queues have tasks: {told}; let workers end them, or cancel or discard them (`afk-es queue`)", "mark")
        )
    if check:
        good = "all of the log is in the archive; if nobody writes to it any more, it may go"
        output.echo(output.toned(good, "good") if may_go else output.toned("not all of it is there, and ended: keep the log", "bad"))
    elif report.events or left:
        output.note(f"next: {output.command('archive', '--check', report.archive, db=invocation.db)}")
