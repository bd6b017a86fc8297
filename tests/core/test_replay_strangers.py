"""Goal: a replay ends, whoever replays what. Method: drawn teams, replayed by agents that lack tools and subagents, have other limits and
policies or are another team altogether, some cancelled on the way; a watchdog in real time, and nothing that is left behind."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import RecordedPeople, Replayed, Runner, RunnerConfig
from afk_es.log.memory import MemoryEventLog
from tests.core.replayed import Exploding
from tests.core.scenario import limits
from tests.core.test_replay_laws import Drawn

SEEDS = 16
STRANGERS = 4
WATCHDOG_S = 20.0


def changed(live: Agent, chance: random.Random) -> Agent:
    """The same agent after somebody has worked on it."""
    kept: dict[str, Any] = {
        "tools": [each for each in live.tools if chance.random() < 0.8],
        "subagents": [changed(each, chance) for each in live.subagents if chance.random() < 0.8],
        "tool_parallelism": chance.choice([None, 1, 2]),
        "join_policy": chance.choice(["all_required", "allow_optional_failures", "first_success"]),
    }
    if chance.random() < 0.5:
        kept["fail_safe"] = limits(
            max_wall_time_s=chance.choice([None, 0.001, 1.0, 5.0, 4_000.0]),
            max_tool_calls=chance.choice([1, 3, 200]),
            tool_failure_policy=chance.choice(["continue_with_error", "retry_then_continue", "fail_run"]),
        )
    return live.model_copy(update=kept)


def replayer(log: MemoryEventLog, clock: SimulatedClock, chance: random.Random) -> Runner:
    """A Runner with rules of its own and a way to ask people."""
    rules = [
        PolicyRule(
            action=chance.choice(["deny", "defer", "request_approval", "request_user_input"]),
            subjects=("tool",),
            condition=PolicyRuleCondition(tool_name=name),
        )
        for name in ("steady", "failing", "transfer_to_low0")
        if chance.random() < 0.3
    ]
    mode: Any = chance.choice(["headless", "interactive", "external"])
    return Runner(
        log=log,
        clock=clock,
        ids=SeededIds(chance.randrange(1 << 30)),
        policy_engine=PolicyEngine(rules) if rules else None,
        config=RunnerConfig(interaction_mode=mode),
        interaction_provider=RecordedPeople() if mode == "interactive" else None,
    )


async def cancelled_after(turns: int, replay: asyncio.Task[Replayed]) -> None:
    """Cancel it after so many turns of the event loop, where it has not ended by then."""
    for _ in range(turns):
        await asyncio.sleep(0)
    replay.cancel()
    async with asyncio.timeout(WATCHDOG_S):
        await asyncio.wait([replay])


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_replay_by_a_stranger_ends_and_leaves_nothing_behind(seed: int) -> None:
    chance = random.Random(f"strangers {seed}")
    clock = SimulatedClock(autojump_threshold_s=0.005, tick=1e-6)
    team, dead = Drawn(seed, clock).team(), Exploding()
    log = MemoryEventLog()
    async with Runner(log=log, clock=clock, ids=SeededIds(seed)) as runner:
        run_id = (await runner.run(team, user_message="go")).run_id
        before = asyncio.all_tasks()
        for _ in range(STRANGERS):
            stranger = dead.agent(changed(team, chance) if chance.random() < 0.8 else Drawn(seed + 1_000, clock).team())
            replaying = replayer(log, clock, chance)
            replay = asyncio.create_task(replaying.replay(stranger, run_id=run_id))
            if chance.random() < 0.4:
                await cancelled_after(round(2 ** (chance.random() * 7)), replay)
            else:
                async with asyncio.timeout(WATCHDOG_S):
                    await replay
            replays = [each.run_id for each in await log.runs() if each.run_id != run_id]
            assert [each for each in replays if await log.alive(log.owner, each)] == []
        # A task that has just ended is one until the next turn.
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before == set()
    assert dead.reached == []
