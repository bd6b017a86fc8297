"""The engine of a SQLite log keeps the contract of the port."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ConfigurationError, NewerLogError
from afk_es.log import DatabaseLog, Statement
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.queues import Dispatcher, Parcel
from afk_es.queues import delivery_rows as rows
from afk_es.queues.tables import TableDispatcher
from afk_es.testing.dispatcher_contract import DispatcherContract


class TestTableDispatcher(DispatcherContract):
    _clocks: ClassVar[dict[Path, SimulatedClock]] = {}
    _logs: ClassVar[dict[Dispatcher, SqliteEventLog]] = {}

    async def connect(self, directory: Path) -> Dispatcher:
        log = SqliteEventLog(directory / "runs.db", durability="normal", busy_timeout_s=10.0)
        await log.open()
        dispatcher = TableDispatcher(log, clock=self._clock(directory))
        self._logs[dispatcher] = log
        await dispatcher.open()
        return dispatcher

    async def disconnect(self, dispatcher: Dispatcher) -> None:
        await dispatcher.close()
        await self._logs.pop(dispatcher).close()

    async def pass_time(self, directory: Path, seconds: float) -> None:
        self._clock(directory).advance(seconds)

    def now(self, directory: Path) -> dt.datetime:
        return self._clock(directory).now()

    def log(self, dispatcher: Dispatcher) -> DatabaseLog:
        return self._logs[dispatcher]

    def _clock(self, directory: Path) -> SimulatedClock:
        return self._clocks.setdefault(directory, SimulatedClock(autojump_threshold_s=0.001))


@asynccontextmanager
async def opened(path: Path, clock: SimulatedClock) -> AsyncIterator[tuple[SqliteEventLog, TableDispatcher]]:
    log = SqliteEventLog(path)
    await log.open()
    try:
        dispatcher = TableDispatcher(log, clock=clock)
        await dispatcher.open()
        yield log, dispatcher
    finally:
        await log.close()


class ToldOfSleepers(SimulatedClock):
    """A clock that stands still, and says when somebody sleeps by it."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await super().sleep(seconds)


async def test_who_waits_is_woken_by_what_the_same_process_sends(tmp_path: Path) -> None:
    """No time passes here, so nobody looks again by itself."""
    clock = ToldOfSleepers()
    async with opened(tmp_path / "runs.db", clock) as (_log, dispatcher):
        consumer = await dispatcher.join("a worker", 30)
        assert await consumer.take(("one",), 1) == []
        waiting = asyncio.ensure_future(consumer.wait(60))
        await clock.asleep.wait()
        await dispatcher.send([Parcel("a", "one")])
        await waiting
        assert len(await consumer.take(("one",), 1)) == 1


async def test_who_waits_in_vain_looks_ever_less_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimulatedClock(autojump_threshold_s=0.0)
    async with opened(tmp_path / "runs.db", clock) as (log, dispatcher):
        consumer = await dispatcher.join("a worker", 1_000)
        looks: list[float] = []
        query = log.query

        async def counted(statement: Statement) -> list[tuple[Any, ...]]:
            looks.append(clock.monotonic())
            return await query(statement)

        monkeypatch.setattr(log, "query", counted)
        await consumer.wait(10.0)
        pauses = [round(later - earlier, 6) for earlier, later in pairwise(looks)]
        assert pauses[:7] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64]
        assert set(pauses[7:-1]) == {1.0}
        assert looks[-1] == 10.0


async def test_who_waits_looks_when_the_next_is_due(tmp_path: Path) -> None:
    clock = SimulatedClock(autojump_threshold_s=0.0)
    async with opened(tmp_path / "runs.db", clock) as (_log, dispatcher):
        consumer = await dispatcher.join("a worker", 1_000)
        await dispatcher.send([Parcel("a", "one", not_before=clock.now() + dt.timedelta(seconds=7.125))])
        assert await consumer.take(("one",), 1) == []
        await consumer.wait(60)
        assert clock.monotonic() == 7.125
        assert len(await consumer.take(("one",), 1)) == 1


async def test_more_than_is_seen_to_at_once_comes_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afk_es.queues.delivery_rows.DUE_AT_ONCE", 2)
    clock = SimulatedClock()
    async with opened(tmp_path / "runs.db", clock) as (_log, dispatcher):
        consumer = await dispatcher.join("a worker", 1_000)
        names = ["a", "b", "c", "d", "e"]
        await dispatcher.send([Parcel(each, "one", not_before=clock.now() + dt.timedelta(seconds=1)) for each in names])
        clock.advance(1)
        taken = []
        for _ in range(3):
            await consumer.wait(0)
            taken += [each.task_id for each in await consumer.take(("one",), 10)]
        assert taken == names


async def test_deliveries_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path / "runs.db", SimulatedClock()) as (log, dispatcher):
        await log.transact([Statement("INSERT INTO dispatching VALUES (99)")])
        with pytest.raises(NewerLogError, match="version 99"):
            await dispatcher.open()


async def test_a_log_of_another_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="ProcrastinateDispatcher"):
        TableDispatcher(PostgresEventLog("postgresql://host/there"))


async def test_a_lease_has_a_length(tmp_path: Path) -> None:
    async with opened(tmp_path / "runs.db", SimulatedClock()) as (_log, dispatcher):
        for lease_s in (0, -1, float("inf"), float("nan")):
            with pytest.raises(ConfigurationError, match="lease_s"):
                await dispatcher.join("a worker", lease_s)


async def test_taking_reads_no_more_rows_than_it_takes(tmp_path: Path) -> None:
    """Each statement of a taking finds its rows by an index."""
    async with opened(tmp_path / "runs.db", SimulatedClock()) as (log, _dispatcher):
        now = SimulatedClock().now()
        every = [
            *rows.taking("c", ("one", "two"), 3, now),
            rows.looking("c", ("one",), now),
            *rows.sending([Parcel("a", "one", lane="l")]),
            *rows.finishing(1, "c", "l", now),
            *rows.returning(1, "c", "l", now, None),
            *rows.recovering(now),
            *rows.leaving("c"),
        ]
        for sql, parameters in every:
            plan = await log.query(Statement(f"EXPLAIN QUERY PLAN {sql}", parameters))
            assert not [detail for *_, detail in plan if re.match(r"SCAN (deliveries|o|h)\b", detail)], (sql, plan)
