"""Goal: a worker that was stopped on its way to a task cuts off nobody who has been lent it since. Method: what it does comes late, on each engine."""

from __future__ import annotations

import datetime as dt

from afk_es.clock import RandomIds, SystemClock
from afk_es.queues import Parcel, TaskItem
from afk_es.queues.engines import engine_of
from afk_es.queues.records import TaskRecords
from afk_es.queues.task_statements import FREE_IN_BEGIN
from tests.queues.conftest import TasksLog

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


async def test_an_attempt_begins_only_as_long_as_its_worker_has_the_delivery(database_log: TasksLog, database_url: str) -> None:
    clock = SystemClock()
    records = TaskRecords(database_log, clock=clock)
    await records.open()
    engine = engine_of(database_log, database_url, clock, RandomIds())
    await engine.open()
    try:
        task = TaskItem(id="a", queue="q", contract="c", payload={}, state="queued", created_at=NOW, updated_at=NOW)
        await records.add([task], sent=True)
        await engine.send([Parcel("a", "q")])
        stopped, lawful = await engine.join("stopped", 30), await engine.join("lawful", 30)
        (delivery,) = await stopped.take(["q"], 1)
        late = stopped.holding(delivery, FREE_IN_BEGIN)
        await stopped.leave()
        (given,) = await lawful.take(["q"], 1)

        held = lawful.holding(given, FREE_IN_BEGIN)
        began = await records.begin("a", "lawful", NOW, held=held)
        assert began is not None
        assert await records.begin("a", "stopped", NOW, held=late) is None
        assert await records.complete("a", began.attempt, "done")
        await lawful.done(given)
        over = lawful.holding(given, 1)
        assert over is not None
        assert await database_log.transact([over]) == [[]]
        await lawful.leave()
    finally:
        await engine.close()
