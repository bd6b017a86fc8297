"""Agents on which planted bugs can show: a shop's, with money, people, subagents and tight limits."""

from __future__ import annotations

from typing import Any, Literal

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.tools import tool

MODEL = "gpt-5.2-mini"


@tool
def refund(order: Literal["A-17", "B-4"], amount: Literal[10, 20, 30]) -> str:
    """Pay the money for an order back."""
    return f"{amount} for {order}"


@tool(idempotent=True)
def reserve(order: Literal["A-17", "B-4"]) -> str:
    """Put an order's goods aside."""
    return order


@tool(read_only=True, timeout=5.0)
async def look_up(order: Literal["A-17", "B-4"]) -> str:
    """Say what is known of an order."""
    return order


@tool(destructive=True)
def close_account(reason: Literal["angry", "idle"]) -> str:
    """Close the customer's account."""
    return reason


@tool
def note(text: Literal["a", "b"]) -> str:
    """Write something down."""
    return text


def rule(action: Any, name: str, **more: Any) -> PolicyRule:
    """About one tool."""
    return PolicyRule(rule_id=f"{action} {name}", action=action, condition=PolicyRuleCondition(tool_name=name), subjects=("tool",), **more)


RULES = PolicyEngine(
    [
        rule("request_approval", "refund"),
        rule("deny", "close_account", reason="never by itself"),
        rule("request_user_input", "note", request_payload={"argument": "text"}),
    ]
)

REWRITING = PolicyEngine([rule("request_approval", "refund", updated_tool_args={"amount": 10})])


def shop(*, tools: Any = (refund, reserve, look_up), policy: PolicyEngine | None = RULES, subagents: Any = (), **limits: Any) -> Agent:
    """The shop's agent, with these limits."""
    return Agent(
        name="shop",
        model=MODEL,
        instructions="Help.",
        tools=list(tools),
        subagents=list(subagents),
        policy_engine=policy,
        fail_safe=FailSafeConfig(**limits),
    )


SCOUT = Agent(name="scout", model=MODEL, instructions="Look.", tools=[look_up])
"""Looks things up."""

CLERK = Agent(name="clerk", model=MODEL, instructions="Write.", tools=[look_up], subagents=[SCOUT])
"""Has others look things up."""
