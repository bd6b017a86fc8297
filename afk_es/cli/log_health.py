"""What is well and what is not with a log's file: where it is, whether it can be used, what lies beside it. It looks, and changes nothing."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from afk_es.cli.health import Finding, Standing, megabytes
from afk_es.cli.invocation import Invocation
from afk_es.cli.queue_health import queue_health
from afk_es.clock import Clock
from afk_es.debugger.figures import span
from afk_es.errors import AfkError
from afk_es.log import RunRecord, open_log
from afk_es.log.location import ENVIRONMENT, file_of
from afk_es.log.owners import Owners
from afk_es.log.postgres_address import is_postgres
from afk_es.log.sqlite_file import FILE_VERSION

_LITTLE_ROOM = 100 * 1024 * 1024
"""Bytes free below which a run may soon fail to be recorded."""

_SKEW = dt.timedelta(seconds=60)
"""How far behind the last event the clock may be: another machine's clock may have written it."""

_BEFORE_US = dt.datetime(2025, 1, 1, tzinfo=dt.UTC)
_LOOKED_AT = 20
"""Runs, the newest first, of which the last event is looked for."""


async def log_health(invocation: Invocation, clock: Clock) -> list[Finding]:
    """What there is to find about the log that is meant."""
    where = "--db" if invocation.db is not None else ENVIRONMENT if os.environ.get(ENVIRONMENT) else "the default"
    if is_postgres(invocation.location):
        from afk_es.cli.postgres_health import postgres_health

        findings, latest = await postgres_health(invocation.location, where, clock)
        return [*findings, _clock(latest, clock)]
    try:
        path = file_of(invocation.location)
    except AfkError as error:
        return [Finding("log", "wrong", str(error), "name a file with --db"), _clock(None, clock)]
    if path is None:
        return [Finding("log", "wrong", "a log in memory is gone with its process", "name a file with --db"), _clock(None, clock)]
    if not path.exists():
        return [_absent(path, where), _disk(path), _clock(None, clock)]
    newest: list[RunRecord] = []
    tasks: list[Finding] = []
    log = open_log(path, read_only=True)
    try:
        await log.open()
        newest = await log.runs(limit=_LOOKED_AT)
        found = _present(path, where, newest)
        tasks = await queue_health(log, clock)
    except AfkError as error:
        # The message of each of our errors ends with the way out.
        found = Finding("log", "wrong", str(error), facts={"path": str(path), "named_by": where})
    finally:
        await log.close()
    last = max((record.updated_at for record in newest), default=None)
    return [found, *tasks, _disk(path), *_locks(path), _clock(last, clock)]


def _absent(path: Path, where: str) -> Finding:
    home = _standing_directory(path)
    writable = os.access(home, os.W_OK)
    facts = {"path": str(path), "named_by": where, "exists": False, "writable": writable}
    said = f"{path} ({where}) is not there yet"
    if writable:
        return Finding("log", "ok", f"{said}; the first run makes it", facts=facts)
    return Finding("log", "wrong", f"{said}, and {home} cannot be written", f"make {home} writable, or name another path", facts)


def _present(path: Path, where: str, newest: list[RunRecord]) -> Finding:
    version = _file_version(path)
    wal = path.with_name(path.name + "-wal")
    facts: dict[str, Any] = {
        "path": str(path),
        "named_by": where,
        "exists": True,
        "readable": True,
        "writable": os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK),
        "file_version": version,
        "bytes": path.stat().st_size,
        "wal_bytes": wal.stat().st_size if wal.exists() else 0,
        "last_run": newest[0].run_id if newest else None,
    }
    said = f"{path} ({where}), file version {version}, {megabytes(facts['bytes'])}, write-ahead log {megabytes(facts['wal_bytes'])}"
    if not facts["writable"]:
        way_out = "give write permission on the file and its directory, to run agents; reading works"
        return Finding("log", "note", f"{said}; it can be read and not written", way_out, facts)
    if version < FILE_VERSION:
        said += f"; the next run brings it to version {FILE_VERSION}"
    return Finding("log", "ok", said, facts=facts)


def _file_version(path: Path) -> int:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)


def _disk(path: Path) -> Finding:
    home = _standing_directory(path)
    free = shutil.disk_usage(home).free
    standing: Standing = "ok" if free >= _LITTLE_ROOM else "wrong"
    way_out = (
        "" if standing == "ok" else "make room, or name a log elsewhere with --db; a full disk ends a run without losing what it wrote"
    )
    return Finding("disk", standing, f"{megabytes(free)} free in {home}", way_out, {"free_bytes": free})


def _standing_directory(path: Path) -> Path:
    """The nearest directory above the path that is there."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _locks(path: Path) -> list[Finding]:
    held, left = Owners(path, "").locks()
    facts = {"held": [str(each) for each in held], "left": [str(each) for each in left]}
    if not left:
        count = len(held)
        return [Finding("locks", "ok", f"{count} process{'es' if count != 1 else ''} may drive runs in it", facts=facts)]
    names = ", ".join(each.name for each in left[:3]) + (", ..." if len(left) > 3 else "")
    said = f"{len(left)} lock file{'s' if len(left) > 1 else ''} of processes that are gone: {names}"
    return [Finding("locks", "note", said, "harmless; `afk-es runs` clears away those of crashed runs, and `rm` any of them", facts)]


def _clock(last: dt.datetime | None, clock: Clock) -> Finding:
    now = clock.now()
    skew = (last - now).total_seconds() if last is not None else None
    facts = {"now": now.isoformat(), "last_event": last.isoformat() if last is not None else None, "ahead_s": skew}
    way_out = "set the machine's clock; runs go by their own order, but the times they show are wrong"
    if now < _BEFORE_US:
        return Finding("clock", "wrong", f"it says {now:%Y-%m-%d %H:%M:%S} UTC, before there was an afk_es", way_out, facts)
    if last is not None and last - now > _SKEW:
        return Finding("clock", "wrong", f"the log's last event is {span((last - now).total_seconds())} ahead of it", way_out, facts)
    told = f", {span((now - last).total_seconds())} after the log's last event" if last is not None and last <= now else ""
    return Finding("clock", "ok", f"{now:%Y-%m-%d %H:%M:%S} UTC{told}", facts=facts)
