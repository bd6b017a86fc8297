"""What a step costs: one model call and one tool call, about eight events."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from afk_es.llms import LLMRequest, Message
from afk_es.log.sqlite import SqliteEventLog
from tests.benchmarks.conftest import Table
from tests.benchmarks.workload import CountingModel, insert, lookup, plain_table, recorded, rows_of, timed_run

STEPS = 200


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_durable_step(table: Table, tmp_path: Path, durability: Any) -> None:
    """One run, alone, on a file: two transactions a step."""
    number = itertools.count()
    rows = rows_of(recorded(STEPS))

    def ours() -> float:
        return asyncio.run(timed_run_on_file(tmp_path / f"ours-{next(number)}.db", durability))

    def floor() -> float:
        connection = plain_table(tmp_path / f"floor-{next(number)}.db", durability.upper())
        began = time.perf_counter()
        for start in range(0, len(rows), 4):
            part = rows[start : start + 4]
            connection.execute(insert(len(part)), [value for row in part for value in row])
        taken = time.perf_counter() - began
        connection.close()
        return taken / STEPS

    table.compare(
        f"one step, durable ({durability.upper()})",
        ours,
        floor,
        aim="400 us (FULL), floor 230-350 there",
        floor_is="sqlite3 on the same thread: the same rows, two transactions a step, no checks, no hash",
    )


async def timed_run_on_file(path: Path, durability: Any) -> float:
    """Seconds a step of one run on a new file."""
    log = SqliteEventLog(path, durability=durability)
    await log.open()
    try:
        return await timed_run(log, STEPS)
    finally:
        await log.close()


def test_step_in_memory(table: Table) -> None:
    """One run, alone, on the memory log: the machine, the loop, the handlers."""

    async def by_hand() -> float:
        model = CountingModel(STEPS)
        messages = [Message("user", "Where is my order?")]
        began = time.perf_counter()
        while True:
            answer = await model.chat(LLMRequest.model_construct(model="scripted-1", messages=messages))
            if not answer.tool_calls:
                return (time.perf_counter() - began) / STEPS
            messages.append(Message("assistant", answer.text, answer.tool_calls))
            for call in answer.tool_calls:
                output = await lookup(**call.arguments)  # type: ignore[arg-type]
                messages.append(Message("tool", str(output), (), call.id))

    table.compare(
        "one step, in memory",
        lambda: asyncio.run(timed_run(":memory:", STEPS)),
        lambda: asyncio.run(by_hand()),
        aim="120 us, floor 9.6 there",
        floor_is="a loop by hand that asks the model, calls the function and keeps the messages",
    )


@pytest.mark.parametrize("steps", [50, 3000])
def test_late_steps_cost_what_early_ones_do(table: Table, steps: int) -> None:
    """The same step at the end of a long run: the last tenth of it."""

    class Watched(CountingModel):
        def __init__(self) -> None:
            super().__init__(steps)
            self.times: list[float] = []

        async def chat(self, request: LLMRequest) -> Any:
            self.times.append(time.perf_counter())
            return await super().chat(request)

    def ours() -> float:
        from afk_es.agents import Agent
        from afk_es.core import Runner
        from tests.benchmarks.workload import PLENTY

        model = Watched()
        Runner(log=":memory:").run_sync(Agent(model=model, tools=[lookup], max_steps=10**9, fail_safe=PLENTY), user_message="go")
        tail = model.times[-20:]
        return (tail[-1] - tail[0]) / (len(tail) - 1)

    table.compare(f"step {steps} of a run, in memory", ours, aim="step 3,000 at most 1.3x step 50")
