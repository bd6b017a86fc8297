"""Takes up the tasks that a server left as it was killed or stopped. It knows of them by the log alone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

from afk_es.a2a.server.desk import Desk
from afk_es.a2a.server.tasks import SERVER_STOPS, left
from afk_es.core import Runner
from afk_es.errors import AfkError
from afk_es.log import RunRecord

_LOGGER = logging.getLogger("afk_es.a2a")

MOST_SCANNED = 10_000
"""Runs of the log, the newest, among which tasks are looked for."""

MOST_AT_ONCE = 16
"""Tasks that are taken up at once: the next goes on when one has ended or waits."""

_PAGE = 500
_LAYING_DOWN_S = 5.0


async def take_up(runner: Runner, desks: Mapping[str, Desk]) -> None:
    """Go on with every task of these agents that nobody works on and that waits for nobody, the oldest first, so many at once."""
    places = asyncio.Semaphore(MOST_AT_ONCE)
    records = [record async for record in _unended(runner, desks)]
    async with asyncio.TaskGroup() as group:
        for record in reversed(records):
            await places.acquire()
            going_on = group.create_task(_go_on(desks[record.agent_name], record.run_id), name=f"{record.run_id}:taken up")
            going_on.add_done_callback(lambda _done: places.release())


async def lay_down(runner: Runner, desks: Mapping[str, Desk]) -> None:
    """Lay down the tasks that this process works on, so that the next server goes on with them."""
    for record in [record async for record in _unended(runner, desks)]:
        if record.ended or record.owner != runner.log.owner or not await _is_task(desks, record):
            continue
        try:
            run = await runner.attach(run_id=record.run_id, by=SERVER_STOPS)
            await run.interrupt("the server stopped", wait_s=_LAYING_DOWN_S)
        except AfkError as error:
            # It may have ended at this moment. One that is cut instead is taken up all the same.
            _LOGGER.info("task %s was not laid down: %s", record.run_id, error)


async def _unended(runner: Runner, desks: Mapping[str, Desk]) -> AsyncIterator[RunRecord]:
    before: str | None = None
    scanned = 0
    while scanned < MOST_SCANNED and (page := await runner.log.runs(limit=_PAGE, before=before)):
        before, scanned = page[-1].run_id, scanned + len(page)
        for record in page:
            if record.agent_name in desks and record.parent_run_id is None and (not record.ended or record.state == "interrupted"):
                yield record


async def _is_task(desks: Mapping[str, Desk], record: RunRecord) -> bool:
    return bool([event async for event in desks[record.agent_name].first_events([record.run_id])])


async def _go_on(desk: Desk, run_id: str) -> None:
    try:
        if not [event async for event in desk.first_events([run_id])]:
            return
        events = await desk.runner.log.read(run_id)
        answered = await desk.answered_meanwhile(events)
        if not (answered or left(events)):
            return
        await desk.go_on(events, asked=answered)
        run = await desk.runner.attach(run_id=run_id, by=SERVER_STOPS)
        async for _event in run.events:
            pass
    except AfkError as error:
        _LOGGER.warning("task %s was left as it is: %s", run_id, error)
