"""One connection to PostgreSQL that is made again when it is lost, and what the server says in our words. Knows no tables.

A store needs sessions of its own, not single transactions: its owner's advisory lock, LISTEN and prepared statements belong to a session.
So it is connected directly, or through a pooler in session mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from afk_es.errors import (
    ClashError,
    ConfigurationError,
    CorruptLogError,
    InvalidEventError,
    LogClosedError,
    LogError,
    LogFullError,
    LogLockedError,
    LogReadOnlyError,
    LogUnavailableError,
)
from afk_es.log.port import Statement
from afk_es.log.postgres_address import Address
from afk_es.log.postgres_driver import asyncpg

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
"""Between two attempts to connect: twice as long each time."""
_CONNECTED_WITHIN_S = 10.0
"""A host that answers nothing is given up after so many seconds, and may be asked again."""

_POOLER = (
    "a prepared statement is gone, as behind a pooler in transaction mode (pgbouncer's pool_mode=transaction); a log needs sessions of its "
    "own: connect to the server directly, or in session mode"
)

_WAYS_OUT: dict[str, tuple[type[LogError], str]] = {
    "53100": (LogFullError, "the server's disk is full; make room and append again, nothing is half-written"),
    "53200": (LogFullError, "the server is out of memory; nothing is half-written"),
    "53400": (LogFullError, "a limit of the server's configuration is reached; nothing is half-written"),
    "25006": (LogReadOnlyError, "the session or the server is read-only, as a standby is; connect to the primary server"),
    "42501": (LogReadOnlyError, "the role may not do that; GRANT USAGE on the schema, and SELECT and INSERT on its tables"),
    "42P01": (CorruptLogError, "a table of the log is gone; restore it from a backup"),
    "42703": (CorruptLogError, "a column of the log is gone; restore it from a backup"),
    "26000": (LogUnavailableError, _POOLER),
    "42P05": (LogUnavailableError, _POOLER),
    "55P03": (LogLockedError, "another session holds a lock; try again"),
    "57014": (LogUnavailableError, "the statement was cancelled by a timeout or by somebody; nothing was written, try again"),
    "54000": (InvalidEventError, "an id or a value is larger than the server can keep"),
}
_CLASSES: dict[str, tuple[type[LogError], str]] = {
    "28": (LogUnavailableError, "the server does not let this role in; check user, password (PGPASSWORD, ~/.pgpass) and pg_hba.conf"),
    "3D": (LogUnavailableError, "there is no such database; make it with `createdb`, or name another one"),
    "22": (CorruptLogError, "a stored value is not what it should be; `afk-es verify` says more"),
    "58": (LogUnavailableError, "the server cannot read or write its files; see its own log"),
    "XX": (CorruptLogError, "the server found its data damaged; see its own log, and restore the log from a backup"),
}

# The connection is gone, or about to be: an operator's shutdown, a crash, a server that is just starting, too many clients, a timeout of ours.
_LOST_STATES = ("08", "57P01", "57P02", "57P03", "57P05", "53300")
_AGAIN_STATES = ("40001", "40P01")
_OUTDATED = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
"""A table was changed since the statement was prepared. Outside a transaction the driver prepares it anew by itself."""

_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
"""What comes of the server, the driver and the network."""


Prepare = Callable[[asyncpg.Connection], Awaitable[None]]
"""What a new session is told."""


class LostError(Exception):
    """The connection was lost, or the transaction has to be tried again: whether what was sent was done is not known."""


class NothingDoneError(LostError):
    """As that, and nothing of it was done."""


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is gone rather than that something was wrong with what was sent."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(_LOST_STATES)
    if isinstance(error, asyncpg.InterfaceError):
        return not isinstance(error, ValueError) and "connection is" in str(error)
    # A TimeoutError is an OSError. What the driver calls an internal error is what a session that was just ended leaves it in.
    return isinstance(error, (OSError, asyncpg.InternalClientError))


def way_out_of(state: str) -> tuple[type[LogError], str]:
    """The kind of error that a SQLSTATE is for a log, and what to do about it."""
    if state.startswith(_LOST_STATES):
        return LogUnavailableError, "the server is not there now, or has no room for another connection; try again"
    return _WAYS_OUT.get(state) or _CLASSES.get(state[:2]) or (LogUnavailableError, "see the server's own log")


def in_our_words(error: BaseException, shown: str) -> LogError:
    """The `LogError` for what the server or the driver reported: names the log and the way out, and nothing secret."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        kind, way_out = way_out_of(state)
        return kind(f"the log {shown}: {way_out} (PostgreSQL says: {error.args[0] if error.args else state} [{state}])")
    if is_lost(error):
        said = str(error) or type(error).__name__
        return LogUnavailableError(f"the log {shown}: the server cannot be reached; check that it runs and the URL is right ({said})")
    if isinstance(error, (asyncpg.DataError, UnicodeEncodeError, OverflowError)):
        return InvalidEventError(f"the log {shown}: a value cannot be kept by PostgreSQL ({error})")
    return LogUnavailableError(f"the log {shown}: the driver failed; open it again ({type(error).__name__}: {error})")


def of_a_statement(error: BaseException, shown: str) -> LogError:
    """The `LogError` for what the server or the driver has against statements that are not ours: it names the log and says what they said."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return ClashError(f"the log {shown}: a table refused what was to be written to it ({error.args[0]} [{error.sqlstate}])")
    state = error.sqlstate or "" if isinstance(error, asyncpg.PostgresError) else ""
    if state == "42501":
        return LogReadOnlyError(
            f"the log {shown}: the role may not do that beside the log; GRANT it SELECT, INSERT, UPDATE and DELETE on the table, USAGE on "
            f"a sequence, or CREATE on the schema where a table is to be made (PostgreSQL says: {error} [{state}])"
        )
    if (state[:2] != "42" and (state in _WAYS_OUT or state[:2] in _CLASSES)) or is_lost(error):
        return in_our_words(error, shown)
    return LogError(f"the log {shown}: a statement cannot be run ({error}{f' [{state}]' if state else ''})")


class Line:
    """A connection, with what every new session of it is told first.

    Args:
        address: the log's place.
        name: what `pg_stat_activity` shows as the application.
        prepare: told each new connection before it is used; what it raises ends the attempt.
        patience_s: seconds for which whoever waits is kept waiting while the server cannot be reached.
        timeout_s: seconds after which a statement without an answer counts as a lost connection.
        keep: connect again at once when the connection is lost, not only when it is needed.
    """

    def __init__(
        self,
        address: Address,
        *,
        name: str,
        prepare: Prepare,
        patience_s: float,
        timeout_s: float,
        keep: bool = False,
    ) -> None:
        self._address = address
        self._name = name
        self._prepare = prepare
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._keep = keep
        self._connection: asyncpg.Connection | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._door = asyncio.Lock()
        self._closed = False
        self._let_in = False
        self.restored_at: float | None = None

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Run one statement, a transaction of its own, in one round trip once it is prepared.

        Raises:
            LostError: whether it was run is not known.
            asyncpg.IntegrityConstraintViolationError: as the server says it.
            LogError: everything else that the server has against it.
        """
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_closed():
                raise NothingDoneError
            try:
                return await connection.fetch(sql, *arguments)  # type: ignore[no-any-return]
            except asyncpg.IntegrityConstraintViolationError:
                raise
            except (*_FAILURES, UnicodeEncodeError, OverflowError) as error:
                if is_lost(error):
                    connection.terminate()
                    raise LostError from error
                if isinstance(error, asyncpg.PostgresError) and error.sqlstate in _AGAIN_STATES:
                    raise NothingDoneError from error
                raise in_our_words(error, self._address.shown) from error

    async def transact(self, statements: Sequence[Statement]) -> list[list[asyncpg.Record]]:
        """Run statements in one transaction: a single one in one round trip, others in one for each and two more.

        Raises:
            NothingDoneError: they have to be run again; nothing was done.
            LostError: whether they were run is not known.
            ClashError: a constraint refused one of them.
            LogError: everything else that the server has against one.
        """
        async with self._turn:
            connection = self._connection
            if connection is None or connection.is_closed():
                raise NothingDoneError
            ending = len(statements) == 1
            try:
                if ending:
                    return [await connection.fetch(statements[0].sql, *statements[0].parameters)]
                await connection.execute("BEGIN")
                found = [await connection.fetch(sql, *parameters) for sql, parameters in statements]
                ending = True
                await connection.execute("COMMIT")
            except BaseException as error:
                if not isinstance(error, (*_FAILURES, ValueError, OverflowError, TypeError)):
                    connection.terminate()
                    raise
                if is_lost(error):
                    connection.terminate()
                    raise (LostError if ending else NothingDoneError) from error
                await self._roll_back(connection)
                if isinstance(error, _OUTDATED) or (isinstance(error, asyncpg.PostgresError) and error.sqlstate in _AGAIN_STATES):
                    raise NothingDoneError from error
                raise of_a_statement(error, self._address.shown) from error
            return found

    async def query(self, statement: Statement) -> list[asyncpg.Record]:
        """As `transact` for one statement that may be run twice: where the connection is lost it is run again on the next one."""
        while True:
            await self.ready()
            try:
                return (await self.transact((statement,)))[0]
            except LostError:
                continue

    async def _roll_back(self, connection: asyncpg.Connection) -> None:
        if connection.is_in_transaction():
            try:
                await connection.execute("ROLLBACK")
            except _FAILURES:
                connection.terminate()

    async def read(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """As `fetch`, for a statement that may be run twice: where the connection is lost it is run again on the next one."""
        while True:
            await self.ready()
            try:
                return await self.fetch(sql, *arguments)
            except LostError:
                continue

    async def ready(self, *, patience_s: float | None = None) -> None:
        """Be connected, if need be anew.

        Raises:
            LogError: the server cannot be reached for so many seconds, or does not let us in.
        """
        if self._connection is not None and not self._connection.is_closed():
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._patience_s if patience_s is None else patience_s)
        pause = _FIRST_PAUSE_S
        async with self._door:
            again = self._connection is not None
            while self._connection is None or self._connection.is_closed():
                if self._closed:
                    raise LogClosedError(f"the log {self._address.shown} is closed")
                try:
                    self._connection = await self._connected()
                except _FAILURES as error:
                    if not is_lost(error) or loop.time() + pause > deadline:
                        raise in_our_words(error, self._address.shown) from error
                    await asyncio.sleep(pause)
                    # A server that lets us in and then cuts us off is there: it need not be spared.
                    pause = _FIRST_PAUSE_S if self._let_in else min(2 * pause, _LONGEST_PAUSE_S)
                else:
                    self.restored_at = loop.time() if again else None

    async def _connected(self) -> asyncpg.Connection:
        self._let_in = False
        try:
            settings = {"application_name": self._name[:63], "client_encoding": "UTF8"}
            connection = await asyncpg.connect(
                self._address.dsn,
                timeout=min(self._timeout_s, _CONNECTED_WITHIN_S),
                command_timeout=self._timeout_s,
                server_settings=settings,
            )
        except ValueError as error:
            # What the driver has against the URL, or against a variable such as PGPORT or PGSSLMODE; it names that and no secret.
            raise ConfigurationError(f"the log {self._address.shown} cannot be connected to: {error}") from None
        self._let_in = True
        try:
            await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        if self._keep:
            connection.add_termination_listener(self._lost)
        return connection

    def _lost(self, _: object) -> None:
        if not self._closed and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.get_running_loop().create_task(self._restored(), name="afk_es log connection")

    async def _restored(self) -> None:
        while not self._closed:
            try:
                await self.ready()
                return
            except LogError:
                # Whoever needs the connection is told. Here it is only tried again, since others must see that this owner lives.
                await asyncio.sleep(_LONGEST_PAUSE_S)

    async def close(self, *, last_words: str | None = None) -> None:
        """Let go of the connection, after one more statement where there is something to say."""
        self._closed = True
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        async with self._door, self._turn:
            connection, self._connection = self._connection, None
            if connection is None or connection.is_closed():
                return
            try:
                if last_words is not None:
                    await connection.execute(last_words)
                await connection.close(timeout=self._timeout_s)
            except _FAILURES:
                connection.terminate()
