"""Goal: an adversary knows the words that an agent's rules and promises turn on, since chance alone would never come to an edge."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field

from afk_es.agents import Agent, PolicyEngine, PolicyEvent, PolicyRule, PolicyRuleCondition
from afk_es.testing import ScriptedModel, requires_approval
from afk_es.testing.exploring.acquaintance import Acquaintance, output_schema
from afk_es.tools import tool

LARGE = 7_500


@tool
def pay(account: str, amount: int) -> dict[str, int]:
    """Pay."""
    return {"paid": amount}


@tool
def look(what: str):  # type: ignore[no-untyped-def]  # that it says nothing of what it returns is the point
    """Look."""
    return what


def too_much(event: PolicyEvent) -> bool:
    return event.tool_name == "pay" and event.tool_args["amount"] > LARGE and event.tool_args["account"] not in ("DE-1", "DE-2")


def agent(*rules: PolicyRule) -> Agent:
    return Agent(name="clerk", model=ScriptedModel([]), tools=[pay, look], policy_engine=PolicyEngine(rules))


def test_numbers_texts_and_tools_of_conditions_as_data() -> None:
    condition = PolicyRuleCondition.model_validate({"tool_name": "pa*", "args": {"amount": {"gt": 50}, "account": {"eq": "IBAN"}}})
    known = Acquaintance([agent(PolicyRule(action="deny", condition=condition))])
    assert known.numbers == (50,)
    assert {49, 51, 50.01} < set(known.near)
    assert "IBAN" in known.texts
    assert known.ruled == {"pay"}


def test_numbers_texts_and_tools_of_conditions_as_code() -> None:
    known = Acquaintance([agent(PolicyRule(action="deny", condition=too_much))])
    assert LARGE in known.numbers
    assert {"DE-1", "DE-2"} <= set(known.texts)
    assert known.ruled == {"pay"}


def test_numbers_and_tools_of_promises_and_words_of_the_context() -> None:
    promises = [requires_approval("look", when=lambda arguments: len(arguments["what"]) > 12)]
    known = Acquaintance([agent()], context={"customer": {"id": "C-9", "limit": 30}}, promises=promises)
    assert {12, 30} <= set(known.numbers)
    assert known.texts == ("C-9",)
    assert known.ruled == {"look"}


def test_a_tool_s_annotation_says_what_it_may_return() -> None:
    class Colour(enum.Enum):
        RED = "red"

    @tool
    def colour() -> Colour:
        """A colour."""
        return Colour.RED

    @tool
    def mixed(base: Colour) -> Annotated[int, Field(ge=3)]:
        """A number."""
        return 3

    assert output_schema(mixed) == {"type": "integer", "minimum": 3}, "what an argument is does not matter, and what is annotated does"
    assert output_schema(pay) == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert output_schema(look) is None
    assert output_schema(colour) is None, "a local class that is only named cannot be looked up, which is no reason to fail"
