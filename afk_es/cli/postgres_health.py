"""What is well and what is not with a log on PostgreSQL: whether it can be reached and written, and how its server is set up."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from afk_es.cli.health import Finding, megabytes
from afk_es.cli.queue_health import queue_health
from afk_es.clock import Clock
from afk_es.errors import AfkError
from afk_es.log import RunRecord, open_log
from afk_es.log.postgres_address import without_secrets

_LOOKED_AT = 20
_ROOM = 0.8
"""Share of the server's connections from which on there may soon be none left. A process with a log needs two."""


async def postgres_health(location: str, where: str, clock: Clock) -> tuple[list[Finding], dt.datetime | None]:
    """What there is to find, and the time of the last event of the newest runs.

    Args:
        location: the log's URL.
        where: how it was named.
        clock: now.
    """
    shown = without_secrets(location)
    facts: dict[str, Any] = {"url": shown, "named_by": where}
    newest: list[RunRecord] = []
    tasks: list[Finding] = []
    try:
        log = open_log(location, read_only=True)
    except AfkError as error:
        return [Finding("log", "wrong", str(error), facts=facts)], None
    from afk_es.log.postgres import PostgresEventLog

    assert isinstance(log, PostgresEventLog)
    try:
        await log.open()
        newest = await log.runs(limit=_LOOKED_AT)
        server = await log.server_facts()
        tasks = await queue_health(log, clock)
    except AfkError as error:
        # The message of each of our errors ends with the way out.
        return [Finding("log", "wrong", str(error), facts=facts)], None
    finally:
        await log.close()
    facts |= {**msgspec.to_builtins(server), "last_run": newest[0].run_id if newest else None}
    said = f"{log.location} ({where}), PostgreSQL {server.server}, schema version {server.schema_version}, {megabytes(server.size_bytes)}"
    found = [_log(said, server.standby, server.writable, facts)]
    if server.fsync != "on" or server.full_page_writes != "on":
        said = f"fsync is {server.fsync} and full_page_writes is {server.full_page_writes}: a power cut may damage or lose runs"
        found.append(Finding("durability", "wrong", said, "turn both on in the server's configuration"))
    if server.could_change:
        said = "the role may UPDATE, DELETE or TRUNCATE events; only triggers keep it from that"
        way_out = "give the role of your programs SELECT and INSERT alone, and let another own the tables"
        found.append(Finding("grants", "note", said, way_out))
    share = server.connections / server.most_connections
    said = f"{server.connections} of {server.most_connections} connections in use, {server.owners} of them by processes that may drive runs"
    way_out = "raise max_connections, or put a pooler in session mode before it" if share >= _ROOM else ""
    found.append(Finding("connections", "note" if way_out else "ok", said, way_out))
    return [*found, *tasks], max((record.updated_at for record in newest), default=None)


def _log(said: str, standby: bool, writable: bool, facts: dict[str, Any]) -> Finding:
    if standby:
        return Finding("log", "note", f"{said}; a standby, which can only be read", "name the primary server to run agents", facts)
    if not writable:
        way_out = "GRANT INSERT on its tables to run agents; reading works"
        return Finding("log", "note", f"{said}; the role may read it and not append", way_out, facts)
    return Finding("log", "ok", said, facts=facts)
