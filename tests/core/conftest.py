"""Every run of these tests is folded again from its log after each write, and compared with the live state."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner


@pytest.fixture(autouse=True)
def _always_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFK_ES_ALWAYS_REPLAY", "1")


@pytest.fixture
def clock() -> SimulatedClock:
    """Time that jumps to the next sleeper once nothing else has happened for a moment."""
    return SimulatedClock(autojump_threshold_s=0.02)


@pytest.fixture
async def runner(clock: SimulatedClock) -> AsyncIterator[Runner]:
    """A Runner on a log in memory, open for the whole test, so that its log can be read."""
    async with Runner(log=":memory:", clock=clock, ids=SeededIds(7)) as opened:
        yield opened
