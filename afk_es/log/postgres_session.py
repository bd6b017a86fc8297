"""What each new session of a store is told before it is used: where the log is, how durable, and that its owner lives. Knows no events."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

from afk_es.log.postgres_address import Address
from afk_es.log.postgres_calls import Calls
from afk_es.log.postgres_connection import Line, Prepare
from afk_es.log.postgres_driver import asyncpg
from afk_es.log.postgres_schema import require_log

Durability = Literal["full", "normal"]

# A server that waits for its standbys to apply a commit as well goes on doing so.
_SET = """
SELECT set_config(key, value, false) FROM unnest($1::text[], $2::text[]) AS each (key, value)
UNION ALL
SELECT set_config('synchronous_commit', CASE WHEN $3 = 'on' AND current_setting('synchronous_commit') = 'remote_apply' THEN 'remote_apply'
  ELSE $3 END, false)"""

_SETTINGS = {
    # A host that vanishes without a word is noticed within half a minute, and its owner's lock is let go.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    # Every statement finds its rows by an index. A plan that was made while a table was small must not read all of it later.
    "enable_seqscan": "off",
    # Up to version 17 that makes the plan of a statement about a small catalogue look so dear that it would be compiled first.
    "jit": "off",
    "default_transaction_isolation": "read committed",
}

# A standby tells nobody anything.
_CHANNEL = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN 'afk_es_' || to_regclass('letters')::oid END"


@dataclass(frozen=True, slots=True)
class Sessions:
    """Makes the connections of one store.

    Attributes:
        address: where its log is.
        owner: whose life the writing session is.
        durability: see `PostgresEventLog`.
        calls: hears what comes over the log's channel.
        reconnect_s: see `PostgresEventLog`.
        timeout_s: see there.
    """

    address: Address
    owner: str
    durability: Durability
    calls: Calls
    reconnect_s: float
    timeout_s: float

    async def writing(self) -> Line:
        """The connection that writes, holds the owner's lock and listens."""
        return await self._connected(self._prepare_writing, keep=True, patience_s=0.0)

    async def reading(self) -> Line:
        """The connection of a store that also writes by which it reads."""
        return await self._connected(self._prepare_reading, keep=False, patience_s=self.reconnect_s)

    async def only_reading(self) -> Line:
        """The one connection of a store that is only read. It listens."""
        return await self._connected(self._prepare_only_reading, keep=True, patience_s=0.0)

    async def _connected(self, prepare: Prepare, *, keep: bool, patience_s: float) -> Line:
        line = Line(
            self.address,
            name=f"afk_es {self.owner}",
            prepare=prepare,
            patience_s=self.reconnect_s,
            timeout_s=self.timeout_s,
            keep=keep,
        )
        try:
            await line.ready(patience_s=patience_s)
        except BaseException:
            await line.close()
            raise
        return line

    async def _prepare_writing(self, connection: asyncpg.Connection) -> None:
        await self._set(connection, commit="on" if self.durability == "full" else "off")
        await require_log(connection, self.address, writing=True)
        # Shared, because after a lost connection the server may not know yet that the old session is gone.
        await connection.execute("SELECT pg_advisory_lock_shared($1)", owner_lock(self.address, self.owner))
        await self._listen(connection)

    async def _prepare_reading(self, connection: asyncpg.Connection) -> None:
        # What is committed here are calls to others, and nobody waits for those.
        await self._set(connection, commit="off", default_transaction_read_only="on")

    async def _prepare_only_reading(self, connection: asyncpg.Connection) -> None:
        await self._prepare_reading(connection)
        await require_log(connection, self.address, writing=False)
        await self._listen(connection)

    async def _set(self, connection: asyncpg.Connection, *, commit: str, **more: str) -> None:
        settings = {"search_path": self.address.schema, **_SETTINGS, **more}
        await connection.execute(_SET, list(settings), list(settings.values()), commit)

    async def _listen(self, connection: asyncpg.Connection) -> None:
        channel = await connection.fetchval(_CHANNEL)
        if channel is not None:
            await connection.add_listener(channel, lambda _connection, _pid, _channel, word: self.calls.heard(word))
            self.calls.connected(channel)


def owner_lock(address: Address, owner: str) -> int:
    """The key of the advisory lock that an owner's writing session holds, in its log alone."""
    raw = hashlib.blake2b(f"afk_es owner {address.schema} {owner}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(raw, "big", signed=True)
