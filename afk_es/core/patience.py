"""How long may be waited until a log is looked at again: longer where it tells by itself that another process has written to it."""

from __future__ import annotations

from collections.abc import Callable

from afk_es.core.news import Watcher
from afk_es.log import EventLog, TellingLog

TOLD = 20
"""So many times more rarely a log is looked at that tells by itself: what it tells may be lost with a connection."""


class Patience:
    """How long one watcher of one run may wait between two looks.

    Args:
        interval_s: seconds between two looks at a log that tells nothing.
    """

    def __init__(self, log: EventLog, run_id: str, watcher: Watcher, interval_s: float) -> None:
        self._log = log
        self._run_id = run_id
        self._watcher = watcher
        self._interval_s = interval_s
        self._owner: str | None = None
        self._patience_s = interval_s
        self._stop: Callable[[], None] | None = None

    def __enter__(self) -> Patience:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stop is not None:
            self._stop()

    def of(self, owner: str) -> float:
        """Seconds to wait for a run that this owner drives. Of one of this store's own runs its Runner has the news itself."""
        if owner == self._log.owner or not isinstance(self._log, TellingLog):
            return self._interval_s
        if owner != self._owner:
            # A new owner does not know yet that somebody watches. Until it has been told it is looked at as often as a log that tells nothing.
            if self._stop is not None:
                self._stop()
            self._stop = self._log.on_growth(self._run_id, self._watcher.wake)
            self._owner, self._patience_s = owner, self._interval_s
        else:
            self._patience_s = min(2 * self._patience_s, TOLD * self._interval_s)
        return self._patience_s
