"""From what a user calls a run to the run: opens logs read-only, resolves names, reads events and what their thread remembered."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from afk_es.cli.invocation import Invocation
from afk_es.errors import ConfigurationError, LogError, RunNotFoundError, UsageError
from afk_es.log import EventLog, RunRecord, open_log
from afk_es.machine import AgentRunEvent
from afk_es.machine.values import Messages

PAGE = 1_000
"""Events read at once: a log of a million is shown without being held."""

_RUN_PREFIX = "run_"
_SHORTEST = 12
"""Characters of an id that are always shown: our ids begin with 12 digits of time, and a shorter beginning would soon fit later runs."""


class Name(NamedTuple):
    """A run as the user named it.

    Attributes:
        location: the log it is in.
        run: an id, the beginning of one, "@last" or "@last-failed".
        whole_log: whether only a log was named, which for most verbs means its last run.
    """

    location: str
    run: str
    whole_log: bool


def parse_name(text: str, invocation: Invocation) -> Name:
    """Which log and which run the text means.

    Raises:
        LogError: it names a file that is not there.
        UsageError: it names a log of its own beside --db.
    """
    found = _file_and_run(text)
    if found is None:
        return Name(invocation.location, text, False)
    if invocation.db is not None:
        raise UsageError(f"{text!r} names a log of its own, and --db another one; leave one of them out")
    file, run = found
    return Name(file, run or "@last", not run)


def _file_and_run(text: str) -> tuple[str, str] | None:
    if text.startswith("@"):
        return None
    if _is_file(text):
        return text, ""
    file, colon, run = text.rpartition(":")
    if colon and _is_file(file):
        return file, run
    path = file if colon and len(file) > 1 else text
    if os.sep in path or path.endswith((".db", ".sqlite")):
        raise LogError(f"there is no log at {path}; check the path")
    return None


def _is_file(text: str) -> bool:
    return bool(text) and Path(text).expanduser().is_file()


@asynccontextmanager
async def reading(location: str) -> AsyncIterator[EventLog]:
    """The log, open for reading only: nothing is made, written or locked.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    if location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    log = open_log(location, read_only=True)
    await log.open()
    try:
        yield log
    finally:
        await log.close()


async def resolve(log: EventLog, name: str) -> str:
    """The id of the run that is meant.

    Raises:
        RunNotFoundError: there is none.
        UsageError: the beginning of an id fits several runs; the message lists them.
    """
    if name.startswith("@"):
        return await _selected(log, name)
    if await log.head(name) is not None:
        return name
    found = await log.find(name)
    if not found and not name.startswith(_RUN_PREFIX):
        found = await log.find(_RUN_PREFIX + name)
    if not found or not name:
        raise RunNotFoundError(f"{log.location} has no run {name!r}; `afk-es runs` lists what it has")
    if len(found) > 1:
        shown = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UsageError(f"{name!r} is the beginning of several runs; write more of the one that is meant: {shown}")
    return found[0]


async def _selected(log: EventLog, name: str) -> str:
    if name not in ("@last", "@last-failed"):
        raise UsageError(f"{name!r} is not a way to name a run; there are @last and @last-failed")
    async for record in all_runs(log):
        if name == "@last" or await status_of(log, record) in ("failed", "crashed"):
            return record.run_id
    what = "no run yet" if name == "@last" else "no run that failed or crashed"
    raise RunNotFoundError(f"{log.location} has {what}")


async def all_runs(log: EventLog, *, thread_id: str | None = None) -> AsyncIterator[RunRecord]:
    """Every run of the log, or of a thread, the newest first."""
    before = None
    # The first page is small: most callers want the last run, and a page costs a scan of its runs' events.
    size = 20
    while page := await log.runs(thread_id=thread_id, limit=size, before=before):
        for record in page:
            yield record
        before = page[-1].run_id
        size = 200


async def status_of(log: EventLog, record: RunRecord) -> str:
    """The run's status for people: one that nobody drives any more and that has not ended has crashed."""
    if record.ended or await log.alive(record.owner, record.run_id):
        return record.state
    return "crashed"


async def short_ids(log: EventLog, run_ids: list[str]) -> dict[str, str]:
    """The shortest beginning of each id that is unique in the log."""
    return {run_id: await _short_id(log, run_id) for run_id in run_ids}


async def _short_id(log: EventLog, run_id: str) -> str:
    low, high = min(len(run_id), len(_RUN_PREFIX) + _SHORTEST), len(run_id)
    # Longer beginnings fit fewer runs, so the shortest unique one can be searched for by halves.
    while low < high:
        middle = (low + high) // 2
        if len(await log.find(run_id[:middle])) == 1:
            high = middle
        else:
            low = middle + 1
    return run_id[:low].removeprefix(_RUN_PREFIX)


async def events_of(log: EventLog, run_id: str, *, after: int = 0) -> AsyncIterator[AgentRunEvent]:
    """The events of a run, page by page."""
    while page := await log.read(run_id, after=after, limit=PAGE):
        for event in page:
            yield event
        after = page[-1].seq


async def history_of(log: EventLog, run_id: str) -> Messages | None:
    """What the run's thread remembered when it began, or None where it began a thread."""
    first = await log.read(run_id, limit=1)
    refs = first[0].data.get("history") if first else None
    if not refs:
        return None
    from afk_es.core.history import ThreadMemory

    return await ThreadMemory().read(log, refs)
