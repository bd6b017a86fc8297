"""Goes on with tasks that no client asks to go on with: those that a server left as it was killed or stopped, and those whose question somebody else answered
(`afk-es approve`). It knows of them by the log alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from afk_es.a2a.server.desk import ANSWERS, Desk
from afk_es.a2a.server.tasks import SERVER_STOPS, left
from afk_es.core import Runner
from afk_es.errors import AfkError, LogUnavailableError
from afk_es.log import RunRecord

Follow = Callable[[Desk, str], Awaitable[None]]
"""Told of each task that goes on."""

_LOGGER = logging.getLogger("afk_es.a2a")

MOST_SCANNED = 10_000
"""Runs of the log, the newest, among which tasks are looked for."""

MOST_AT_ONCE = 16
"""Tasks that are taken up at once: the next goes on when one has ended or waits."""

_PAGE = 500
_LAYING_DOWN_S = 5.0


async def keep_going(runner: Runner, desks: Mapping[str, Desk], follow: Follow) -> None:
    """Take up what was left, and then what is answered; until cancelled."""
    seen = await runner.log.posted()
    async with asyncio.TaskGroup() as group:
        group.create_task(take_up(runner, desks, follow), name="afk_es a2a taking up")
        while True:
            await asyncio.sleep(runner.config.background_tool_poll_interval_s)
            try:
                for letter in await runner.log.letters(after=seen):
                    if letter.draft.type in ANSWERS:
                        await _answered(runner, desks, letter.run_id, follow)
                    seen = letter.position
            except LogUnavailableError as error:
                # It may be readable at the next look, which begins with the same answer.
                _LOGGER.warning("what was answered could not be read: %s", error)


async def take_up(runner: Runner, desks: Mapping[str, Desk], follow: Follow) -> None:
    """Go on with every task of these agents that nobody works on and that waits for nobody, the oldest first, so many at once."""
    places = asyncio.Semaphore(MOST_AT_ONCE)
    records = await _left(runner, desks)
    async with asyncio.TaskGroup() as group:
        for record in reversed(records):
            await places.acquire()
            going_on = group.create_task(_to_its_end(desks[record.agent_name], record.run_id, follow), name=f"{record.run_id}:taken up")
            going_on.add_done_callback(lambda _done: places.release())


async def _left(runner: Runner, desks: Mapping[str, Desk]) -> list[RunRecord]:
    while True:
        try:
            return [record async for record in _unended(runner, desks)]
        except LogUnavailableError as error:
            _LOGGER.warning("what was left could not be looked for: %s", error)
        await asyncio.sleep(runner.config.background_tool_poll_interval_s)


async def lay_down(runner: Runner, desks: Mapping[str, Desk]) -> None:
    """Lay down the tasks that this process works on, so that the next server goes on with them."""
    own = [record async for record in _unended(runner, desks) if not record.ended and record.owner == runner.log.owner]
    tasks = [record.run_id for record in own if await _is_task(desks, record)]
    await asyncio.gather(*(_lay_down(runner, run_id) for run_id in tasks))


async def _lay_down(runner: Runner, run_id: str) -> None:
    try:
        run = await runner.attach(run_id=run_id, by=SERVER_STOPS)
        await run.interrupt("the server stopped", wait_s=_LAYING_DOWN_S)
    except AfkError as error:
        # It may have ended at this moment. One that is cut instead is taken up all the same.
        _LOGGER.info("task %s was not laid down: %s", run_id, error)


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


async def _answered(runner: Runner, desks: Mapping[str, Desk], run_id: str, follow: Follow) -> None:
    """A question of this run, or of a subagent's, was answered: go on with the task, unless whoever answered does.

    Raises:
        LogUnavailableError: not at this moment.
    """
    try:
        first = await runner.log.read(run_id, limit=1)
        parent = first[0].data.get("parent") if first else None
        if parent is not None:
            run_id = parent.get("root", parent["run_id"])
            first = await runner.log.read(run_id, limit=1)
        desk = desks.get(first[0].data["agent_name"]) if first else None
        if desk is not None:
            await _go_on(desk, run_id)
            await follow(desk, run_id)
    except LogUnavailableError:
        raise
    except AfkError as error:
        _LOGGER.warning("task %s was left as it is: %s", run_id, error)


async def _to_its_end(desk: Desk, run_id: str, follow: Follow) -> None:
    try:
        if await _go_on(desk, run_id):
            await follow(desk, run_id)
            run = await desk.runner.attach(run_id=run_id, by=SERVER_STOPS)
            async for _event in run.events:
                pass
    except AfkError as error:
        _LOGGER.warning("task %s was left as it is: %s", run_id, error)


async def _go_on(desk: Desk, run_id: str) -> bool:
    """Go on with a run, if it is a task that should; whether it was one."""
    if not [event async for event in desk.first_events([run_id])]:
        return False
    events = await desk.runner.log.read(run_id)
    answered = await desk.answered_meanwhile(events)
    if answered or left(events):
        await desk.go_on(events, asked=answered)
        return True
    return False
