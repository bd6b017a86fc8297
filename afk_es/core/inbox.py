"""Brings the letters of a log to the loops that run here. It knows where letters go, and nothing of what they say."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from afk_es.core.loop import Loop
from afk_es.core.patience import TOLD
from afk_es.errors import LogError
from afk_es.log import EventLog, Letter, TellingLog

_LOGGER = logging.getLogger("afk_es.inbox")


class Inbox:
    """Looks for letters from time to time while loops run, and delivers each to its run; one query for all of them.

    Args:
        interval_s: seconds between two looks. This is real time even under a simulated clock: how often a file is looked at is no part of
            any run. A log that tells of letters is looked at when it does, and `TOLD` times more rarely besides.

    A letter is delivered in the order in which it was posted. One may be delivered twice; the loop takes it in once.
    """

    def __init__(self, log: EventLog, interval_s: float) -> None:
        self._log = log
        self._tells = log if isinstance(log, TellingLog) else None
        self._interval_s = interval_s if self._tells is None else interval_s * TOLD
        self._stop_telling: Callable[[], None] | None = None
        self._loops: dict[str, Loop] = {}
        # None: nobody has looked yet, and the log may be full of old letters. Loops that join before belong to new runs, or have read theirs.
        self._cursor: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._again = False

    def join(self, loop: Loop) -> None:
        """Deliver to this loop from now on. A new run has no letters yet."""
        self._loops[loop.state.run_id] = loop
        if self._tells is not None and self._stop_telling is None:
            self._stop_telling = self._tells.on_letter(self._told)
        self._schedule()

    async def catch_up(self, loop: Loop) -> None:
        """Deliver what was posted to the run before it runs here, then join it."""
        run_id = loop.state.run_id
        after = loop.state.last_letter
        while True:
            cursor = self._cursor
            for letter in await self._log.letters(after=after, run_ids=[run_id]):
                loop.deliver(letter)
                after = letter.position
            # Had somebody looked meanwhile, a letter behind the one and before the other would be lost.
            if cursor == self._cursor:
                self.join(loop)
                return

    async def look_for(self, loop: Loop) -> None:
        """Deliver what has been posted to this loop's run until now: at a moment when it matters whether an answer is there."""
        try:
            for letter in await self._log.letters(after=loop.last_letter, run_ids=[loop.state.run_id]):
                loop.deliver(letter)
        except LogError as error:
            _LOGGER.warning("the letters of %s could not be read: %s", self._log.location, error)

    def leave(self, loop: Loop) -> None:
        """Deliver nothing more to this loop."""
        if self._loops.get(loop.state.run_id) is loop:
            del self._loops[loop.state.run_id]
        if self._loops:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stop_telling is not None:
            self._stop_telling()
            self._stop_telling = None
        if self._looking is not None:
            self._looking.cancel()
        # What is posted while nobody runs here is read when somebody does.
        self._cursor = None

    def look(self) -> None:
        """Look now: this process has just posted something."""
        if self._looking is not None:
            # Whoever is looking may have read the log before this was posted.
            self._again = True
        elif self._loops:
            self._looking = asyncio.create_task(self._look(), name="afk_es inbox")
            self._looking.add_done_callback(self._looked)

    def _told(self, run_id: str | None) -> None:
        if run_id is None or run_id in self._loops:
            self.look()

    def _schedule(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self.look()
        if self._loops:
            self._schedule()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, LogError):
            # It may be readable at the next look, and the runs have not been told anything wrong.
            _LOGGER.warning("the letters of %s could not be read: %s", self._log.location, error)
        elif error is not None:
            task.get_loop().call_exception_handler({"message": "the inbox failed", "exception": error, "task": task})
        again, self._again = self._again, False
        if again and not task.cancelled():
            self.look()

    async def _look(self) -> None:
        if self._cursor is None:
            # Set before the letters are read: whoever is just catching up, and is not among these loops, sees that it has to read again.
            self._cursor = cursor = await self._log.posted()
            try:
                letters = await self._log.letters(run_ids=list(self._loops))
            except LogError:
                self._cursor = None
                raise
        else:
            letters = await self._log.letters(after=self._cursor)
            cursor = letters[-1].position if letters else self._cursor
        self._cursor = cursor
        for letter in letters:
            self._deliver(letter)

    def _deliver(self, letter: Letter) -> None:
        loop = self._loops.get(letter.run_id)
        if loop is not None:
            loop.deliver(letter)
