"""Asking again, for models that are used outside a Runner. A Runner retries by itself, each attempt an event, and wants no second one here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from afk_es.clock import Clock
from afk_es.llms.failure import Failure, classify
from afk_es.llms.request import LLMRequest
from afk_es.llms.response import LLMResponse
from afk_es.machine.spec import Retry
from afk_es.machine.values import digest

_FULL = 1 << 32


def delay_s(retry: Retry, failure: Failure, *, attempt: int, key: str) -> float:
    """Seconds to wait after the failed attempt of that number (from 1), by the rule of `Retry`.

    The jitter is drawn from a digest of the key and the attempt: callers with different keys spread, and the same call waits the same.
    """
    full = min(retry.base_s * 2.0 ** (attempt - 1), retry.cap_s)
    share = int(digest(f"{key}/{attempt}".encode())[:8], 16) / _FULL
    asked = min(failure.retry_after_s or 0.0, retry.retry_after_cap_s)
    return max(full / 2 + full / 2 * share, asked)


async def with_retries(
    ask: Callable[[LLMRequest], Awaitable[LLMResponse]],
    request: LLMRequest,
    *,
    retry: Retry,
    clock: Clock,
    may_repeat: Callable[[], bool],
) -> LLMResponse:
    """Ask until there is an answer, a failure that is not retryable, or no attempt left; the last failure is raised as it came.

    `may_repeat` says whether the caller has seen nothing of the failed attempt yet, which a stream's caller may have.
    """
    attempt = 1
    while True:
        try:
            return await ask(request)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            failure = classify(error)
            if failure.classification != "retryable" or attempt >= retry.attempts or not may_repeat():
                raise
            wait_s = delay_s(retry, failure, attempt=attempt, key=request.idempotency_key or request.model)
        await clock.sleep(wait_s)
        attempt += 1
