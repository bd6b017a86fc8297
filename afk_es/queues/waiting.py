"""Waits until a task has changed, without hammering: often at first, ever more rarely then, and at once where the log tells that its run has
grown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from afk_es.log import EventLog, TellingLog
from afk_es.queues.items import TaskItem

_SHORTEST_S = 0.02
_LONGEST_S = 1.0
"""Between two looks. Real seconds: somebody else works meanwhile, in another process as a rule."""


async def changes(log: EventLog, task_id: str, look: Callable[[], Awaitable[TaskItem]]) -> AsyncIterator[TaskItem]:
    """The task, and again whenever it has changed, until it has ended.

    Args:
        look: gives the task as it is now.
    """
    grown = asyncio.Event()
    stop = log.on_growth(task_id, grown.set) if isinstance(log, TellingLog) else None
    try:
        pause = _SHORTEST_S
        last: TaskItem | None = None
        while True:
            grown.clear()
            item = await look()
            if item != last:
                yield item
                last, pause = item, _SHORTEST_S
            if item.ended:
                return
            # A task is settled a moment after its run has grown for the last time.
            pause = _SHORTEST_S if await _came(grown, pause) else min(2 * pause, _LONGEST_S)
    finally:
        if stop is not None:
            stop()


async def _came(event: asyncio.Event, seconds: float) -> bool:
    """Wait for the event, so many seconds at most, and say whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
