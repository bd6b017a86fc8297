"""Tasks as the command line shows them: how they are found, what is kept back of them, in which colours they stand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from afk_es.cli.reading import reading
from afk_es.debugger.styled import Style
from afk_es.errors import ConfigurationError, TaskNotFoundError, UsageError
from afk_es.log import DatabaseLog, EventLog
from afk_es.queues.contracts import CHAT, JOB
from afk_es.queues.items import TaskItem
from afk_es.queues.records import TaskRecords
from afk_es.redaction import Redaction
from afk_es.views import compact_json, visible

TONES: dict[str, Style] = {
    "queued": "plain",
    "running": "strong",
    "waiting": "mark",
    "completed": "good",
    "dead": "bad",
    "cancelled": "mark",
}
"""By the state of a task."""

STATES = tuple(TONES)

_PREFIX = "task_"


@asynccontextmanager
async def records_of(location: str) -> AsyncIterator[tuple[EventLog, TaskRecords | None]]:
    """The tasks of a log that is there, for reading: nothing is written or made; None where it has never had any.

    Raises:
        LogError: there is no such log, or it cannot be read.
        ConfigurationError: it is in no database.
    """
    async with reading(location) as log:
        if not isinstance(log, DatabaseLog):
            raise ConfigurationError(f"{location} is in no database, so it has no tasks")
        records = TaskRecords(log)
        yield log, records if await records.open(make=False) else None


async def task_named(log: EventLog, records: TaskRecords | None, name: str) -> TaskItem:
    """The task that a person means.

    Raises:
        TaskNotFoundError: there is none.
        UsageError: it is the beginning of several ids.
    """
    if records is not None and name == "@last":
        if newest := await records.list(limit=1):
            return newest[0]
    elif records is not None and name and "\0" not in name:
        found = await records.find(name)
        if not found and not name.startswith(_PREFIX):
            found = await records.find(_PREFIX + name)
        if len(found) > 1 and name not in found:
            raise UsageError(f"{name!r} is the beginning of several tasks; write more of the one that is meant: {', '.join(found[:5])}")
        if found and (item := await records.get(name if name in found else found[0])) is not None:
            return item
    raise TaskNotFoundError(f"{log.location} has no task {name!r:.160}; `afk-es queue list` lists what it has")


def shown(item: TaskItem, redaction: Redaction | None) -> TaskItem:
    """The task without what is to be kept back."""
    if redaction is None:
        return item
    progress = msgspec.structs.replace(item.progress, doing=redaction.text(item.progress.doing))
    return msgspec.structs.replace(
        item,
        payload=redaction.value(item.payload),
        result=redaction.value(item.result),
        error=redaction.text(item.error) if item.error is not None else None,
        key=redaction.text(item.key) if item.key is not None else None,
        lane=redaction.text(item.lane) if item.lane is not None else None,
        progress=progress,
    )


def task_json(item: TaskItem) -> dict[str, Any]:
    """A task as JSON data."""
    data: dict[str, Any] = msgspec.to_builtins(item)
    return data


def about(item: TaskItem) -> str:
    """What a task asks for, in one line."""
    match item.contract, item.payload:
        case (contract, {"agent": str() as agent}) if contract == CHAT:
            said = item.payload.get("user_message")
            return visible(f"{agent}: {said if isinstance(said, str) else compact_json(said) if said is not None else ''}".rstrip(": "))
        case (contract, {"handler": str() as handler}) if contract == JOB:
            return visible(f"{handler} {compact_json(item.payload.get('payload', {}))}")
        case _:
            return visible(compact_json(item.payload))


def tries(item: TaskItem) -> str:
    """How often it was tried, and failed, of how often it may."""
    return f"{item.attempts} ({item.failures}/{item.max_attempts} failed)" if item.failures else str(item.attempts)
