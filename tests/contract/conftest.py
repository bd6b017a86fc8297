"""The acceptance suite of contract.md: a test per line of it, in the words of a user and through the public interface.

Each test quotes the clause it holds. How a thing works inside is tested beside the code; here is only what users were promised.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from afk_es.clock import SimulatedClock
from afk_es.core import Runner


@pytest.fixture
def clock() -> SimulatedClock:
    """Time that jumps to the next sleeper once nothing else has happened for a moment, so that waiting costs nothing."""
    return SimulatedClock(autojump_threshold_s=0.02)


@pytest.fixture
async def runner(clock: SimulatedClock) -> AsyncIterator[Runner]:
    """A Runner on a log in memory, open for the whole test, so that its log can be read."""
    async with Runner(log=":memory:", clock=clock) as opened:
        yield opened
