"""Where a log is: from what a caller writes to the store that is meant."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from afk_es.errors import ConfigurationError
from afk_es.log.port import EventLog
from afk_es.log.postgres_address import address_of, is_postgres, short_name, without_secrets

ENVIRONMENT = "AFK_ES_LOG"
MEMORY = ":memory:"
_LEGAL = 'a path, "sqlite:///relative/path", "sqlite:////absolute/path", "postgresql://user@host/database?schema=name", ":memory:", or an EventLog'


def open_log(
    location: str | os.PathLike[str] | EventLog, *, durability: Literal["full", "normal"] = "full", read_only: bool = False
) -> EventLog:
    """The store for a location, not opened yet. `~` in a path is the home directory; percent-escapes in a URL are undone.

    Args:
        location: a path, `sqlite:///` and a relative path, `sqlite:////` and an absolute one, `postgresql://` and what belongs to it,
            `:memory:`, or a store, which is returned.
        durability: see `SqliteEventLog` and `PostgresEventLog`.
        read_only: see there.

    Raises:
        ConfigurationError: anything else.
        MissingExtraError: PostgreSQL is meant, and asyncpg is not installed.
    """
    if isinstance(location, str) and is_postgres(location):
        from afk_es.log.postgres import PostgresEventLog

        return PostgresEventLog(location, durability=durability, read_only=read_only)
    if isinstance(location, (str, os.PathLike)):
        file = file_of(location)
        if file is None:
            from afk_es.log.memory import MemoryEventLog

            return MemoryEventLog()
        from afk_es.log.sqlite import SqliteEventLog

        return SqliteEventLog(file, durability=durability, read_only=read_only)
    if isinstance(location, EventLog):
        return location
    raise ConfigurationError(f"{location!r} is no place for a log: it is {_LEGAL}")


def name_of(location: str) -> str:
    """What a log is called in what leaves this machine: the name of its file, or of its database and schema, and not where it is."""
    return short_name(location) if is_postgres(location) else os.path.basename(location)


def file_of(location: str | os.PathLike[str]) -> Path | None:
    """The file that a location names, whether it is there or not; None for a log in memory.

    Raises:
        ConfigurationError: it is no place for a log.
    """
    path = _path(location)
    if path == MEMORY:
        return None
    file = Path(path).expanduser()
    if not file.name:
        raise ConfigurationError(f"{path!r} is a directory; name a file in it, such as {file / 'runs.db'}")
    return file


def _path(location: str | os.PathLike[str]) -> str:
    text = os.fspath(location)
    if not text:
        raise ConfigurationError(f"{location!r} is no place for a log: it is {_LEGAL}")
    if isinstance(location, os.PathLike) or "://" not in text:
        return text
    parts = urlsplit(text)
    if parts.scheme != "sqlite" or parts.netloc or parts.query or parts.fragment or len(parts.path) < 2:
        raise ConfigurationError(
            f"{without_secrets(text)!r} is no place for a log: it is {_LEGAL}; one of SQLite has no host and no options"
        )
    return unquote(parts.path[1:])


def default_location(environment: Mapping[str, str] | None = None, platform: str = sys.platform) -> str:
    """Where runs are logged if nobody says where: `$AFK_ES_LOG`, else `afk_es/runs.db` in the user's state directory.

    Args:
        environment: variables to look at; default those of the process.
        platform: as `sys.platform` has it.
    """
    variables = os.environ if environment is None else environment
    if named := variables.get(ENVIRONMENT):
        return named
    return str(_state_directory(variables, platform) / "afk_es" / "runs.db")


def file_beside(log: EventLog, ending: str) -> Path | None:
    """Where on this machine may be kept what belongs to a log and is no part of it: beside its file, or, where it is on PostgreSQL, in the
    user's state directory, under a name that says nothing of its server. None for any other log.

    Args:
        ending: of the file's name.
    """
    place = log.location
    if is_postgres(place):
        # Two logs may have one name, on two servers; a password is in neither.
        which = hashlib.blake2b(address_of(place).shown.encode(), digest_size=6).hexdigest()
        return _state_directory(os.environ, sys.platform) / "afk_es" / f"{short_name(place)}-{which}{ending}"
    from afk_es.log.sqlite import SqliteEventLog

    file = Path(place)
    if not file.is_absolute() and not isinstance(log, SqliteEventLog):
        return None
    return file.absolute().with_name(f"{file.name}{ending}")


def _state_directory(variables: Mapping[str, str], platform: str) -> Path:
    if platform == "win32":
        return Path(variables.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    # The XDG base directory specification: a relative path is to be ignored.
    named = variables.get("XDG_STATE_HOME", "")
    return Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state"
