"""What there is to know about the server and the schema of a log, for whoever looks after it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

SETTINGS = ("server_version", "fsync", "full_page_writes", "synchronous_commit", "max_connections")

FACTS = """
SELECT (SELECT json_object_agg(name, setting)::text FROM pg_settings WHERE name = ANY($1::text[])),
  pg_is_in_recovery(),
  (SELECT max(version) FROM afk_es_log),
  (SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relnamespace = to_regnamespace($2) AND relkind = 'r'),
  (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
  (SELECT count(DISTINCT application_name) FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid)
   WHERE l.locktype = 'advisory' AND l.mode = 'ShareLock' AND datname = current_database() AND application_name LIKE 'afk_es owner%'),
  has_schema_privilege($2, 'USAGE') AND has_table_privilege('events', 'INSERT') AND has_table_privilege('runs', 'INSERT'),
  has_table_privilege('events', 'UPDATE, DELETE, TRUNCATE')"""


class ServerFacts(msgspec.Struct, frozen=True):
    """What a server says of itself and of one log.

    Attributes:
        server: its version.
        standby: whether it can only be read.
        schema_version: of the log's tables.
        size_bytes: of the log's tables and indexes.
        connections: sessions of all clients at this moment, of at most `most_connections`.
        owners: processes that may drive runs, as far as the role may see them, in all logs of the database.
        writable: whether the role may append.
        could_change: whether the role was granted what the triggers refuse: UPDATE, DELETE or TRUNCATE on events.
        fsync, full_page_writes, synchronous_commit: as configured for a session that says nothing about it.
    """

    server: str
    standby: bool
    schema_version: int
    size_bytes: int
    connections: int
    most_connections: int
    owners: int
    writable: bool
    could_change: bool
    fsync: str
    full_page_writes: str
    synchronous_commit: str


def server_facts(record: Sequence[Any]) -> ServerFacts:
    """The facts of a record of `FACTS`."""
    settings = msgspec.json.decode(record[0], type=dict[str, str])
    return ServerFacts(
        server=settings["server_version"],
        standby=record[1],
        schema_version=record[2],
        size_bytes=record[3],
        connections=record[4],
        most_connections=int(settings["max_connections"]),
        owners=record[5],
        writable=record[6],
        could_change=record[7],
        fsync=settings["fsync"],
        full_page_writes=settings["full_page_writes"],
        synchronous_commit=settings["synchronous_commit"],
    )
