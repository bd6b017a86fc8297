"""Procrastinate's tables in the log's schema: made where there are none, and known to be those of the procrastinate that is installed.

It keeps no version in the database. What it has is functions with versions in their names, and migrations that add and drop them.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import psycopg
from procrastinate import __version__ as installed
from procrastinate.schema import SchemaManager

from afk_es.errors import LogFormatError, NewerLogError
from afk_es.log.postgres_address import Address
from afk_es.queues.procrastinate_rows import INDEXES

_MAKING = 0x61666B32
"""First half of the advisory lock under which they are made: `afk2` in ASCII. The other half is the hash of the schema's name."""

_FOUND = """
SELECT to_regclass(%(schema)s || '.procrastinate_jobs') IS NOT NULL,
  ARRAY(SELECT proname::text FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s) AND proname ^@ 'procrastinate_'),
  ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s)
    AND (relname ^@ 'procrastinate_' OR relname ^@ 'idx_procrastinate_' OR relname ^@ 'afk_es_')),
  ARRAY(SELECT tgname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND NOT t.tgisinternal AND t.tgenabled IN ('O', 'A'))"""
_PARTS = re.compile(r"^CREATE (?:UNIQUE )?(FUNCTION|TABLE|INDEX|TRIGGER) (\w+)", re.MULTILINE)


async def require_tables(connection: psycopg.AsyncConnection[Any], address: Address) -> None:
    """See to it that they are there, whole, and of this version.

    Raises:
        LogFormatError: they are older, newer or damaged; the message says what to do.
        psycopg.Error: what the server has against it.
    """
    if await _are_there(connection, address):
        return
    async with connection.transaction():
        # Two processes may both have found none: the second waits here, and finds what the first has made.
        await connection.execute("SELECT pg_advisory_xact_lock(%s::integer, hashtext(%s))", (_MAKING, address.schema))
        if await _are_there(connection, address):
            return
        there, *_ = await _found(connection, address)
        if not there:
            await connection.execute(SchemaManager.get_schema())
        for index in INDEXES:
            await connection.execute(index)


async def _are_there(connection: psycopg.AsyncConnection[Any], address: Address) -> bool:
    there, functions, relations, triggers = await _found(connection, address)
    if not there:
        return False
    found = {*functions, *relations, *triggers}
    lacking = sorted(_of_the_installed() - found)
    if not lacking:
        return all(index.split(" ON ")[0].rpartition(" ")[2] in found for index in INDEXES)
    where = f"the tables of procrastinate in the schema {address.schema} of {address.shown}"
    if unknown := sorted(set(functions) - _of_the_installed()):
        raise NewerLogError(
            f"{where} are of another version than the one installed, {installed}: they have {unknown[0]} and lack {lacking[0]}. Install "
            "the version of procrastinate that they are of"
        )
    raise LogFormatError(
        f"{where} are older than the one installed, {installed}, or damaged: they lack {lacking[0]}. Apply its migrations after those of "
        f"the version that made them, each with search_path={address.schema}; they are SQL files in {SchemaManager.get_migrations_path()}"
    )


async def _found(connection: psycopg.AsyncConnection[Any], address: Address) -> tuple[bool, list[str], list[str], list[str]]:
    row = await (await connection.execute(_FOUND, {"schema": address.schema})).fetchone()
    assert row is not None
    there, functions, relations, triggers = row
    return there, functions, relations, triggers


@cache
def _of_the_installed() -> frozenset[str]:
    return frozenset(name for _kind, name in _PARTS.findall(SchemaManager.get_schema()))
