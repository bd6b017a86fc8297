"""The connections to procrastinate's tables: a small pool, one that listens, and what the server says in our words. Knows no tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.manager import get_channel_for_queues
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from afk_es.errors import ConfigurationError, LogError, LogUnavailableError
from afk_es.log.postgres_address import Address
from afk_es.log.postgres_connection import way_out_of

Answer = TypeVar("Answer")

_SETTINGS = {
    # The taking of a job is one look-up in an index by priority, with one by lane for each row that it passes. A planner whose statistics
    # are of the time when the table was small, or who has none, sorts and hashes the whole table for each job instead.
    **dict.fromkeys(
        ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "enable_sort", "enable_material"), "off"
    ),
    "jit": "off",
    # What is lost of takings and endings when the server crashes is delivered again. What is sent waits for the disk.
    "synchronous_commit": "off",
}
# A statement is planned for the queues that it names. What the functions do is planned once in a session all the same.
_LIFE: dict[str, Any] = {
    "prepare_threshold": None,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "connect_timeout": 10,
}
_LISTENING_S = 30.0
"""A listening connection that heard nothing for so long is asked whether it still lives."""
_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 5.0


class Server:
    """The server that has procrastinate's tables.

    Args:
        address: the place of the log that they are beside.
        connections: the most that the pool opens.
        timeout_s: seconds after which a statement without an answer is given up.
    """

    def __init__(self, address: Address, *, connections: int, timeout_s: float) -> None:
        self._address = address
        self._connections = connections
        self._timeout_s = timeout_s
        self._name = f"afk_es queue {address.schema}"[:63]  # What `pg_stat_activity` shows.
        self._connector: PsycopgConnector | None = None
        self._pool: AsyncConnectionPool | None = None

    @property
    def connector(self) -> PsycopgConnector:
        """What procrastinate's own classes work through."""
        if self._connector is None:
            raise LogUnavailableError(f"the queue beside the log {self._address.shown} is not open")
        return self._connector

    async def open(self) -> None:
        """Open the pool, which connects when it is used."""
        self._pool = AsyncConnectionPool(
            conninfo=self._address.dsn,
            kwargs={**_LIFE, "application_name": self._name},
            min_size=1,
            max_size=self._connections,
            timeout=self._timeout_s,
            configure=self._prepare,
            check=AsyncConnectionPool.check_connection,
            name=self._name,
            open=False,
        )
        # Not waited for a connection: a pool that waits in vain does not say why. Whoever opens this has connected before.
        await self._pool.open(wait=False)
        self._connector = PsycopgConnector()
        await self._connector.open_async(self._pool)

    async def close(self) -> None:
        """Let go of every connection of the pool."""
        self._connector = None
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def connect(self) -> psycopg.AsyncConnection[Any]:
        """A connection that is the caller's alone, in autocommit."""
        connection = await self.said(psycopg.AsyncConnection.connect(self._address.dsn, **_LIFE, application_name=self._name))
        try:
            await self.said(self._prepare(connection))
        except BaseException:
            await connection.close()
            raise
        return connection

    async def run(self, query: str, **arguments: Any) -> list[dict[str, Any]]:
        """Run one statement in a transaction of its own and give its rows.

        Raises:
            UniqueViolation: as the server says it; nothing was written.
            LogError: everything else, in words.
        """
        return await self.said(self.connector.execute_query_all_async(query, **arguments))

    async def run_durably(self, query: str, **arguments: Any) -> None:
        """The same, on disk when it returns."""
        await self.said(self._durably(query, arguments))

    async def _durably(self, query: str, arguments: dict[str, Any]) -> None:
        async with self.connector.pool.connection() as connection, connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit TO DEFAULT")
            await connection.execute(query, arguments)

    async def said(self, doing: Awaitable[Answer]) -> Answer:
        """Wait for something that asks the server, and say in our words what it has against it.

        Raises:
            UniqueViolation: as the server says it, by way of procrastinate; nothing was written.
            LogError: everything else.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                return await doing
        except UniqueViolation:
            raise
        except (psycopg.Error, ConnectorException, OSError) as error:
            raise self._in_our_words(error) from error

    def _in_our_words(self, error: BaseException) -> LogError:
        cause = error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ is not None else error
        where = f"the queue beside the log {self._address.shown}"
        if isinstance(cause, TimeoutError):
            return LogUnavailableError(f"{where}: the server did not answer within {self._timeout_s:g} s; it is asked again")
        state = getattr(cause, "sqlstate", None) or ""
        said = str(cause).strip().partition("\n")[0] or type(cause).__name__
        if not state:
            return LogUnavailableError(f"{where}: the server cannot be reached; check that it runs and the URL is right ({said})")
        kind, way_out = way_out_of(state)
        if state == "42501":
            way_out = (
                "the role may not do that; GRANT it SELECT, INSERT, UPDATE and DELETE on procrastinate's tables, and USAGE on its sequences"
            )
        elif state.startswith("42"):
            kind, way_out = LogError, "procrastinate's tables or functions are not what they were; see what was changed, and restore it"
        return kind(f"{where}: {way_out} (PostgreSQL says: {said} [{state}])")

    async def _prepare(self, connection: psycopg.AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        settings = {"search_path": self._address.schema, **_SETTINGS}
        await connection.execute(
            "SELECT set_config(key, value, false) FROM unnest(%s::text[], %s::text[]) AS each (key, value)",
            (list(settings), list(settings.values())),
        )


class Ear:
    """One connection that hears what is put into queues, and is made again when it is lost.

    Attributes:
        live: whether it hears now.
    """

    def __init__(self, server: Server) -> None:
        self.live: bool = False
        self._server = server
        self._queues: frozenset[str] = frozenset()
        self._listening: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Event] = set()

    def wake_with(self, event: asyncio.Event) -> None:
        """Set this event whenever something may be there to take."""
        self._waiting.add(event)

    def forget(self, event: asyncio.Event) -> None:
        """Set it no more."""
        self._waiting.discard(event)

    async def listen(self, queues: Collection[str]) -> None:
        """Hear of these queues as well."""
        if not self._queues.issuperset(queues):
            self._queues |= frozenset(queues)
            await self.close()
            self._listening = asyncio.get_running_loop().create_task(self._keep_listening(), name="afk_es queue listening")

    async def close(self) -> None:
        """Hear no more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
            self._listening = None

    async def _keep_listening(self) -> None:
        pause = _PAUSE_S
        while True:
            # Whoever waits looks by itself now and then; here the connection is only tried again.
            with suppress(LogError, psycopg.Error, OSError):
                connection = await self._server.connect()
                pause = _PAUSE_S
                try:
                    await self._hear(connection)
                finally:
                    self.live = False
                    await connection.close()
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _hear(self, connection: psycopg.AsyncConnection[Any]) -> None:
        for channel in get_channel_for_queues(sorted(self._queues)):
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self.live = True
        self._wake()  # What came before could not be heard.
        while True:
            async for _ in connection.notifies(timeout=_LISTENING_S):
                self._wake()
            async with asyncio.timeout(_LISTENING_S):
                await connection.execute("SELECT 1")

    def _wake(self) -> None:
        for event in self._waiting:
            event.set()


def require_sizes(connections: int, timeout_s: float) -> None:
    """Refuse what cannot work."""
    if connections < 1 or timeout_s <= 0:
        raise ConfigurationError(f"connections ({connections!r}) is at least 1, and timeout_s ({timeout_s!r}) more than 0 seconds")
