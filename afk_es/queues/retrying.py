"""When a task that failed is tried again: how often, after how long, and after which failures at all. Pure."""

from __future__ import annotations

import msgspec

from afk_es.errors import ConfigurationError
from afk_es.machine.retries import delay_s
from afk_es.machine.spec import Retry


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How failed tasks are tried again. What a run retries within itself (`FailSafeConfig`) comes before and does not count here.

    Attributes:
        max_attempts: failures after which a task is dead; default 5. What cannot pass by itself, such as a request that the provider
            refuses or an agent that no worker has, is dead at once.
        base_s: seconds before the second attempt; each later one waits twice as long, the upper half of it spread. Default 2.
        cap_s: the longest wait, in seconds; default 600.
        max_crashes: workers that may die over a task before it is dead; default 10.

    Raises:
        ConfigurationError: a number that cannot be.
    """

    max_attempts: int = 5
    base_s: float = 2.0
    cap_s: float = 600.0
    max_crashes: int = 10

    def __post_init__(self) -> None:
        if self.max_attempts < 1 or self.max_crashes < 0:
            raise ConfigurationError("max_attempts is at least 1 and max_crashes at least 0")
        if not 0 <= self.base_s <= self.cap_s < float("inf"):
            raise ConfigurationError("base_s and cap_s are seconds, 0 <= base_s <= cap_s")

    def delay_s(self, task_id: str, failures: int) -> float:
        """Seconds from the failure with this number, from 1, to the next attempt. The same task has the same delays in every process."""
        return delay_s(Retry(attempts=self.max_attempts, base_s=self.base_s, cap_s=self.cap_s), failures, f"{task_id}:{failures}")
