"""What the tests of queues share: a log on each store that takes tables beside its own, and the list of tasks in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from afk_es.clock import SimulatedClock
from afk_es.log import DatabaseLog, EventLog, open_log
from afk_es.queues.records import TaskRecords


class TasksLog(EventLog, DatabaseLog, Protocol):
    """A log that takes tables beside its own."""


def tasks_log(url: str) -> TasksLog:
    """The store of that place, not yet open."""
    log = open_log(url)
    assert isinstance(log, EventLog)
    assert isinstance(log, DatabaseLog)
    return log


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log of this test's own is to be, on each store that has queues; nothing is there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "tasks.db")
    return str(request.getfixturevalue("postgres_log"))


@pytest_asyncio.fixture
async def database_log(database_url: str) -> AsyncIterator[TasksLog]:
    """An open log on each store that has queues."""
    log = tasks_log(database_url)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that moves when it is told to."""
    return SimulatedClock()


@pytest_asyncio.fixture
async def records(database_log: TasksLog, clock: SimulatedClock) -> TaskRecords:
    """The list of tasks in `database_log`, by `clock`."""
    tasks = TaskRecords(database_log, clock=clock)
    await tasks.open()
    return tasks
