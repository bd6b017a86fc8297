"""The desk: an agent with a model that is a script, tools, a policy and limits; runs of it, goldens of them, and edits of both."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule
from afk_es.clock import SeededIds, SimulatedClock
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.evals.goldens.golden import Golden
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import tool

INSTRUCTIONS = "You are the returns desk.\nLook every order up before you pay anything back.\nBe brief, and never promise a date."


@tool(read_only=True, timeout=5.0)
async def look(order: int) -> dict[str, Any]:
    """Look an order up."""
    return {"order": order, "status": "lost", "paid": 20}


@tool(timeout=10.0)
async def refund(order: int, amount: int) -> str:
    """Pay money back for an order."""
    return f"refunded {amount} for {order}"


@tool
async def notify(order: int) -> str:
    """Tell the customer."""
    return f"told about {order}"


TOOLS = (look, refund, notify)


def asks(*wanted: tuple[str, dict[str, Any]], text: str = "") -> LLMResponse:
    """An answer that calls tools."""
    calls = tuple(ToolCall(f"c{index}", name, arguments) for index, (name, arguments) in enumerate(wanted, start=1))
    return LLMResponse(text=text, tool_calls=calls, finish_reason="tool_calls", usage=Usage(10, 2, 12), cost_usd=0.25)


def says(text: str) -> LLMResponse:
    """A final answer."""
    return LLMResponse(text=text, finish_reason="stop", usage=Usage(10, 2, 12), cost_usd=0.25)


LOOK: tuple[str, dict[str, Any]] = ("look", {"order": 7})
REFUND: tuple[str, dict[str, Any]] = ("refund", {"order": 7, "amount": 20})
NOTIFY: tuple[str, dict[str, Any]] = ("notify", {"order": 7})
ANSWER = "Order 7 was lost; 20 EUR are on their way back."

SCRIPT: tuple[Any, ...] = (asks(LOOK), asks(REFUND, NOTIFY), says(ANSWER))


def agent(*script: Any, tools: Sequence[Any] = TOOLS, limits: dict[str, Any] | None = None, **fields: Any) -> Agent:
    """The desk, with what a test changes of it; without a script, the one that was recorded."""
    safe = {"max_wall_time_s": None, **(limits or {})}
    settings: dict[str, Any] = {"instructions": INSTRUCTIONS, "reasoning_effort": "low", **fields}
    return Agent(name="desk", model=ScriptedModel(list(script or SCRIPT)), tools=tools, fail_safe=FailSafeConfig(**safe), **settings)


def rules(*, largest: int = 100) -> PolicyEngine:
    """Refunds above that need a person."""

    def too_large(event: Any) -> bool:
        return event.tool_name == "refund" and int(event.tool_args["amount"]) > largest

    return PolicyEngine([PolicyRule(rule_id="large-refunds", action="deny", condition=too_large, reason="that is a lot of money")])


async def ran(
    described: Agent | None = None, *, log: MemoryEventLog | None = None, seed: int = 0, policy: PolicyEngine | None = None, **config: Any
) -> tuple[MemoryEventLog, AgentResult]:
    """A run of the agent that really happens, in a log in memory, which is left open."""
    log = log if log is not None else MemoryEventLog()
    clock = SimulatedClock(tick=0.01, autojump_threshold_s=0.01)
    runner = Runner(log=log, config=RunnerConfig(**config), policy_engine=policy or rules(), clock=clock, ids=SeededIds(seed))
    async with runner:
        result = await runner.run(described or agent(), user_message="Where is order 7?")
    await log.open()
    return log, result


async def recorded(
    described: Agent | None = None, *, policy: PolicyEngine | None = None, name: str = "lost-order", **config: Any
) -> Golden:
    """A golden of a run of the agent."""
    log, result = await ran(described, policy=policy, **config)
    return await Golden.of(log, result.run_id, name=name)


Edit = Callable[[list[dict[str, Any]]], None]
"""Changes the lines of a golden file, decoded."""


def edited(golden: Golden, directory: Path, edit: Edit) -> Golden:
    """The golden as it is read back after somebody has edited its file."""
    path = directory / f"{golden.name}.golden.jsonl"
    golden.write(path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    edit(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Golden.read(path)


def events_in(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The lines that are events of that type."""
    return [line for line in lines if line.get("fact") == "event" and line["type"] == kind]


def facts_in(lines: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """The lines of that kind."""
    return [line for line in lines if line.get("fact") == kind]
