"""Which engine hands out the tasks of a log, where nobody says so. An engine is imported when a log asks for it."""

from __future__ import annotations

from afk_es.clock import Clock, Ids
from afk_es.log import DatabaseLog
from afk_es.queues.dispatch import Dispatcher
from afk_es.queues.tables import TableDispatcher


def engine_of(log: DatabaseLog, clock: Clock, ids: Ids) -> Dispatcher:
    """The engine in the log's own database."""
    return TableDispatcher(log, clock=clock, ids=ids)
