"""So many calls of each caller, and when the next may come."""

from __future__ import annotations

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ConfigurationError
from afk_es.serving import Limited, RateLimiter


def limiter(limit: Limited, clients: int = 100) -> tuple[RateLimiter, SimulatedClock]:
    clock = SimulatedClock()
    return RateLimiter(limit, clock=clock, clients=clients), clock


def test_so_many_at_once_and_then_evenly() -> None:
    limits, clock = limiter(Limited(3, per_s=60))
    assert [limits.admitted("alice") for _ in range(4)] == [None, None, None, 20.0]
    clock.advance(19.5)
    assert limits.admitted("alice") == 0.5
    clock.advance(0.5)
    assert [limits.admitted("alice") for _ in range(2)] == [None, 20.0]


def test_whoever_comes_when_told_is_let_in() -> None:
    limits, clock = limiter(Limited(7, per_s=1))
    admitted = 0
    for _ in range(100):
        if (wait_s := limits.admitted("alice")) is None:
            admitted += 1
        else:
            clock.advance(wait_s)
    assert admitted >= 50
    assert admitted <= 7 + clock.monotonic() * 7 + 1e-6


def test_asking_while_refused_costs_nothing() -> None:
    limits, clock = limiter(Limited(1, per_s=10))
    assert limits.admitted("alice") is None
    for _ in range(1000):
        assert limits.admitted("alice") == 10
    clock.advance(10)
    assert limits.admitted("alice") is None


def test_callers_do_not_take_from_each_other() -> None:
    limits, _clock = limiter(Limited(1, per_s=10))
    assert [limits.admitted(name) for name in ("alice", "bob", "alice")] == [None, None, 10.0]


def test_a_pause_saves_up_no_more_than_the_limit() -> None:
    limits, clock = limiter(Limited(2, per_s=10))
    clock.advance(1_000_000)
    assert [limits.admitted("alice") is None for _ in range(3)] == [True, True, False]


def test_what_is_held_is_bounded_and_nobody_passes_the_limit_by_being_forgotten() -> None:
    limits, clock = limiter(Limited(1, per_s=10), clients=2)
    assert limits.admitted("alice") is None
    clock.advance(4)
    assert limits.admitted("bob") is None
    assert [limits.admitted(name) for name in ("carol", "alice", "dave")] == [6.0, 6.0, 6.0]
    clock.advance(6)
    assert limits.admitted("carol") is None  # alice has paid, and is forgotten
    assert limits.admitted("alice") == 4.0


def test_a_crowd_costs_one_look_at_all_and_not_one_each(monkeypatch: pytest.MonkeyPatch) -> None:
    limits, _clock = limiter(Limited(1, per_s=10), clients=50)
    for number in range(50):
        limits.admitted(f"client {number}")
    assert limits.admitted("late") == 10
    held = limits._paid_at
    assert [limits.admitted(f"later {number}") for number in range(1000)] == [10] * 1000
    assert limits._paid_at is held


@pytest.mark.parametrize(("calls", "per_s"), [(0, 1.0), (-1, 1.0), (1, 0.0), (1, -1.0), (1, float("inf")), (1, float("nan"))])
def test_a_limit_that_is_none_is_refused(calls: int, per_s: float) -> None:
    with pytest.raises(ConfigurationError, match="at least one call"):
        Limited(calls, per_s)


def test_a_limiter_that_keeps_nobody_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="at least one client"):
        RateLimiter(Limited(1), clients=0)


def test_who_is_known_already_needs_no_room() -> None:
    limits, _clock = limiter(Limited(2, per_s=10), clients=1)
    assert [limits.admitted("alice") for _ in range(3)] == [None, None, 5.0]
    assert limits.admitted("bob") == 10.0
