"""Agents drawn from a seed: every kind of tool, rule, limit, failure policy, team, retention and interaction mode, in small numbers."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from afk_es.agents import (
    Agent,
    DelegationNode,
    DelegationPlan,
    FailSafeConfig,
    PolicyDecision,
    PolicyEngine,
    PolicyEvent,
    PolicyRule,
    PolicyRuleCondition,
    RouterInput,
)
from afk_es.core import RetentionPolicy, RunnerConfig
from afk_es.machine.spec import POLICIES
from afk_es.tools import ToolContext, tool

SECRET = "sk-simulated-3f9a81c27de54b60"
"""Handed to tools in confidence; no log may ever have it."""


@tool
def pay(amount: int, to: str = "ann") -> str:
    """Pay somebody; not to be done twice."""
    return f"paid {amount} to {to}"


@tool(read_only=True)
async def look(what: str) -> dict[str, str]:
    """Look something up."""
    return {"saw": what}


@tool(idempotent=True, timeout=7.0)
def put(key: str, ctx: ToolContext) -> str:
    """Store something under the key of the call, with a secret."""
    assert ctx.secrets.get("token") in (None, SECRET)
    return f"put {key}"


@tool(raise_on_error=True, timeout=3.0)
def strict(n: int) -> int:
    """Must not fail."""
    return n


TOOLS = (pay, look, put, strict)


class Report(BaseModel):
    """The final answer of agents that have an output type."""

    text: str
    score: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """What a seed simulates.

    Attributes:
        versions: of the agent; a run may go on with another one after a crash.
    """

    versions: tuple[Agent, ...]
    config: RunnerConfig
    policy_engine: PolicyEngine | None
    user_message: str


def scene(chance: random.Random) -> Scene:
    """A scene. Equal seeds draw equal ones."""
    retention = _retention(chance)
    config = RunnerConfig(
        interaction_mode=chance.choice(["interactive", "interactive", "external", "headless"]),
        approval_fallback=chance.choice(["deny", "allow", "defer"]),
        input_fallback=chance.choice(["deny", "allow", "defer"]),
        approval_timeout_s=chance.choice([5.0, 60.0, 1_000.0]),
        input_timeout_s=chance.choice([5.0, 1_000.0]),
        in_doubt=chance.choice(["report", "report", "ask", "retry"]),
        background_tools_enabled=chance.random() < 0.9,
        background_tool_default_grace_s=chance.choice([0.0, 0.0, 4.0]),
        background_tool_max_pending=chance.choice([1, 2, 256]),
        background_tool_result_ttl_s=chance.choice([20.0, 3_600.0]),
        background_tool_interrupt_on_resolve=chance.random() < 0.5,
        background_tool_at_end=chance.choice(["wait", "park", "report"]),
        max_parallel_subagents_global=chance.choice([1, 2, 64]),
        max_parallel_subagents_per_parent=chance.choice([1, 8]),
        thread_retention=retention,
        secret_scope_provider=_secrets if chance.random() < 0.3 else None,
    )
    agent = _agent(chance, "desk", depth=chance.choice([0, 0, 1, 1, 2]))
    later = agent.model_copy(update={"instructions": "Be long.", "tools": agent.tools[: chance.randint(0, len(agent.tools))]})
    versions = (agent, later) if chance.random() < 0.3 else (agent,)
    return Scene(versions, config, PolicyEngine(_rules(chance)) if chance.random() < 0.3 else None, chance.choice(["Hello", "Pay ann 3"]))


def _agent(chance: random.Random, name: str, depth: int) -> Agent:
    below = [_agent(chance, f"{name}-{letter}", depth - 1) for letter in "ab"[: chance.randint(1, 2)]] if depth else []
    return Agent(
        name=name,
        model=f"{name}-model",
        instructions="Be brief." if chance.random() < 0.5 else _instructions,
        tools=chance.sample(TOOLS, chance.randint(0 if below else 1, len(TOOLS))),
        subagents=tuple(below),
        subagent_router=_router if below and chance.random() < 0.3 else None,
        join_policy=chance.choice(["all_required", "allow_optional_failures", "first_success", "quorum"]),
        max_concurrent_subagents=chance.choice([None, 1]) if below else None,
        policy_engine=PolicyEngine(_rules(chance)) if chance.random() < 0.7 else None,
        policy_roles=(_cautious,) if chance.random() < 0.2 else (),
        output_type=Report if chance.random() < 0.15 else None,
        tool_parallelism=chance.choice([None, 1, 2]),
        fail_safe=_fail_safe(chance, name),
    )


def _fail_safe(chance: random.Random, name: str) -> FailSafeConfig:
    policies = sorted(POLICIES)
    return FailSafeConfig(
        llm_failure_policy=chance.choice(policies),
        tool_failure_policy=chance.choice(policies),
        subagent_failure_policy=chance.choice(policies),
        approval_denial_policy=chance.choice(policies),
        max_steps=chance.choice([2, 4, 8, 20]),
        max_llm_calls=chance.choice([2, 4, 8, 20]),
        max_tool_calls=chance.choice([0, 1, 3, 6, 200]),
        max_parallel_tools=chance.choice([1, 2, 16]),
        max_wall_time_s=chance.choice([None, 12.0, 300.0]),
        max_total_cost_usd=chance.choice([None, None, 0.5, 2.0]),
        max_subagent_depth=chance.choice([0, 1, 3]),
        max_subagent_fanout_per_step=chance.choice([1, 2, 4]),
        fallback_model_chain=chance.choice([(), (), (f"{name}-backup",)]),
        breaker_failure_threshold=chance.choice([1, 3, 5]),
        breaker_cooldown_s=chance.choice([1.0, 30.0]),
    )


def _rules(chance: random.Random) -> list[PolicyRule]:
    return chance.sample(RULES, chance.randint(1, 3))


def _condition(tool_name: str, args: dict[str, Any] | None = None) -> PolicyRuleCondition:
    return PolicyRuleCondition.model_validate({"tool_name": tool_name, **({"args": args} if args else {})})


def _retention(chance: random.Random) -> RetentionPolicy | None:
    if chance.random() < 0.75:
        return None
    return RetentionPolicy(
        max_messages=chance.choice([2, 3, 6]), keep_share=chance.choice([None, 1.0]), summariser=chance.choice([None, _unasked_summary])
    )


def _instructions(context: dict[str, Any]) -> str:
    return "Be kind."


def _cautious(event: PolicyEvent) -> PolicyDecision | None:
    return PolicyDecision(action="deny", reason="a role says no") if event.tool_name == "strict" else None


def _raises(event: PolicyEvent) -> bool:
    if event.tool_name == "strict":
        raise RuntimeError("the rule is broken")
    return False


def _secrets(context: ToolContext) -> dict[str, str]:
    return {"token": SECRET}


def _unasked_summary(messages: list[Any]) -> str:
    raise AssertionError("a simulation asks whoever drives it")


def _router(given: RouterInput) -> DelegationPlan | None:
    if given.step != 1:
        return None
    first, *others = given.subagents
    nodes = [DelegationNode(id="a", subagent=first, task="Find it")]
    nodes += [DelegationNode(id="b", subagent=name, task="Check it", inputs={"found": "a"}) for name in others[:1]]
    return DelegationPlan(nodes=tuple(nodes), edges=tuple(("a", "b") for _other in others[:1]))


RULES: tuple[PolicyRule, ...] = (
    PolicyRule(rule_id="large-payments", action="request_approval", condition=_condition("pay", {"amount": {"gt": 10}})),
    PolicyRule(rule_id="payments", action="request_approval", condition=_condition("pay")),
    PolicyRule(rule_id="no-payments", action="deny", condition=_condition("pay"), reason="not today"),
    PolicyRule(rule_id="to-bob", action="allow", condition=_condition("pay"), updated_tool_args={"to": "bob"}),
    PolicyRule(
        rule_id="whom",
        action="request_user_input",
        condition=_condition("pay", {"amount": {"lt": 0}}),
        request_payload={"prompt": "To whom?", "argument": "to"},
    ),
    PolicyRule(rule_id="later", action="defer", condition=_condition("put"), reason="not now"),
    PolicyRule(rule_id="raises", action="deny", condition=_raises, subjects=("tool",)),
    PolicyRule(rule_id="late-models", action="deny", condition=lambda event: event.step > 5, subjects=("llm",)),
    PolicyRule(rule_id="no-teams", action="deny", condition=lambda event: event.subagent_name == "desk-b", subjects=("subagent",)),
    PolicyRule(rule_id="ask-for-teams", action="request_approval", condition=lambda _event: True, subjects=("subagent",)),
)
