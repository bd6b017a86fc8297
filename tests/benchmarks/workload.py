"""The work that is measured: an agent that calls one tool a step, and the same events written by hand."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentRunEvent, Runner
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.tools import tool

PLENTY = FailSafeConfig(max_llm_calls=10**9, max_tool_calls=10**9, max_steps=10**9, max_wall_time_s=10**6)


@tool(read_only=True)
async def lookup(order: str) -> dict[str, Any]:
    """Look an order up."""
    return {"order": order, "status": "shipped", "carrier": "DHL", "eta": "2026-11-23"}


class CountingModel:
    """Asks for one tool call a step, for so many steps, and then answers; it looks at the length of the conversation only."""

    provider_id = "scripted"
    model = "scripted-1"

    def __init__(self, steps: int) -> None:
        self._last = steps * 2

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """The next tool call, or the answer."""
        length = len(request.messages)
        if length > self._last:
            return LLMResponse(text="Your order is on its way.", finish_reason="stop", usage=Usage(100, 10, 110), cost_usd=0.0001)
        call = ToolCall(f"call_{length}", "lookup", {"order": f"O-{length}"})
        return LLMResponse(tool_calls=(call,), finish_reason="tool_calls", usage=Usage(100, 10, 110), cost_usd=0.0001)


def agent(steps: int) -> Agent:
    """An agent of so many steps with a tool call, and one with the answer."""
    return Agent(model=CountingModel(steps), name="desk", tools=[lookup], max_steps=10**9, fail_safe=PLENTY)


async def timed_run(log: Any, steps: int) -> float:
    """Seconds a step of one run on an open log."""
    described = agent(steps)
    async with Runner(log=log) as runner:
        await runner.run(described, user_message="warm up", thread_id="warm")
        began = time.perf_counter()
        await runner.run(described, user_message="Where is my order?")
        return (time.perf_counter() - began) / steps


def recorded(steps: int) -> list[AgentRunEvent]:
    """The events of a run of so many steps."""

    async def record() -> list[AgentRunEvent]:
        async with Runner(log=":memory:") as runner:
            result = await runner.run(agent(steps), user_message="Where is my order?")
            return await runner.log.read(result.run_id)

    return asyncio.run(record())


def rows_of(events: Iterable[AgentRunEvent]) -> list[tuple[Any, ...]]:
    """What a hand-written loop would store of them."""
    return [
        (1, event.seq, 1, int(event.at.timestamp() * 1e6), event.type, None, event.step, None, 1, msgspec.json.encode(event.data).decode())
        for event in events
    ]


def plain_table(path: Path, synchronous: str) -> sqlite3.Connection:
    """A SQLite file with the same columns and index, and nothing else."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(
        "CREATE TABLE events (position INTEGER PRIMARY KEY, run, seq, epoch, at, type, state, step, message, version, data, UNIQUE (run, seq))"
    )
    return connection


def insert(rows: int) -> str:
    """One statement for so many rows."""
    values = ", ".join(["(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"] * rows)
    return f"INSERT INTO events (run, seq, epoch, at, type, state, step, message, version, data) VALUES {values}"
