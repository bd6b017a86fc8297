"""A file of SQLite as a `DatabaseLog`, without the log: one connection, one transaction at a time."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from afk_es.log import Statement
from afk_es.machine.events import AgentRunEvent


class PlainFile:
    """See the module."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=10.0, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=normal")
        self._turn = asyncio.Lock()

    @property
    def dialect(self) -> Literal["sqlite"]:
        return "sqlite"

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        async with self._turn:
            return await asyncio.shield(asyncio.to_thread(self._run, statements))

    def _run(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            rows = [self._connection.execute(re.sub(r"\$(\d)", r"?\1", each.sql), each.parameters).fetchall() for each in statements]
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        return rows

    async def append_with(self, events: Sequence[AgentRunEvent], *, epoch: int, statements: Sequence[Statement]) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self._connection.close()
