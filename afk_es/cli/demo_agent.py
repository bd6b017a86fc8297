"""The agent of the demo, and an example of one: a support desk over a shop's database.

Its tools say what they are: reads may be repeated at will; `notify_customer` is idempotent, because the shop takes the key of the call;
`issue_refund` is neither, so the runtime never runs a call of it a second time by itself. The model is a script, so that the demo needs
no key; put a model's name in its place and the rest stays as it is. Where the shop lies is in the run's context, and with it in the log:

    afk-es run afk_es.cli.demo_agent:agent "..." --context '{"shop": "shop.db"}'
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule, PolicyRuleCondition
from afk_es.cli.demo_script import script
from afk_es.cli.demo_shop import Shop
from afk_es.errors import ToolError
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool


def _shop(ctx: ToolContext) -> Shop:
    path = ctx.metadata.get("shop")
    if not isinstance(path, str) or not Path(path).is_file():
        raise ToolError(f"there is no shop at {path!r}; `afk-es demo` makes one, and the run's context says where it is")
    return Shop(Path(path))


@tool(read_only=True)
def find_customer(email: str, ctx: ToolContext) -> dict[str, Any]:
    """The customer with this e-mail address."""
    found = _shop(ctx).customer(email)
    if found is None:
        raise ToolError(f"no customer has the address {email}")
    return found


@tool(read_only=True)
def find_order(order_id: str, ctx: ToolContext) -> dict[str, Any]:
    """An order: what was bought, at what price, and its parcel."""
    found = _shop(ctx).order(order_id)
    if found is None:
        raise ToolError(f"there is no order {order_id}")
    return found


@tool(read_only=True, open_world=True)
def track_parcel(parcel_id: str, ctx: ToolContext) -> str:
    """Where a parcel is, by the carrier's word."""
    return _shop(ctx).track(parcel_id)


@tool(read_only=True)
def list_refunds(order_id: str, ctx: ToolContext) -> list[dict[str, Any]]:
    """The refunds issued for an order so far."""
    return _shop(ctx).refunds(order_id)


@tool(destructive=True)
def issue_refund(order_id: str, amount: float, reason: str, ctx: ToolContext) -> dict[str, Any]:
    """Pay money back for an order.

    Args:
        amount: in US dollars.
    """
    return {"refund_id": _shop(ctx).issue_refund(order_id, amount, reason), "amount": amount}


@tool(idempotent=True)
def notify_customer(customer_id: str, text: str, ctx: ToolContext) -> str:
    """Send the customer an e-mail."""
    _shop(ctx).notify(ctx.idempotency_key, customer_id, text)
    return "sent"


small_refunds_only: PolicyRule = PolicyRule(
    rule_id="refunds-above-100",
    action="deny",
    subjects=("tool",),
    condition=PolicyRuleCondition.model_validate({"tool_name": "issue_refund", "args": {"amount": {"gt": 100}}}),
    reason="refunds above 100 USD need a supervisor",
)

agent: Agent = Agent(
    name="support-desk",
    model=ScriptedModel(script, model="scripted-desk"),
    instructions=(
        "You are the support desk of a small shop. Look before you act: find the customer and the order, track the parcel. "
        "Refund what is broken, and tell the customer. Never issue a refund twice: when in doubt, list the refunds first."
    ),
    tools=[find_customer, find_order, track_parcel, list_refunds, issue_refund, notify_customer],
    policy_engine=PolicyEngine([small_refunds_only]),
    fail_safe=FailSafeConfig(tool_failure_policy="retry_then_continue", max_llm_calls=20),
)
