"""Assertions on what a run came to, in code and as data: what passes, what fails, and what a failure says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es import Runner
from afk_es.core import AgentResult
from afk_es.errors import ConfigurationError
from afk_es.evals.assertions.answers import EqualsExpected, JsonPathEquals
from afk_es.evals.assertions.criteria import require_assertion
from afk_es.evals.assertions.data import assertion_from, assertions_from, forms, register_assertion
from afk_es.evals.assertions.paths import MISSING, path_steps, value_at
from afk_es.evals.evidence import Evidence
from afk_es.evals.verdict import Verdict
from afk_es.llms import LLMResponse
from tests.evals.suites import agent, answer, look, polite, wants


class Order(BaseModel):
    """A structured answer."""

    id: str
    items: list[dict[str, Any]]
    paid: bool


async def evidence_of(*script: LLMResponse, expected: Any = None, **fields: Any) -> Evidence:
    """A run of an agent with one tool, as a check sees it."""
    async with Runner(log=":memory:") as runner:
        result = await runner.run(agent(*script, tools=(look,), **fields), user_message="hi")
        return Evidence(result, runner.log, polite(expected_output=expected))


def judged(data: Any, evidence: Evidence) -> Verdict:
    """What the assertion of this data says."""
    verdict = assertion_from(data).check(evidence)
    assert isinstance(verdict, Verdict)
    return verdict


@pytest.mark.parametrize(
    ("data", "passed"),
    [
        ({"contains": "Refunded 80"}, True),
        ({"contains": "refunded"}, False),
        ({"contains": {"text": "refunded", "ignore_case": True}}, True),
        ({"not_contains": "sorry"}, True),
        ({"not_contains": "80"}, False),
        ({"not_contains": {"text": "REFUNDED", "ignore_case": True}}, False),
        ({"equals": "Refunded 80 USD"}, True),
        ({"equals": "Refunded 80 USD "}, False),
        ({"matches": r"\b\d+ USD$"}, True),
        ({"matches": r"^\d"}, False),
        ({"state": "completed"}, True),
        ({"state": ["failed", "degraded"]}, False),
        ({"tool_called": "look"}, True),
        ({"tool_called": {"tool_name": "look", "times": 2}}, True),
        ({"tool_called": {"tool_name": "look", "times": 1}}, False),
        ({"tool_called": "refund"}, False),
        ({"no_tool": "refund"}, True),
        ({"no_tool": "look"}, False),
        ({"no_tool": True}, False),
        ({"max_steps": 2}, True),
        ({"max_steps": 1}, False),
    ],
)
async def test_every_form_passes_and_fails_and_a_failure_says_what_was_found(data: dict[str, Any], passed: bool) -> None:
    evidence = await evidence_of(wants("look", "look"), answer("Refunded 80 USD"))
    verdict = judged(data, evidence)
    assert verdict.passed is passed
    assert bool(verdict.message) is not passed
    assert verdict.name.startswith(next(iter(data)))


async def test_failures_say_what_there_is() -> None:
    evidence = await evidence_of(wants("look"), answer("Refunded 80 USD"))
    assert judged({"tool_called": "refund"}, evidence).message == "refund was called not (called: look)"
    assert judged({"equals": "x"}, evidence).message == "the final text is 'Refunded 80 USD', expected 'x'"
    assert judged({"max_steps": 1}, evidence).message == "the run took 2 steps of at most 1"


@pytest.mark.parametrize("structured", [True, False])
async def test_paths_look_into_a_structured_answer_or_into_a_text_that_is_json(structured: bool) -> None:
    text = '{"id": "A-17", "items": [{"sku": 1, "price": 80}], "paid": true}'
    evidence = await evidence_of(answer(text), **({"output_type": Order} if structured else {}))
    assert evidence.result.state == "completed"
    for path, expected, passed in [
        ("id", "A-17", True),
        ("$.items[0].price", 80, True),
        ("items[-1].sku", 1, True),
        ("items[0].sku", True, False),
        ("paid", 1, False),
        ("paid", True, True),
        ("items[1].sku", 1, False),
        ("nowhere", None, False),
    ]:
        verdict = judged({"json_path": {"path": path, "equals": expected}}, evidence)
        assert verdict.passed is passed, (path, verdict)
    assert judged({"equals": {"id": "A-17", "items": [{"sku": 1, "price": 80}], "paid": True}}, evidence).passed
    assert not judged({"equals": {"id": "A-17", "items": [], "paid": True}}, evidence).passed


async def test_a_text_that_is_no_json_has_nothing_at_a_path() -> None:
    evidence = await evidence_of(answer("not json"))
    assert JsonPathEquals("a", 1).check(evidence).message == "the answer is no JSON: 'not json'"
    assert not judged({"equals": 17}, evidence).passed


async def test_the_expected_output_is_the_cases_and_without_one_the_check_is_not_exercised() -> None:
    right = await evidence_of(answer("80"), expected="80")
    wrong = await evidence_of(answer("80"), expected={"amount": 80})
    without = await evidence_of(answer("80"))
    assert judged({"equals_expected": True}, right) == Verdict("equals_expected", True)
    assert not EqualsExpected().check(wrong).passed
    assert EqualsExpected().check(without).exercised is False


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("contains", "an assertion is an object with one key"),
        ({}, "an assertion is an object with one key"),
        ({"contains": "a", "equals": "b"}, "an assertion is an object with one key"),
        ({"contain": "a"}, "did you mean 'contains'"),
        ({"zzz": "a"}, "there are always, at_most"),
        ({"contains": ""}, "contains takes a non-empty text"),
        ({"contains": {"txt": "a"}}, "contains has no 'txt'; it takes text, ignore_case"),
        ({"contains": {"ignore_case": True}}, "contains needs 'text'"),
        ({"matches": "("}, "is no regular expression"),
        ({"state": "done"}, "state is one or more of completed"),
        ({"state": []}, "state is one or more of completed"),
        ({"tool_called": {"tool_name": "a", "times": 0}}, "times is a whole number from 1"),
        ({"max_steps": True}, "max_steps is a whole number from 1"),
        ({"no_tool": 3}, "no_tool takes a non-empty text"),
        ({"json_path": "a"}, "json_path takes an object"),
        ({"json_path": {"path": "a..b", "equals": 1}}, "is no path"),
        ({"equals_expected": "a"}, "equals_expected takes true"),
    ],
)
def test_data_that_is_no_assertion_is_refused_with_the_way_out(data: Any, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        assertion_from(data)
    assert said in str(refused.value)
    with pytest.raises(ConfigurationError, match=r"^\[1\]: "):
        assertions_from([{"contains": "a"}, data])


def test_forms_of_ones_own_can_be_registered_once() -> None:
    class Polite:
        name = "polite"

        def check(self, evidence: Evidence) -> Verdict:
            return Verdict(self.name, "please" in evidence.result.final_text)

    form = "polite in tests"
    register_assertion(form, lambda data: Polite())
    assert form in forms()
    require_assertion(assertion_from({form: True}))
    for taken in (form, "contains"):
        with pytest.raises(ConfigurationError, match="already"):
            register_assertion(taken, lambda data: Polite())


def test_paths() -> None:
    data = {"a": [{"b.c": 1}, None]}
    assert path_steps("$.a[0]['b.c']") == ("a", 0, "b.c")
    assert value_at(data, path_steps('a[0]["b.c"]')) == 1
    assert value_at(data, path_steps("a[1]")) is None
    assert value_at(data, path_steps("a[2]")) is MISSING
    assert value_at(data, path_steps("a.b")) is MISSING
    assert value_at(data, path_steps("")) is data


def test_a_result_without_a_log_is_enough_for_them() -> None:
    """They are asked of recorded runs as well, whose log may hold nothing more."""

    async def result() -> AgentResult:
        return (await evidence_of(answer("80"))).result

    evidence = Evidence(asyncio.run(result()), None)  # type: ignore[arg-type]
    assert judged({"equals": "80"}, evidence).passed
