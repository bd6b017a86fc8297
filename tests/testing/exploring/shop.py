"""A small shop's agent with bugs planted in it, and what its owner wants never to happen."""

from __future__ import annotations

from collections import Counter
from typing import Any

from afk_es.agents import Agent, PolicyEngine, PolicyEvent, PolicyRule
from afk_es.core import AgentRunEvent
from afk_es.machine import RunState
from afk_es.testing.exploring.trial import Stage
from afk_es.testing.simulation.asks import Ask
from afk_es.testing.simulation.facts import Answer, Call, ModelAnswers
from afk_es.testing.simulation.observing import ObservedRun, Observer
from afk_es.tools import tool


class RuleBrokenError(AssertionError):
    """What an invariant of these tests raises: it has the shape of those that are shipped."""

    def __init__(self, name: str, message: str, run_id: str = "", seq: int = 0) -> None:
        super().__init__(message)
        self.name = name
        self.run_id = run_id
        self.seq = seq


@tool
def issue_refund(order_id: str, amount: float) -> str:
    """Pay money back."""
    return f"{order_id}: {amount}"


@tool(read_only=True)
def look_up_order(order_id: str) -> str:
    """What was ordered."""
    return order_id


@tool(idempotent=True)
def charge(order_id: str, amount: float = 1.0) -> str:
    """Take money. That it is idempotent is not true."""
    return f"{order_id}: {amount}"


def _large(event: PolicyEvent) -> bool:
    """The planted bug: the rule forgets whoever pays back exactly 100."""
    amount = (event.tool_args or {}).get("amount", 0)
    return event.tool_name == "issue_refund" and (amount < 100 or amount > 100)


ASKS_FIRST = PolicyEngine([PolicyRule(rule_id="refunds", action="request_approval", condition=_large)])

clerk = Agent(name="clerk", model="gpt-x", instructions="Help.", tools=[look_up_order])
shop = Agent(
    name="shop",
    model="gpt-x",
    instructions="Help.",
    tools=[issue_refund, look_up_order, charge],
    subagents=[clerk],
    policy_engine=ASKS_FIRST,
)


class RefundsAreApproved(Observer):
    """No refund without a yes."""

    def __init__(self) -> None:
        self._granted = 0

    def appended(self, run: ObservedRun, event: AgentRunEvent, before: RunState, after: RunState) -> None:
        if event.type == "approval_resolved" and event.data.get("outcome") == "granted":
            self._granted += 1

    def asked(self, ask: Ask) -> None:
        if ask.kind == "tool" and ask.name == "issue_refund":
            self._granted -= 1
            if self._granted < 0:
                raise RuleBrokenError("refunds_are_approved", "a refund that nobody approved", ask.run_id)


class NeverPaysTwice(Observer):
    """One refund per conversation."""

    def __init__(self) -> None:
        self._paid = 0

    def asked(self, ask: Ask) -> None:
        self._paid += ask.kind == "tool" and ask.name == "issue_refund"
        if self._paid > 1:
            raise RuleBrokenError("never_pays_twice", "paid twice", ask.run_id)


class ChargesOnce(Observer):
    """Each call of `charge` is made at most once, whatever dies."""

    def __init__(self) -> None:
        self._charged: Counter[str] = Counter()

    def asked(self, ask: Ask) -> None:
        if ask.kind == "tool" and ask.name == "charge":
            assert ask.context is not None
            self._charged[ask.context.idempotency_key] += 1
            if self._charged[ask.context.idempotency_key] > 1:
                raise RuleBrokenError("charges_once", "charged again after a crash", ask.run_id)


def stage(*invariants: type[Observer], **arguments: Any) -> Stage:
    """The shop, watched."""
    return Stage(shop, lambda: [each() for each in invariants], arguments)


def says(number: int, *calls: tuple[str, dict[str, Any] | str], text: str = "", agent: str = "shop", **more: Any) -> Answer:
    """The model's n-th answer."""
    made = tuple(Call(f"call_{place}", name, arguments) for place, (name, arguments) in enumerate(calls))
    return Answer(f"model:{agent}:{number}", ModelAnswers(text, made, **more))
