"""The log on PostgreSQL keeps the contract of the port, all of it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import asyncpg
import pytest

from afk_es.log import EventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.testing.log_contract import EventLogContract
from tests.support.postgres import ENVIRONMENT

pytestmark = pytest.mark.usefixtures("postgres")


class TestPostgresEventLog(EventLogContract):
    def new_log(self, directory: Path) -> EventLog:
        return PostgresEventLog(os.environ[ENVIRONMENT], schema=self.schema(directory))

    def schema(self, directory: Path) -> str:
        return f"log_{hashlib.blake2b(str(directory).encode(), digest_size=8).hexdigest()}"

    async def tamper(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        await self._execute(directory, f"ALTER TABLE events DISABLE TRIGGER USER; {_CHANGE.format(run_id=run_id, seq=seq)}")
        await self._execute(directory, "ALTER TABLE events ENABLE TRIGGER USER")

    async def overwrite(self, log: EventLog, directory: Path, run_id: str, seq: int) -> None:
        # Not even a session that calls itself a replica gets past the triggers.
        await self._execute(directory, f"SET session_replication_role = replica; {_CHANGE.format(run_id=run_id, seq=seq)}")

    async def _execute(self, directory: Path, script: str) -> None:
        connection = await asyncpg.connect(os.environ[ENVIRONMENT])
        try:
            await connection.execute(f"SET search_path = {self.schema(directory)}; {script}")
        finally:
            await connection.close()


_CHANGE = "UPDATE events SET step = step + 1 WHERE seq = {seq} AND run = (SELECT run FROM runs WHERE run_id = '{run_id}')"
