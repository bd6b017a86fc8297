"""Runs for the tests of the views: real ones, made by a Runner with a scripted model and a simulated clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import Runner, RunnerConfig
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, tool

USAGE = Usage(10, 2, 12)


def calls(*wanted: tuple[str, dict[str, Any]], text: str = "") -> LLMResponse:
    """An answer that calls tools; the ids are c1, c2, ..."""
    asked = tuple(ToolCall(f"c{index}", name, arguments) for index, (name, arguments) in enumerate(wanted, start=1))
    return LLMResponse(text=text, tool_calls=asked, finish_reason="tool_calls", usage=USAGE, cost_usd=0.25)


# Async ones: a thread would race with the simulated clock.
@tool(read_only=True)
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Flaky:
    """A tool that loses its connection at the first call."""

    def __init__(self) -> None:
        self.asked = 0

    def tool(self) -> Tool[..., Any]:
        """It, as a tool that may be repeated."""

        @tool(read_only=True)
        async def flaky() -> str:
            self.asked += 1
            if self.asked == 1:
                raise ConnectionError("reset")
            return "well"

        return flaky


def agent(*script: Any, tools: tuple[Callable[..., Any], ...] = (add,), **fields: Any) -> Agent:
    """An agent that answers from the script, and has no wall-time limit unless it is said."""
    fields.setdefault("fail_safe", FailSafeConfig(max_wall_time_s=None))
    return Agent(model=ScriptedModel(list(script)), tools=tools, instructions="Be brief.", **fields)


def denying(tool_name: str) -> PolicyEngine:
    """A policy that denies this tool."""
    condition = PolicyRuleCondition(tool_name=tool_name)
    return PolicyEngine([PolicyRule(rule_id="never", action="deny", condition=condition, subjects=("tool",), reason="not today")])


async def events_of(described: Agent, message: str = "go", **config: Any) -> list[AgentRunEvent]:
    """The events of one run of the agent."""
    log = MemoryEventLog()
    # A clock that jumps would, on a busy machine, jump to the deadline of a run that has one.
    jumps = described.fail_safe.max_wall_time_s is None
    clock = SimulatedClock(tick=0.01, autojump_threshold_s=0.01 if jumps else None)
    async with Runner(log=log, clock=clock, ids=SeededIds(1), config=RunnerConfig(**config)) as runner:
        result = await runner.run(described, user_message=message, context={"user_id": "ada"})
        return await log.read(result.run_id)


async def eventful() -> list[AgentRunEvent]:
    """A run with a retry, a denial, two calls at once and an answer."""
    script = (
        calls(("add", {"a": 1, "b": 2}), ("flaky", {})),
        calls(("forbidden", {})),
        LLMResponse(text="It is 3.", usage=USAGE, cost_usd=0.25),
    )

    @tool
    async def forbidden() -> str:
        return "never"

    described = agent(
        *script,
        tools=(add, Flaky().tool(), forbidden),
        policy_engine=denying("forbidden"),
        fail_safe=FailSafeConfig(tool_failure_policy="retry_then_continue", max_wall_time_s=None),
    )
    return await events_of(described)
