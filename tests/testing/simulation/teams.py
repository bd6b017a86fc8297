"""Small agents that between them have everything a simulated world can meet."""

from __future__ import annotations

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.testing import Call, ModelAnswers
from afk_es.tools import tool


@tool
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@tool(read_only=True)
async def look(what: str) -> str:
    """Look."""
    return f"saw {what}"


payments_need_a_yes: PolicyRule = PolicyRule(
    rule_id="payments", action="request_approval", condition=PolicyRuleCondition(tool_name="pay"), reason="money"
)


def desk(**changes: object) -> Agent:
    """An agent that pays and looks, with a scout below it."""
    scout = Agent(name="scout", model="scout-model", instructions="Look.", tools=[look])
    settings: dict[str, object] = {
        "name": "desk",
        "model": "desk-model",
        "instructions": "Be brief.",
        "tools": [pay, look],
        "subagents": [scout],
        "policy_engine": PolicyEngine([payments_need_a_yes]),
        "fail_safe": FailSafeConfig(max_llm_calls=20),
    }
    return Agent.model_validate({**settings, **changes})


def wants(*calls: tuple[str, dict[str, object]]) -> ModelAnswers:
    """The model asks for these calls."""
    return ModelAnswers(calls=tuple(Call(f"c{index}", name, dict(arguments)) for index, (name, arguments) in enumerate(calls)))
