"""The rules of the check verb as assertions, and what a run and its subagents have used."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.debugger import ExpressionError
from afk_es.debugger.checks import Checks
from afk_es.errors import UsageError
from afk_es.evals.assertions.run_checks import checks, no_errors, within
from tests.debugger.recorded import agent, asks, look, says
from tests.evals.evidences import calling, ran

LOOK, FAILING = ("look", {"order": 1}), ("refund", {"order": 13})


@pytest.mark.parametrize(
    ("rules", "passes"),
    [
        ({"no_errors": True}, False),
        ({"max_repeats": 2}, True),
        ({"max_repeats": 1}, False),
        ({"state": "completed", "tool_called": "look", "no_tool": ("delete",)}, True),
        ({"never": 'tool = "refund"'}, False),
        ({"never": ['tool = "label"'], "max_steps": 4}, True),
        ({"max_cost_usd": 0.5}, False),
    ],
)
async def test_every_rule_of_the_check_verb_is_an_assertion(rules: dict[str, Any], passes: bool) -> None:
    found = await checks(**rules).check(await calling((LOOK,), (LOOK,), (FAILING,)))
    assert found.passed is passes
    assert bool(found.positions) is not passes
    assert len(found.details["rules"]) == len(rules)
    assert found.message


async def test_the_name_is_the_rules_unless_one_is_given() -> None:
    assert checks(no_errors=True, max_steps=4).name == "checks no_errors, max_steps=4"
    assert checks(Checks(no_tool=("a", "b"))).name == "checks no_tool=a|b"
    assert checks(no_errors=True, name="clean").name == "clean"
    found = await no_errors().check(await calling((FAILING,)))
    assert (found.name, found.passed) == ("no_errors", False)
    assert found.message.startswith("no-errors: ")


async def test_what_is_no_rule_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="there is no rule max_cost; there are: no_errors"):
        checks(max_cost=1)
    with pytest.raises(UsageError, match="at least one rule"):
        checks()
    with pytest.raises(UsageError, match="not both"):
        checks(Checks(no_errors=True), max_steps=4)
    with pytest.raises(UsageError, match="max_steps"):
        checks(max_steps="four")
    with pytest.raises(UsageError, match="no state of a run"):
        checks(state="fine")
    with pytest.raises(ExpressionError):
        checks(never="tool ==")


@pytest.mark.parametrize(
    ("limits", "passes", "message"),
    [
        ({"steps": 3}, True, "3 steps"),
        ({"steps": 2}, False, "3 steps, at most 2 steps"),
        ({"cost_usd": 0.75, "tokens": 36}, True, "$0.75; 36 tokens"),
        ({"cost_usd": 0.74, "tokens": 36}, False, "$0.75, at most $0.74"),
        ({"tool_calls": 1, "llm_calls": 2}, False, "3 llm calls, at most 2 llm calls; 2 tool calls, at most 1 tool calls"),
        ({"duration_s": 3600}, True, None),
        ({"duration_s": 0}, False, None),
    ],
)
async def test_a_run_is_within_what_is_given_or_not(limits: dict[str, Any], passes: bool, message: str | None) -> None:
    found = within(**limits).check(await calling((LOOK,), (LOOK,)))
    assert found.passed is passes
    assert message is None or found.message == message
    assert set(found.details["used"]) == set(limits)


async def test_what_subagents_spent_counts() -> None:
    helper = agent(asks(LOOK), says("looked"), tools=(look,)).model_copy(update={"name": "helper"})
    evidence = await ran(agent(asks(("transfer_to_helper", {"task": "look"})), says("done"), subagents=(helper,)))
    assert within(cost_usd=1.0).check(evidence).passed
    assert not within(cost_usd=0.99).check(evidence).passed


async def test_a_cost_that_nobody_knows_is_not_within_one() -> None:
    found = within(cost_usd=1).check(await ran(agent("free")))
    assert (found.passed, found.message) == (False, "its cost is not known: no answer carried a price")


@pytest.mark.parametrize("limits", [{}, {"steps": -1}, {"tokens": "many"}, {"cost_usd": float("nan")}, {"steps": True}])
def test_a_limit_is_a_number_from_nothing(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        within(**limits)
