"""How often a caller may call. It refuses at once and says when to come again; nobody is made to wait here.

The "generic cell rate algorithm" of ITU-T I.371, as in `llms/pacing.py`: of each caller one number is kept, the moment at which all that was let
through is paid for. aiolimiter is not used: it makes callers wait, keeps to itself when the next may come, goes by the time of one event loop and
warns in the next.
"""

from __future__ import annotations

import math

import msgspec

from afk_es.clock import Clock, SystemClock
from afk_es.errors import ConfigurationError

CLIENTS_HELD = 10_000
"""Callers of whom something is kept at once."""


class Limited(msgspec.Struct, frozen=True):
    """At most `calls` in `per_s` seconds of each caller: all of them at once after a pause, and evenly in the long run.

    Raises:
        ConfigurationError: less than one call, or a time that is not positive.
    """

    calls: int
    per_s: float = 60.0

    def __post_init__(self) -> None:
        if self.calls < 1 or not (self.per_s > 0 and math.isfinite(self.per_s)):
            raise ConfigurationError(f"a limit is at least one call in a positive number of seconds; this is {self}")


class RateLimiter:
    """Counts the calls of each caller. It belongs to one door of one process, and forgets when that ends.

    Args:
        limit: what each caller may do.
        clock: whose time it goes by; default: the system's.
        clients: callers of whom something is kept at once, default 10,000. A caller who has paid for everything is forgotten without a difference.
            While so many have not, a new one is told to come again: nobody passes the limit by being forgotten.
    """

    def __init__(self, limit: Limited, *, clock: Clock | None = None, clients: int = CLIENTS_HELD) -> None:
        if clients < 1:
            raise ConfigurationError(f"a rate limiter keeps at least one client, not {clients}")
        self._interval_s = limit.per_s / limit.calls
        self._tolerance_s = limit.per_s - self._interval_s
        self._clock = clock or SystemClock()
        self._clients = clients
        self._paid_at: dict[str, float] = {}
        self._full_until = -math.inf

    def admitted(self, principal_name: str) -> float | None:
        """None lets the call through, and counts it. Otherwise the seconds until the caller's next call will be."""
        now = self._clock.monotonic()
        paid_at = self._paid_at.get(principal_name, now)
        early_s = max(paid_at, now) - self._tolerance_s - now
        if early_s > 0:
            return early_s
        if principal_name not in self._paid_at and (full_s := self._full(now)) > 0:
            return full_s
        self._paid_at[principal_name] = max(paid_at, now) + self._interval_s
        return None

    def _full(self, now: float) -> float:
        """Seconds until there is room for one more. It looks through all only when that can have changed."""
        if len(self._paid_at) < self._clients:
            return 0.0
        if now >= self._full_until:
            self._paid_at = {name: paid_at for name, paid_at in self._paid_at.items() if paid_at > now}
            if len(self._paid_at) < self._clients:
                return 0.0
            self._full_until = min(self._paid_at.values())
        return self._full_until - now
