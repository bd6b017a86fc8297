"""A golden check, offline: the file's lines into a log in memory, today's agent on the recorded answers, and the comparison of both runs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from afk_es.core import Runner
from afk_es.evals import Golden, check_golden
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import fold, initial_state
from tests.benchmarks.conftest import Table
from tests.benchmarks.workload import agent


async def _golden(steps: int) -> tuple[Golden, list[Any]]:
    log = MemoryEventLog()
    async with Runner(log=log) as runner:
        result = await runner.run(agent(steps), user_message="Where is my order?")
        assert result.state == "completed"
        golden = await Golden.of(log, result.run_id, name="orders")
        return golden, await log.read(result.run_id)


def _check(table: Table, steps: int, rounds: int, aim: str) -> None:
    golden, events = asyncio.run(_golden(steps))

    async def checked(described: Any) -> float:
        began = time.perf_counter()
        reports = [await check_golden(golden, described) for _ in range(rounds)]
        taken = time.perf_counter() - began
        assert all(report.ok for report in reports)
        return taken / rounds

    def ours() -> float:
        return asyncio.run(checked(agent(steps)))

    def floor() -> float:
        begin = initial_state(events[0].run_id, events[0].thread_id)
        began = time.perf_counter()
        for _ in range(rounds):
            fold(begin, events)
            fold(begin, events)
        return (time.perf_counter() - began) / rounds

    table.compare(
        f"golden check, {steps} steps, {len(events)} events, passed", ours, floor, unit="ms", aim=aim, floor_is="its events folded twice"
    )


def test_a_golden_of_fifty_steps(table: Table) -> None:
    _check(table, 50, 10, "20 ms")


def test_a_golden_of_five_thousand_events(table: Table) -> None:
    _check(table, 625, 1, "linear")


def test_a_prompt_that_differs_in_fifty_steps(table: Table) -> None:
    golden, _events = asyncio.run(_golden(50))
    other = agent(50).model_copy(update={"instructions": "Be brief."})

    async def checked() -> float:
        began = time.perf_counter()
        report = await check_golden(golden, other)
        taken = time.perf_counter() - began
        assert [found.field for found in report.divergences] == ["instructions"]
        return taken

    table.compare("golden check, 50 steps, instructions differ", lambda: asyncio.run(checked()), unit="ms", aim="20 ms")
