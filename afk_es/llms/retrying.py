"""Asking again, for models that are used outside a Runner. A Runner takes the retrying over, by the same rule and with each attempt an event."""

from __future__ import annotations

from collections.abc import Callable

from afk_es.clock import Clock
from afk_es.llms.failure import classify
from afk_es.llms.port import CallNext
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse
from afk_es.machine.retries import delay_s
from afk_es.machine.spec import Retry


class Retrying:
    """Asks until there is an answer, a failure that is not retryable, or no attempt left; the last failure is raised as it came.

    Args:
        may_repeat: whether the caller has seen nothing of the failed attempt yet, which a stream's caller may have.
    """

    def __init__(self, retry: Retry, clock: Clock, may_repeat: Callable[[], bool]) -> None:
        self._retry = retry
        self._clock = clock
        self._may_repeat = may_repeat

    async def __call__(self, request: LLMRequest, call_next: CallNext) -> LLMResponse:
        """The first answer there is."""
        failures = 0
        while True:
            try:
                return await call_next(request if not failures else request.model_copy(update={"attempt": request.attempt + failures}))
            except Exception as error:
                failures += 1
                failure = classify(error)
                if failure.classification != "retryable" or failures >= self._retry.attempts or not self._may_repeat():
                    raise
            # Callers with different keys spread, and the same call waits the same.
            salt = f"{request.idempotency_key or request.model}/{failures}"
            await self._clock.sleep(delay_s(self._retry, failures, salt, failure.retry_after_s))
