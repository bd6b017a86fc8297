"""What a worker does besides its tasks, once a second: say how far they are, and look for those that have been left somewhere. It drives none."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from afk_es.errors import LogError
from afk_es.log import TellingLog
from afk_es.queues.attempts import Attempt, Workshop
from afk_es.queues.items import TaskItem
from afk_es.queues.outages import Outages
from afk_es.queues.queue import TaskQueue
from afk_es.queues.sending import send_stored

_EVERY_S = 1.0
"""Seconds between two rounds."""

_SURE_S = 5.0
"""After how many seconds waiting and unsent tasks are looked for even if nothing was heard of any."""


class Chores:
    """The chores of one worker.

    Args:
        under_way: its attempts.
        may_recover: whether it is sure enough of its own lease to look for workers that are gone; one that is not beats first.
        recover_every_s: how often it does.
        reads: seconds that pass while the process is stopped, too.
    """

    def __init__(
        self,
        shop: Workshop,
        queue: TaskQueue,
        outages: Outages,
        counts: Counter[str],
        *,
        under_way: Callable[[], Iterable[Attempt]],
        may_recover: Callable[[], bool],
        recover_every_s: float,
        reads: Callable[[], float],
    ) -> None:
        self._shop = shop
        self._queue = queue
        self._outages = outages
        self._counts = counts
        self._attempts = under_way
        self._may_recover = may_recover
        self._recover_every_s = recover_every_s
        self._reads = reads
        self._told_of_letters = True
        self._posted = -1
        self._sure_at = self._recover_at = reads()

    async def keep_doing(self) -> None:
        """Do them until cancelled."""
        log = self._queue.log
        stop = log.on_letter(self._tell_of_letter) if isinstance(log, TellingLog) else None
        try:
            while True:
                try:
                    await self._say_progress()
                    if self._reads() >= self._recover_at and self._may_recover():
                        await self.recover()
                    if self._reads() >= self._sure_at or await self._letters_came():
                        await self.awaken()
                    self._outages.over("chores")
                except LogError as error:
                    self._outages.met("chores", error)
                await self._shop.clock.sleep(_EVERY_S)
        finally:
            if stop is not None:
                stop()

    async def _say_progress(self) -> None:
        for attempt in self._attempts():
            await attempt.say_progress()

    async def recover(self) -> None:
        """Have what workers held that are gone delivered again."""
        self._recover_at = self._reads() + self._recover_every_s
        self._counts["recovered"] += await self._shop.consumer.recover()

    async def awaken(self) -> None:
        """Send on tasks that wait no longer, and those that whoever pushed them did not live to send."""
        self._sure_at = self._reads() + _SURE_S
        awakened = await self._shop.records.awaken()
        self._counts["awakened"] += len(awakened)
        await self._send(awakened)
        await self._send(await self._shop.records.unsent(self._shop.clock.now() - dt.timedelta(seconds=_SURE_S)))

    async def _send(self, items: Sequence[TaskItem]) -> None:
        await send_stored(items, self._queue.database, self._shop.records, self._queue.dispatcher)

    async def _letters_came(self) -> bool:
        """Whether anything may have been said to a run since it was asked last. A log that does not tell is asked, which costs one look."""
        if isinstance(self._queue.log, TellingLog):
            came, self._told_of_letters = self._told_of_letters, False
            return came
        before, self._posted = self._posted, await self._queue.log.posted()
        return before != self._posted

    def _tell_of_letter(self, run_id: str | None) -> None:
        self._told_of_letters = True
