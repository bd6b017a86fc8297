"""Which clients are to be called back about which tasks, and how far they were told, until that is the end: a small SQLite file of this
machine, beside the log where that is a file.

It is no part of the log: what a client gives for its own server, a token or credentials, is a secret, and the log keeps none. Whoever loses the file loses
the callbacks, and no task.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import aiosqlite
import msgspec
from a2a.types.a2a_pb2 import TaskPushNotificationConfig

from afk_es.errors import ConfigurationError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS callbacks (
    task_id TEXT NOT NULL,
    config_id TEXT NOT NULL,
    agent_name TEXT NOT NULL,
    config BLOB NOT NULL,
    delivered INTEGER NOT NULL,
    PRIMARY KEY (task_id, config_id)
) STRICT, WITHOUT ROWID
"""
_COLUMNS = "task_id, config_id, agent_name, config, delivered"


class Callback(msgspec.Struct, frozen=True):
    """A client's wish to be told of a task. `delivered` is the seq of the run's event up to which it was."""

    task_id: str
    config_id: str
    agent_name: str
    config: TaskPushNotificationConfig
    delivered: int


class NotificationBook:
    """Holds the callbacks.

    Args:
        path: the file, made where it is not there and readable by its owner only; None keeps them in memory, and they are lost with the process.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._connection: aiosqlite.Connection | None = None

    async def open(self) -> None:
        """Make it usable.

        Raises:
            ConfigurationError: the file cannot be made or read, or is none of this kind.
        """
        try:
            await self._open_file()
        except (OSError, sqlite3.Error) as error:
            await self.close()
            why = error.strerror if isinstance(error, OSError) else error
            raise ConfigurationError(
                f"callbacks of clients cannot be kept in {self._path} ({why}): name another file with push_file (--push-file), "
                "or leave them out with push=False (--no-push)"
            ) from error

    async def _open_file(self) -> None:
        if self._path is not None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made before SQLite makes it, since that would let everybody read it.
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
        self._connection = await aiosqlite.connect(self._path or ":memory:", isolation_level=None)
        await self._connection.execute("PRAGMA busy_timeout = 5000")
        await self._connection.execute("PRAGMA trusted_schema = OFF")
        # What is forgotten was a secret.
        await self._connection.execute("PRAGMA secure_delete = ON")
        await self._connection.execute(_SCHEMA)

    async def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def put(self, callback: Callback) -> None:
        """Keep it, in place of one of the same task and id; durable when this returns."""
        await self._do(
            f"INSERT OR REPLACE INTO callbacks ({_COLUMNS}) VALUES (?, ?, ?, ?, ?)",
            callback.task_id,
            callback.config_id,
            callback.agent_name,
            callback.config.SerializeToString(),
            callback.delivered,
        )

    async def of(self, task_id: str) -> list[Callback]:
        """The callbacks of a task, in the order of their ids."""
        return await self._read("WHERE task_id = ? ORDER BY config_id", task_id)

    async def unfinished(self, limit: int) -> list[Callback]:
        """Those of all tasks, at most so many, in the order of the tasks' and their own ids."""
        return await self._read("ORDER BY task_id, config_id LIMIT ?", limit)

    async def note(self, callback: Callback, delivered: int) -> None:
        """It was told of everything up to this event."""
        await self._do(
            "UPDATE callbacks SET delivered = ? WHERE task_id = ? AND config_id = ?", delivered, callback.task_id, callback.config_id
        )

    async def done(self, callback: Callback) -> None:
        """There is nothing more to tell: forget it, with its token and credentials. One that was put in its place meanwhile stays."""
        await self._do(
            "DELETE FROM callbacks WHERE task_id = ? AND config_id = ? AND config = ?",
            callback.task_id,
            callback.config_id,
            callback.config.SerializeToString(),
        )

    async def delete(self, task_id: str, config_id: str) -> None:
        """Forget it; nothing happens where it is not there."""
        await self._do("DELETE FROM callbacks WHERE task_id = ? AND config_id = ?", task_id, config_id)

    async def _read(self, clause: str, *values: str | int) -> list[Callback]:
        async with self._open.execute(f"SELECT {_COLUMNS} FROM callbacks {clause}", values) as cursor:
            rows = await cursor.fetchall()
        return [Callback(row[0], row[1], row[2], TaskPushNotificationConfig.FromString(row[3]), row[4]) for row in rows]

    async def _do(self, statement: str, *values: str | int | bytes) -> None:
        await self._open.execute(statement, values)

    @property
    def _open(self) -> aiosqlite.Connection:
        assert self._connection is not None
        return self._connection
