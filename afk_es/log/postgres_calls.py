"""Who is told by whom that a run was written to, over one channel of LISTEN and NOTIFY. Knows no connection.

A NOTIFY takes a lock that all committing transactions of the server queue for, so an append sends none by itself. Whoever watches a run says
so on the channel, again from time to time; whoever then appends to that run tells the channel, behind its commit. Letters are few: a
trigger tells of each. Words are a letter and a run id: `w` it is watched, `e` it has grown, `l` a letter was posted to it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from afk_es.errors import AfkError

SAID_AGAIN_S = 20.0
"""How often a watcher says that it still watches. A process that takes the run over meanwhile hears it then."""
_BELIEVED_S = 3 * SAID_AGAIN_S
_RUNS_WATCHED = 10_000
"""Of so many runs a store remembers that others watch them. Of more it tells nobody: they look themselves, though more rarely."""
_LONGEST_WORD = 7_900
"""Bytes that a notification takes, almost."""

Tell = Callable[[str, list[str]], Awaitable[None]]


class Calls:
    """What one store says and hears.

    Args:
        tell: sends words to the channel.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._channel: str | None = None
        self._letters: list[Callable[[str | None], None]] = []
        self._mine: dict[str, list[Callable[[], None]]] = {}
        self._watched: dict[str, float] = {}
        self._due: dict[str, None] = {}
        self._telling: asyncio.Task[None] | None = None
        self._saying_again: asyncio.TimerHandle | None = None

    def connected(self, channel: str) -> None:
        """The store listens, perhaps again: what was missed meanwhile nobody knows, so everybody is called."""
        self._channel = channel
        for letter in list(self._letters):
            letter(None)
        for growth in [call for calls in self._mine.values() for call in calls]:
            growth()
        self._say(*(f"w{run_id}" for run_id in self._mine))

    def on_letter(self, call: Callable[[str | None], None]) -> Callable[[], None]:
        """See `TellingLog.on_letter`."""
        self._letters.append(call)

        def stop() -> None:
            if call in self._letters:
                self._letters.remove(call)

        return stop

    def on_growth(self, run_id: str, call: Callable[[], None]) -> Callable[[], None]:
        """See `TellingLog.on_growth`."""
        self._mine.setdefault(run_id, []).append(call)
        self._say(f"w{run_id}")
        if self._saying_again is None:
            self._saying_again = asyncio.get_running_loop().call_later(SAID_AGAIN_S, self._say_again)

        def stop() -> None:
            calls = self._mine.get(run_id, [])
            if call in calls:
                calls.remove(call)
            if not calls:
                self._mine.pop(run_id, None)

        return stop

    def _say_again(self) -> None:
        self._saying_again = None
        if self._mine:
            self._say(*(f"w{run_id}" for run_id in self._mine))
            self._saying_again = asyncio.get_running_loop().call_later(SAID_AGAIN_S, self._say_again)

    def heard(self, word: str) -> None:
        """A word came over the channel. Anybody who may connect can send one, so it is believed no further than to look."""
        kind, run_id = word[:1], word[1:]
        if kind == "w":
            if len(self._watched) < _RUNS_WATCHED or run_id in self._watched:
                self._watched[run_id] = asyncio.get_running_loop().time() + _BELIEVED_S
            else:
                self._forget_the_unwatched()
        elif kind == "e":
            for growth in list(self._mine.get(run_id, ())):
                growth()
        elif kind == "l":
            for letter in list(self._letters):
                letter(run_id)

    def _forget_the_unwatched(self) -> None:
        now = asyncio.get_running_loop().time()
        self._watched = {run_id: until for run_id, until in self._watched.items() if until > now}

    def written(self, run_ids: Iterable[str]) -> None:
        """These runs have grown. It costs a look into an empty dict where nobody watches anything."""
        if not self._watched:
            return
        now = asyncio.get_running_loop().time()
        for run_id in run_ids:
            until = self._watched.get(run_id)
            if until is not None:
                if until > now:
                    self._say(f"e{run_id}")
                else:
                    del self._watched[run_id]

    def _say(self, *words: str) -> None:
        """Send words soon: while some are on their way, others gather, each once."""
        if self._channel is None:
            return
        self._due.update(dict.fromkeys(word for word in words if len(word) * 4 <= _LONGEST_WORD or len(word.encode()) <= _LONGEST_WORD))
        if self._due and (self._telling is None or self._telling.done()):
            self._telling = asyncio.create_task(self._send(), name="afk_es log calls")

    async def _send(self) -> None:
        while self._due:
            words, self._due = list(self._due), {}
            # Whoever is not told looks some seconds later. A store that is being closed says nothing more.
            with suppress(AfkError):
                assert self._channel is not None
                await self._tell(self._channel, words)

    async def close(self) -> None:
        """Say and hear nothing more."""
        self._channel = None
        self._letters.clear()
        self._mine.clear()
        self._watched.clear()
        self._due.clear()
        if self._saying_again is not None:
            self._saying_again.cancel()
            self._saying_again = None
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.wait([self._telling])
            self._telling = None
