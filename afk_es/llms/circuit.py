"""The circuit breaker of a model object, over all that use it: the machine's pure fold, with a clock and a place to keep it."""

from __future__ import annotations

from afk_es.clock import Clock
from afk_es.errors import LLMCircuitOpenError
from afk_es.llms.failure import classify
from afk_es.llms.port import CallNext
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse
from afk_es.machine.breaker import CLOSED, Breaker, abandoned, called, cooldown_left_s, failed, may_call, succeeded
from afk_es.machine.spec import BreakerRule


class Circuit:
    """Calls a model while its breaker allows it."""

    def __init__(self, rule: BreakerRule, clock: Clock) -> None:
        self._rule = rule
        self._clock = clock
        self._breaker: Breaker = CLOSED

    async def turn_away(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """Refuse while it is open, so that nobody queues for a model that is not asked; otherwise just call on."""
        self._check(request)
        return await call_next(request)

    async def __call__(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """Call on, and take note of how it went.

        Raises:
            LLMCircuitOpenError: it is open, or its probe is under way.
        """
        self._check(request)
        self._breaker = called(self._breaker)
        probe = self._breaker.probing
        try:
            response = await call_next(request)
        except Exception as error:
            if classify(error).classification == "retryable":
                self._breaker = failed(self._breaker, self._rule, self._clock.monotonic())
            elif probe:
                self._breaker = abandoned(self._breaker)
            raise
        except BaseException:
            if probe:
                self._breaker = abandoned(self._breaker)
            raise
        self._breaker = succeeded(self._breaker)
        return response

    def _check(self, request: LLMRequest) -> None:
        now = self._clock.monotonic()
        if may_call(self._breaker, self._rule, now):
            return
        left_s = cooldown_left_s(self._breaker, self._rule, now)
        rest = f"it is left alone for another {left_s:.3g} s" if left_s > 0 else "one call is finding out whether it is back"
        raise LLMCircuitOpenError(
            f"{request.model} was not asked: {self._breaker.failures} failures in a row, and {rest}", retry_after_s=left_s
        )
