"""When a failed attempt is tried again, and after how long: pure, so that a resumed process waits for the same moment."""

from __future__ import annotations

import datetime as dt
import hashlib

from afk_es.machine.effects import Wait
from afk_es.machine.spec import Retry


def delay_s(retry: Retry, failures: int, salt: str, retry_after_s: float | None = None) -> float:
    """Seconds before the next attempt after so many failures.

    Exponential with "equal jitter": the upper half of the delay is spread, by a digest of the salt and not by chance, so that equal logs
    have equal delays. (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015.)
    """
    full = min(retry.cap_s, retry.base_s * 2.0 ** (failures - 1))
    fraction = int.from_bytes(hashlib.blake2b(salt.encode(), digest_size=4).digest(), "big") / 2**32
    delay = full / 2 + full / 2 * fraction
    if retry_after_s is not None:
        delay = max(delay, min(retry_after_s, retry.retry_after_cap_s))
    return delay


def backoff(retry: Retry, failures: int, *, run_id: str, seq: int, at: dt.datetime, retry_after_s: float | None = None) -> Wait:
    """The wait that stands between the failure at `seq` and the next attempt."""
    seconds = delay_s(retry, failures, f"{run_id}:{seq}", retry_after_s)
    timer = f"retry:{seq}"
    return Wait(timer, timer, at + dt.timedelta(seconds=seconds))
