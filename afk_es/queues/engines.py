"""Which engine hands out the tasks of a log where nobody says which. An engine is imported when a log asks for it."""

from __future__ import annotations

from afk_es.clock import Clock, Ids
from afk_es.errors import ConfigurationError
from afk_es.log import DatabaseLog, EventLog
from afk_es.queues.dispatch import Dispatcher


def engine_of(log: DatabaseLog, clock: Clock, ids: Ids) -> Dispatcher:
    """The engine in the log's own database.

    Raises:
        MissingExtraError: it needs a library that is not installed.
    """
    if log.dialect == "postgresql":
        if not isinstance(log, EventLog):
            raise ConfigurationError("an engine on PostgreSQL is found by the log's location; pass dispatcher=")
        from afk_es.queues import ProcrastinateDispatcher

        return ProcrastinateDispatcher(log.location)
    from afk_es.queues.tables import TableDispatcher

    return TableDispatcher(log, clock=clock, ids=ids)
