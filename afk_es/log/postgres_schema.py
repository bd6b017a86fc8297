"""The tables of a log on PostgreSQL: made once, recognised at every opening, refused where they are not ours. Knows no events."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from afk_es.errors import ConfigurationError, CorruptLogError, ForeignLogError, LogError, NewerLogError
from afk_es.log.postgres_address import Address
from afk_es.log.postgres_driver import asyncpg

VERSION = 1
"""Of the tables. Event shapes have a version of their own, in each row."""

TABLES = ("events", "forks", "letters", "parts", "runs")
GUARDS = ("events_follow", "forks_first", "letters_queue", "letters_tell", *(f"{table}_stay" for table in TABLES))

_MAKING = 0x61666B31
"""First half of the advisory lock under which a schema is made: `afk1` in ASCII. The other half is the hash of its name."""

_SIGNS = """
SELECT current_setting('server_encoding'), pg_is_in_recovery(),
  to_regclass($1 || '.afk_es_log') IS NOT NULL,
  EXISTS (SELECT FROM pg_namespace WHERE nspname = $1),
  ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p', 'v', 'm', 'f')),
  ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'),
  ARRAY(SELECT t.tgname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace($1) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A'))"""


async def require_log(connection: asyncpg.Connection, address: Address, *, writing: bool) -> None:
    """See to it that the schema has the tables of this version; where they may be written they are made if the schema is empty.

    Raises:
        LogError: they are foreign, newer, damaged, or there are none to read.
    """
    if await _version(connection, address, writing=writing) is not None:
        return
    if not writing:
        raise LogError(f"there is no log at {address.shown} (schema {address.schema}); the first run that is written makes it")
    async with connection.transaction():
        # Two processes may both have found the schema empty: the second waits here, and finds what the first has made.
        await connection.execute("SELECT pg_advisory_xact_lock($1::integer, hashtext($2))", _MAKING, address.schema)
        if await _version(connection, address, writing=True) is None:
            await _make(connection, address.schema)


async def _make(connection: asyncpg.Connection, schema: str) -> None:
    if not (await connection.fetchrow("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema))[0]:
        await connection.execute(f"CREATE SCHEMA {schema}")
    script = files("afk_es.log").joinpath("postgres.sql").read_text("utf-8")
    await connection.execute(script.format(s=schema))


async def _version(connection: asyncpg.Connection, address: Address, *, writing: bool) -> int | None:
    """The version of the schema's tables; None where there are none."""
    found: Any = await connection.fetchrow(_SIGNS, address.schema)
    encoding, standby, marked, there, names, tables, guards = found
    where = f"the schema {address.schema} of {address.shown}"
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the log {address.shown}: the database keeps texts as {encoding}; make one with ENCODING 'UTF8' for the log"
        )
    if standby and writing:
        raise LogError(f"the log {address.shown}: the server is a standby, which can only be read; connect to the primary server")
    if not marked:
        if there and names:
            raise ForeignLogError(
                f"{where} has tables of another application ({', '.join(sorted(names)[:3])}); name another with ?schema=NAME"
            )
        return None
    version = (await connection.fetchrow(f"SELECT max(version) FROM {address.schema}.afk_es_log"))[0]
    if version is None or (lacking := [table for table in TABLES if table not in tables]):
        what = "no version" if version is None else f"no table {lacking[0]}"
        raise ForeignLogError(f"{where} has {what}; it is not a log, or not a whole one. Restore it, or name another with ?schema=NAME")
    if version > VERSION:
        raise NewerLogError(f"{where} has log version {version}, this afk_es understands up to {VERSION}; upgrade afk_es to use it")
    if writing and (off := [guard for guard in GUARDS if guard not in guards]):
        raise CorruptLogError(
            f"{where} lacks the trigger {off[0]}, or it is disabled, so the log could be changed; ALTER TABLE ... ENABLE TRIGGER, then verify"
        )
    return int(version)
