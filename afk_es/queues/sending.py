"""Hands stored tasks to the engine, and notes that it has them: in one transaction where the engine is in the log's own database."""

from __future__ import annotations

from collections.abc import Sequence

from afk_es.log import DatabaseLog
from afk_es.queues.dispatch import Dispatcher
from afk_es.queues.items import TaskItem
from afk_es.queues.pushing import parcel_of
from afk_es.queues.records import TaskRecords


async def send_stored(items: Sequence[TaskItem], log: DatabaseLog, records: TaskRecords, dispatcher: Dispatcher) -> None:
    """Send tasks that are in the list, 1,000 at most.

    Raises:
        LogError: the log or the engine could not be reached. What is not marked as sent is sent by any worker later.
    """
    if not items:
        return
    parcels, ids = [parcel_of(item) for item in items], [item.id for item in items]
    sending = dispatcher.sending(parcels)
    if sending is not None:
        await log.transact([*sending, records.marking_sent(ids)])
    else:
        await dispatcher.send(parcels)
        await records.mark_sent(ids)
