"""The demo's desk with other policies, for explorations."""

from __future__ import annotations

from typing import Any

from afk_es.agents import Agent, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.cli.demo_agent import agent as demo_desk

desk: Agent = demo_desk


def desk_that_asks(**compared: Any) -> Agent:
    """The desk, with an approval rule for refunds whose amount compares so."""
    rule = PolicyRule(
        rule_id="ask-first",
        action="request_approval",
        condition=PolicyRuleCondition.model_validate({"tool_name": "issue_refund", "args": {"amount": compared}}),
    )
    return desk.model_copy(update={"policy_engine": PolicyEngine([rule])})


def of_50_or_more(arguments: Any) -> bool:
    """Which refunds need a person's word."""
    return bool(arguments["amount"] >= 50)
