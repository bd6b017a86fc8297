"""Which engine hands out the tasks of a log where nobody says which. An engine is imported when a log asks for it."""

from __future__ import annotations

from afk_es.clock import Clock, Ids
from afk_es.log import DatabaseLog
from afk_es.queues.dispatch import Dispatcher


def engine_of(log: DatabaseLog, location: str, clock: Clock, ids: Ids) -> Dispatcher:
    """The engine in the log's own database.

    Args:
        location: where the log is, as it says itself.

    Raises:
        MissingExtraError: it needs a library that is not installed.
    """
    if log.dialect == "postgresql":
        # By way of the package, which says what to install.
        from afk_es.queues import ProcrastinateDispatcher

        return ProcrastinateDispatcher(location)
    from afk_es.queues.tables import TableDispatcher

    return TableDispatcher(log, clock=clock, ids=ids)
