"""What it takes to run a recorded run again, offline, in a log in memory; the floor is the fold of its events."""

from __future__ import annotations

import asyncio
import time

import pytest

from afk_es.core import Runner
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import fold, initial_state
from tests.benchmarks.conftest import Table
from tests.benchmarks.workload import agent, recorded
from tests.core.replayed import copied


@pytest.mark.parametrize("steps", [50, 500])
def test_replay(table: Table, steps: int) -> None:
    events = recorded(steps)
    run_id, described = events[0].run_id, agent(steps)

    def replay() -> float:
        async def timed() -> float:
            log: MemoryEventLog = await copied([events])
            async with Runner(log=log) as runner:
                await runner.replay(described, run_id=run_id)
                began = time.perf_counter()
                replayed = await runner.replay(described, run_id=run_id)
                took = time.perf_counter() - began
            assert (replayed.result.state, replayed.served) == ("completed", 2 * steps + 1)
            return took

        return asyncio.run(timed())

    def floor() -> float:
        began = time.perf_counter()
        fold(initial_state(run_id, "thread"), events)
        return time.perf_counter() - began

    table.compare(
        f"replay of a run of {steps} steps",
        replay,
        floor,
        unit="ms",
        aim="20 ms with its check" if steps == 50 else "linear",
        floor_is="the fold of its events",
    )
