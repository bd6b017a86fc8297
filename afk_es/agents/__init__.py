"""Agents as descriptions: who acts, with what, within which limits and rules."""

from afk_es.agents.agent import Agent
from afk_es.agents.delegation import DelegationNode, DelegationPlan, RouterInput
from afk_es.agents.fail_safe import FailSafeConfig
from afk_es.agents.policy import PolicyDecision, PolicyEngine, PolicyEvent, PolicyRule, PolicyRuleCondition

__all__ = [
    "Agent",
    "FailSafeConfig",
    "DelegationPlan",
    "DelegationNode",
    "RouterInput",
    "PolicyEngine",
    "PolicyRule",
    "PolicyRuleCondition",
    "PolicyEvent",
    "PolicyDecision",
]
