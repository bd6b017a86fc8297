"""Not more calls a second than agreed, and none while the provider has asked to wait.

A token bucket in the form of a schedule (the "generic cell rate algorithm" of ITU-T I.371): each call gets the earliest moment that keeps the
rate, first come, first served. aiolimiter would do it by the event loop's time and within one event loop; this follows our Clock, so that
a simulated run does not really wait, and a model may be used in one event loop after the other.
"""

from __future__ import annotations

import math

import msgspec

from afk_es.clock import Clock
from afk_es.errors import ConfigurationError
from afk_es.llms.failure import classify
from afk_es.llms.port import CallNext
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse

LONGEST_HOLD_S = 60.0
"""A provider that asks for more than this is not waited for by everybody."""


class Rate(msgspec.Struct, frozen=True):
    """At most `per_s` calls a second in the long run, and `burst` at once after a pause.

    Raises:
        ConfigurationError: a rate that is not positive, or a burst below 1.
    """

    per_s: float = 20.0
    burst: int = 40

    def __post_init__(self) -> None:
        if not (self.per_s > 0 and math.isfinite(self.per_s)) or self.burst < 1:
            raise ConfigurationError(f"a rate is a positive number of calls a second, with a burst of at least 1; this is {self}")


class Pacing:
    """Lets calls through at their rate. One of these serves all calls of a model."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._interval_s = 1.0 / rate.per_s
        self._tolerance_s = self._interval_s * (rate.burst - 1)
        self._clock = clock
        self._scheduled = -math.inf
        self._held_until = -math.inf

    async def __call__(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """The answer, when it is this call's turn. Whoever gives up waiting leaves its turn unused."""
        due = self._turn()
        while (wait_s := max(due, self._held_until) - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait_s)
        try:
            return await call_next(request)
        except Exception as error:
            asked_s = classify(error).retry_after_s
            if asked_s:
                self._held_until = max(self._held_until, self._clock.monotonic() + min(asked_s, LONGEST_HOLD_S))
            raise

    def _turn(self) -> float:
        """The moment of the next call."""
        now = self._clock.monotonic()
        self._scheduled = max(self._scheduled, now)
        due = self._scheduled - self._tolerance_s
        self._scheduled += self._interval_s
        return due
