"""A circuit breaker as a pure fold: failures in a row open it, and while it is open a model is not asked. It knows no clock and no model.

    closed ── `failures` retryable failures in a row ──▶ open ── `cooldown_s` later ──▶ half-open ── success ──▶ closed
                                                          ▲                                │
                                                          └──────────── failure ───────────┘

Time is a number of seconds on whatever clock the caller goes by. A run folds its breakers from its log (`model_facts`), so they replay and
survive the process; `LLMBuilder.with_circuit_breaker` keeps one in memory, over all runs.
"""

from __future__ import annotations

import msgspec

from afk_es.machine.spec import BreakerRule


class Breaker(msgspec.Struct, frozen=True, gc=False):
    """What is known of a model's failures.

    Attributes:
        failures: retryable failures in a row.
        open_since: when the last of them opened it; None while it is closed.
        probing: a call is under way that is to find out whether the model answers again. A run asks one model at a time and has no use
            for it.
    """

    failures: int = 0
    open_since: float | None = None
    probing: bool = False


CLOSED = Breaker()


def may_call(breaker: Breaker, rule: BreakerRule, at: float) -> bool:
    """Whether the model may be asked at that time: while closed always, while open never, and then by one probe at a time."""
    return not breaker.probing and cooldown_left_s(breaker, rule, at) <= 0


def cooldown_left_s(breaker: Breaker, rule: BreakerRule, at: float) -> float:
    """Seconds until an open breaker lets a probe through; 0 for a closed one."""
    if breaker.open_since is None:
        return 0.0
    return max(0.0, breaker.open_since + rule.cooldown_s - at)


def called(breaker: Breaker) -> Breaker:
    """The model is being asked: the first call after the cooldown is the probe, and holds the others back."""
    return breaker if breaker.open_since is None else Breaker(breaker.failures, breaker.open_since, probing=True)


def succeeded(breaker: Breaker) -> Breaker:
    """The model answered. Whichever call it was, the provider is there again."""
    return CLOSED


def failed(breaker: Breaker, rule: BreakerRule, at: float) -> Breaker:
    """A call failed in a way that may pass, at that time."""
    if breaker.open_since is None:
        failures = breaker.failures + 1
        return Breaker(failures, at if failures >= rule.failures else None)
    if cooldown_left_s(breaker, rule, at) > 0:
        # A call that had begun before it opened: it says nothing new, and must not put the probe off.
        return breaker
    return Breaker(breaker.failures + 1, at)


def abandoned(breaker: Breaker) -> Breaker:
    """A call ended without a word on the provider: it was cut, or the request was wrong. If it was the probe, the next call is."""
    return Breaker(breaker.failures, breaker.open_since) if breaker.probing else breaker
