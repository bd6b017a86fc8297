"""Stretches of time between two events that belong together, and how long they took in all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

Period = tuple[dt.datetime, dt.datetime]


def seconds_between(start: dt.datetime, end: dt.datetime) -> float:
    """Seconds from one moment to the other; never negative."""
    return max(0.0, (end - start).total_seconds())


def seconds_covered(periods: Iterable[Period]) -> float:
    """Seconds in which at least one of the periods was going on: two that overlap do not count twice."""
    total = 0.0
    until: dt.datetime | None = None
    for start, end in sorted(periods):
        if until is not None and start < until:
            start = until
        if end > start:
            total += (end - start).total_seconds()
            until = end
    return total
