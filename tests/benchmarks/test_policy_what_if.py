"""Another policy asked all that was put before the policy in recorded runs: one long run, and many short ones, in SQLite."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from afk_es.agents import PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.evals import policy_what_if
from afk_es.evals.policies.history import READ
from afk_es.log.sqlite import SqliteEventLog
from tests.benchmarks.conftest import Table
from tests.support.million import LongRun

_RULES = PolicyEngine(
    [
        PolicyRule(action="deny", condition=PolicyRuleCondition(tool_name="send_order"), subjects=("tool",)),
        PolicyRule(action="request_approval", condition=PolicyRuleCondition(tool_name="update_order"), subjects=("tool",)),
    ]
)


async def _record(path: Path, runs: int, events: int) -> None:
    log = SqliteEventLog(path, durability="normal")
    await log.open()
    for seed in range(runs):
        recorded = list(LongRun(events, seed))
        for start in range(0, len(recorded), 4_000):
            await log.append(recorded[start : start + 4_000], epoch=1)
    await log.close()


def _asked(table: Table, path: Path, runs: int, events: int) -> None:
    asyncio.run(_record(path, runs, events))
    decisions = 0

    async def asking() -> float:
        nonlocal decisions
        log = SqliteEventLog(path, read_only=True)
        await log.open()
        began = time.perf_counter()
        seen = await policy_what_if(log, _RULES)
        taken = time.perf_counter() - began
        await log.close()
        assert seen.runs == runs
        decisions = seen.decisions
        return taken / seen.decisions

    async def reading() -> float:
        log = SqliteEventLog(path, read_only=True)
        await log.open()
        began = time.perf_counter()
        for record in await log.runs(limit=runs):
            after = 0
            while page := await log.scan(record.run_id, after=after, types=READ, limit=500):
                after = page[-1].seq
        taken = time.perf_counter() - began
        await log.close()
        return taken / decisions

    def ours() -> float:
        return asyncio.run(asking())

    def floor() -> float:
        return asyncio.run(reading())

    ours()
    table.compare(
        f"policy asked again, {runs} runs, {decisions} decisions", ours, floor, unit="us", aim="20 us", floor_is="reading the events"
    )


def test_one_long_run(table: Table, tmp_path: Path) -> None:
    _asked(table, tmp_path / "long.db", 1, 100_000)


def test_many_short_runs(table: Table, tmp_path: Path) -> None:
    _asked(table, tmp_path / "many.db", 500, 200)
