"""Says that a worker cannot reach its tasks, once, and that it can again, once: whatever it tries meanwhile, and how often."""

from __future__ import annotations

import logging
from collections import Counter

from afk_es.errors import LogError

_LOGGER = logging.getLogger("afk_es.worker")


class Outages:
    """What of a worker's doings fails at the moment, since the log or the engine cannot be reached.

    Args:
        worker: its name.
        counts: where "outages" are counted.
    """

    def __init__(self, worker: str, counts: Counter[str]) -> None:
        self._worker = worker
        self._counts = counts
        self._doings: set[str] = set()

    def met(self, doing: str, error: LogError) -> None:
        """This failed by it."""
        if not self._doings:
            self._counts["outages"] += 1
            _LOGGER.warning("worker %s cannot reach its tasks, and tries until it can: %s", self._worker, error)
        self._doings.add(doing)

    def over(self, doing: str) -> None:
        """This went well."""
        if doing in self._doings:
            self._doings.discard(doing)
            if not self._doings:
                _LOGGER.warning("worker %s reaches its tasks again", self._worker)
