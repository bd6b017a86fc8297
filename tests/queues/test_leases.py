"""A worker's lease, by the worker's own clock."""

from __future__ import annotations

import asyncio
import time

import pytest

from afk_es.clock import SimulatedClock, SystemClock, unpausing
from afk_es.queues.leases import WorkerLease


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def lease(clock: SimulatedClock) -> WorkerLease:
    return WorkerLease(clock.monotonic, 30.0, since=0.0)


def test_a_lease_is_given_up_before_it_is_over(lease: WorkerLease, clock: SimulatedClock) -> None:
    clock.advance(26.9)
    assert lease.held()
    clock.advance(0.2)
    assert not lease.held()


def test_it_counts_from_when_the_beat_began_and_not_from_when_it_was_answered(lease: WorkerLease, clock: SimulatedClock) -> None:
    clock.advance(20.0)
    lease.renew(since=10.0)
    clock.advance(16.9)
    assert lease.held()
    clock.advance(0.2)
    assert not lease.held()


def test_a_beat_that_comes_late_does_not_shorten_it(lease: WorkerLease, clock: SimulatedClock) -> None:
    lease.renew(since=10.0)
    lease.renew(since=5.0)
    clock.advance(36.9)
    assert lease.held()


async def test_one_that_has_run_out_may_be_had_again(lease: WorkerLease, clock: SimulatedClock) -> None:
    clock.advance(100.0)
    waiting = asyncio.create_task(lease.regained())
    await asyncio.sleep(0)
    assert not waiting.done()
    lease.renew(since=100.0)
    assert await waiting
    assert lease.held()


async def test_one_that_has_ended_may_not(lease: WorkerLease, clock: SimulatedClock) -> None:
    clock.advance(100.0)
    waiting = asyncio.create_task(lease.regained())
    await asyncio.sleep(0)
    lease.end()
    assert not await waiting
    lease.renew(since=100.0)
    assert not lease.held()
    assert lease.ended


async def test_a_beat_that_was_too_long_under_way_does_not_give_it_back(lease: WorkerLease, clock: SimulatedClock) -> None:
    clock.advance(100.0)
    waiting = asyncio.create_task(lease.regained())
    await asyncio.sleep(0)
    lease.renew(since=50.0)
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


def test_the_machines_clock_goes_on_while_the_machine_sleeps() -> None:
    reads = unpausing(SystemClock())
    expected = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    assert abs(reads() - expected) < 5.0
    assert reads() <= reads()


def test_a_simulated_clock_is_its_own_measure(clock: SimulatedClock) -> None:
    reads = unpausing(clock)
    clock.advance(7.0)
    assert reads() == 7.0
