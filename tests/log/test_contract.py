"""Both stores keep the contract of the port."""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import EventLogContract, NewLog, SharedEventLogContract


class TestMemoryEventLog(EventLogContract):
    @pytest.fixture
    def new_log(self) -> NewLog:
        log = MemoryEventLog()
        return lambda: log


class TestSqliteEventLog(SharedEventLogContract):
    @pytest.fixture
    def new_log(self, tmp_path: Path) -> NewLog:
        return lambda: SqliteEventLog(tmp_path / "a ?b#c%20d" / "runs.db", busy_timeout_s=2.0)
