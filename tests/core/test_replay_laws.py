"""Goal: the law of replays for runs that nobody chose. Method: teams drawn from a seed, whose models and tools take their time, fail and are
cut by deadlines, under a simulated clock; each is replayed event by event at the recorded moments."""

from __future__ import annotations

import random
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner, recorded_agent
from afk_es.core.replays import spec_of
from afk_es.errors import LLMRetryableError, ToolError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, tool
from tests.core.replayed import Exploding, assert_same
from tests.core.scenario import agent, asks, limits, says

SEEDS = 24
SECONDS = (0.0, 0.0, 0.5, 1.0, 1.0, 7.25, 3_600.0)


class Drawn:
    """An agent and its world, both from a seed."""

    def __init__(self, seed: int, clock: SimulatedClock) -> None:
        self._chance = random.Random(seed)
        self._clock = clock

    def team(self) -> Agent:
        """An agent with up to two subagents."""
        lows = [self.agent(f"low{n}", []) for n in range(self._chance.choice([0, 0, 1, 2]))]
        return self.agent("boss", lows)

    def agent(self, name: str, lows: list[Agent]) -> Agent:
        """One that calls tools and its subagents in up to three batches."""
        names = ["steady", "failing", *(f"transfer_to_{low.name}" for low in lows)]
        script = []
        for _ in range(self._chance.randint(0, 3)):
            calls = [self._chance.choice(names) for _ in range(self._chance.randint(1, 4))]
            script.append(asks(*[(each, {"task": "Go."} if each.startswith("transfer") else {"n": n}) for n, each in enumerate(calls)]))
        chance = self._chance
        return agent(
            self._model([*script, says(f"{name} is done", cost=0.01)]),
            self._tool("steady", read_only=True),
            self._tool("failing", read_only=chance.random() < 0.5),
            name=name,
            subagents=lows,
            tool_parallelism=chance.choice([None, 1, 2]),
            join_policy=chance.choice(["all_required", "allow_optional_failures", "first_success"]),
            fail_safe=limits(
                max_wall_time_s=chance.choice([None, None, 5.0, 4_000.0]) if name == "boss" else None,
                max_tool_calls=chance.choice([3, 200]),
                tool_failure_policy=chance.choice(["continue_with_error", "retry_then_continue", "fail_run"]),
            ),
        )

    def _model(self, script: list[LLMResponse]) -> ScriptedModel:
        waits = [self._chance.choice(SECONDS) for _ in range(40)]
        fails = [self._chance.random() < 0.2 for _ in range(40)]

        async def answer(request: LLMRequest) -> LLMResponse:
            await self._clock.sleep(waits.pop())
            if fails.pop():
                raise LLMRetryableError("overloaded", status_code=503)
            return script[sum(message.role == "assistant" for message in request.messages)]

        return ScriptedModel(answer)

    def _tool(self, name: str, **options: Any) -> Tool[..., Any]:
        waits = [self._chance.choice(SECONDS) for _ in range(80)]
        errors = [self._chance.choice([None, ConnectionError("down"), ToolError("no")]) for _ in range(80)]

        @tool(name=name, **options)
        async def work(n: int) -> str:
            """Work."""
            await self._clock.sleep(waits.pop())
            error = errors.pop() if name == "failing" else None
            if error is not None:
                raise error
            return f"{name} {n}"

        return work


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_a_drawn_team_is_replayed_event_by_event(seed: int) -> None:
    clock = SimulatedClock(autojump_threshold_s=0.005, tick=1e-6)
    team = Drawn(seed, clock).team()
    dead = Exploding()
    async with Runner(log=":memory:", clock=clock, ids=SeededIds(seed)) as runner:
        result = await runner.run(team, user_message="go")
        await assert_same(runner, dead.agent(team), result.run_id)
        (first, *_rest) = await runner.log.read(result.run_id)
        await assert_same(runner, recorded_agent(spec_of(first)), result.run_id)
    assert dead.reached == []
