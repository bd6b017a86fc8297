"""From what a user calls a run to the run: opens logs read-only, resolves names, reads events and what their thread remembered."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from afk_es.cli.invocation import Invocation
from afk_es.debugger.opening import GOLDEN as GOLDEN
from afk_es.debugger.opening import opened as opened
from afk_es.debugger.opening import reading as reading
from afk_es.errors import LogError, UsageError
from afk_es.log import EventLog
from afk_es.log.postgres_address import is_postgres
from afk_es.machine import AgentRunEvent
from afk_es.machine.values import Messages

PAGE = 1_000
"""Events read at once: a log of a million is shown without being held."""


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
    if is_postgres(text):
        return text, ""
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
