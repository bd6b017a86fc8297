"""What the tests of queues share: a log on each store that takes tables beside its own, and tasks to put there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from afk_es.clock import SimulatedClock
from afk_es.queues.records import TaskRecords


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a log of this test's own is to be, on each store that has queues; nothing is there yet."""
    if request.param == "sqlite":
        return str(tmp_path / "tasks.db")
    return str(request.getfixturevalue("postgres_log"))


@pytest_asyncio.fixture
async def database_log(database_url: str) -> AsyncIterator[DatabaseLog]:
    """An open log on each store that has queues."""
    log = FakePostgres(database_url) if "://" in database_url else FakeSQLite(database_url)
    await log.open()
    yield log
    await log.close()


@pytest.fixture
def clock() -> SimulatedClock:
    """A clock that moves when it is told to."""
    return SimulatedClock()


@pytest_asyncio.fixture
async def records(database_log: DatabaseLog, clock: SimulatedClock) -> TaskRecords:
    """The list of tasks in `database_log`, by `clock`."""
    tasks = TaskRecords(database_log, clock=clock)
    await tasks.open()
    return tasks
