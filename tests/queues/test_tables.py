"""The engine of a SQLite log keeps the contract of the port."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import ClassVar

from afk_es.clock import SimulatedClock
from afk_es.log import DatabaseLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.queues import Dispatcher
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
