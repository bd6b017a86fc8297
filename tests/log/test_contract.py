"""Both stores keep the contract of the port, and say what they do not have."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import EventLogContract


class TestMemoryEventLog(EventLogContract):
    lacks: ClassVar[Mapping[str, str]] = {
        "guards": "a dict has no language of its own to change events in",
        "reopening": "it is gone with the object",
        "sharing": "nobody else can have it",
        "killing": "it is gone with the process",
    }

    def new_log(self, directory: Path) -> EventLog:
        return MemoryEventLog()

    async def tamper(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        assert isinstance(log, MemoryEventLog)
        rows = log._runs[run_id].rows
        rows[seq - 1] = (*rows[seq - 1][:2], rows[seq - 1][2] + 1, *rows[seq - 1][3:])


class TestSqliteEventLog(EventLogContract):
    def new_log(self, directory: Path) -> EventLog:
        return SqliteEventLog(self.path(directory), busy_timeout_s=10.0)

    def path(self, directory: Path) -> Path:
        return directory / "a ?b#c%20d" / "runs.db"

    async def tamper(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        self._execute(directory, "DROP TRIGGER IF EXISTS events_stay; " + _CHANGE.format(run_id=run_id, seq=seq))

    async def overwrite(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        self._execute(directory, _CHANGE.format(run_id=run_id, seq=seq))

    def _execute(self, directory: Path, script: str) -> None:
        with closing(sqlite3.connect(self.path(directory), isolation_level=None)) as connection:
            connection.executescript(script)


class TestSqliteEventLogWithNormalDurability(TestSqliteEventLog):
    def new_log(self, directory: Path) -> EventLog:
        return SqliteEventLog(self.path(directory), busy_timeout_s=10.0, durability="normal")


_CHANGE = "UPDATE events SET step = step + 1 WHERE seq = {seq} AND run = (SELECT run FROM runs WHERE run_id = '{run_id}')"
