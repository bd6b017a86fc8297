"""The engine of a log on PostgreSQL keeps the contract of the port."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import ClassVar

import asyncpg
import pytest

from afk_es.log import DatabaseLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.queues import Dispatcher
from afk_es.queues.procrastinate import ProcrastinateDispatcher
from afk_es.testing.dispatcher_contract import DispatcherContract
from tests.support.postgres import ENVIRONMENT

pytestmark = pytest.mark.usefixtures("postgres")

_OLDER = """
UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - make_interval(secs => {s});
UPDATE procrastinate_jobs SET scheduled_at = scheduled_at - make_interval(secs => {s}) WHERE scheduled_at IS NOT NULL AND status = 'todo'"""


class TestProcrastinateDispatcher(DispatcherContract):
    histories = 6  # Each makes tables on a server.
    _logs: ClassVar[dict[Dispatcher, PostgresEventLog]] = {}

    async def connect(self, directory: Path) -> Dispatcher:
        log = PostgresEventLog(os.environ[ENVIRONMENT], schema=self._schema(directory))
        await log.open()
        dispatcher = ProcrastinateDispatcher(log.location)
        self._logs[dispatcher] = log
        await dispatcher.open()
        return dispatcher

    async def disconnect(self, dispatcher: Dispatcher) -> None:
        await dispatcher.close()
        await self._logs.pop(dispatcher).close()

    async def pass_time(self, directory: Path, seconds: float) -> None:
        connection = await asyncpg.connect(os.environ[ENVIRONMENT])
        try:
            await connection.execute(f"SET search_path = {self._schema(directory)}; {_OLDER.format(s=seconds)}")
        finally:
            await connection.close()

    def log(self, dispatcher: Dispatcher) -> DatabaseLog:
        return self._logs[dispatcher]

    def _schema(self, directory: Path) -> str:
        return f"queue_{hashlib.blake2b(str(directory).encode(), digest_size=8).hexdigest()}"
