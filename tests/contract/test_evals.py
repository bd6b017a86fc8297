"""contract.md, "Evals"."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

import afk_es.evals
import afk_es.evals.models
from afk_es import Agent, FailSafeConfig, Runner, tool
from afk_es.core import AgentResult
from afk_es.evals import EvalSuiteConfig, EvalSuiteResult, arun_suite, run_suite
from afk_es.evals.models import EvalBudget, EvalCase
from afk_es.llms import LLMError, LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel


def said(text: str = "done") -> Agent:
    return Agent(model=ScriptedModel([LLMResponse(text=text, usage=Usage(8, 2, 10), cost_usd=0.5)]))


@tool
async def hang() -> str:
    """Never return."""
    await asyncio.Event().wait()
    return ""


@tool
def work() -> str:
    """Do a bit."""
    return "ok"


def wants(name: str) -> LLMResponse:
    return LLMResponse(tool_calls=(ToolCall("c1", name, {}),), usage=Usage(8, 2, 10), cost_usd=0.5)


def suite_of(*cases: EvalCase, **config: Any) -> EvalSuiteResult:
    return run_suite(runner_factory=lambda: Runner(log=":memory:"), cases=cases, config=EvalSuiteConfig(**config))


def test_both_names_can_be_had_from_both_places() -> None:
    """`from afk_es.evals import run_suite` · `from afk_es.evals.models import EvalCase, EvalBudget` (both names from both places)"""
    for name in ("EvalCase", "EvalBudget", "EvalSuiteConfig", "EvalCaseResult", "EvalSuiteResult"):
        assert getattr(afk_es.evals, name) is getattr(afk_es.evals.models, name)


def test_run_suite_answers_a_suite_with_total_passed_failed_pass_rate_and_results() -> None:
    """`run_suite(*, runner_factory, cases, config=None)` (sync; `arun_suite` async) -> suite with total, passed, failed, pass_rate, results"""
    suite = run_suite(
        runner_factory=lambda: Runner(log=":memory:"),
        cases=[
            EvalCase(name="a", agent=said(), user_message="hi"),
            EvalCase(name="b", agent=said(), user_message="hi", assertions=[lambda result: result.final_text == "else"]),
        ],
    )
    assert (suite.total, suite.passed, suite.failed, suite.pass_rate) == (2, 1, 1, 0.5)
    assert [(row.name, row.passed) for row in suite.results] == [("a", True), ("b", False)]


async def test_arun_suite_is_the_async_twin() -> None:
    suite = await arun_suite(runner_factory=lambda: Runner(log=":memory:"), cases=[EvalCase(name="a", agent=said(), user_message="hi")])
    assert suite.passed == 1


def test_a_case_has_the_fields_of_the_contract_and_is_frozen() -> None:
    """EvalCase: name, agent, user_message, context, thread_id, tags, budget, assertions, expected state, golden"""
    case = EvalCase(
        name="refund",
        agent=said(),
        user_message="hi",
        context={"user": "ada"},
        thread_id="thread_7",
        tags=("smoke",),
        budget=EvalBudget(max_duration_s=5, max_total_tokens=10, max_total_cost_usd=1, max_steps=1),
        assertions=[lambda result: result.thread_id == "thread_7"],
        expected_state="completed",
        golden=None,
    )
    assert suite_of(case).passed == 1
    with pytest.raises(ValidationError):
        case.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="budgett"):
        EvalCase(name="refund", agent=said(), budgett=None)  # type: ignore[call-arg]


def test_the_defaults_of_the_config() -> None:
    """EvalSuiteConfig: execution_mode (adaptive, sequential, parallel), max_concurrency 4, fail_fast, timeout_per_case_s, total_budget, ..."""
    config = EvalSuiteConfig()
    assert (config.execution_mode, config.max_concurrency, config.fail_fast) == ("adaptive", 4, False)
    assert (config.timeout_per_case_s, config.total_budget, config.budget) == (None, None, None)
    assert (config.assertions, config.scorers) == ((), ())
    for mode in ("adaptive", "sequential", "parallel"):
        assert EvalSuiteConfig(execution_mode=mode).execution_mode == mode
    with pytest.raises(ValidationError, match="adaptive"):
        EvalSuiteConfig(execution_mode="turbo")


def test_a_raising_case_a_hanging_one_a_failing_budget_and_one_that_expects_degraded_are_rows_and_the_suite_goes_on() -> None:
    """A case that fails or raises is a failed row; the suite goes on."""

    def raises(result: AgentResult) -> bool:
        raise LookupError("no order")

    suite = suite_of(
        EvalCase(name="raising", agent=said(), user_message="hi", assertions=[raises]),
        EvalCase(name="hanging", agent=Agent(model=ScriptedModel([wants("hang")]), tools=[hang]), user_message="hi", timeout_s=0.5),
        EvalCase(
            name="dear",
            agent=Agent(model=ScriptedModel([wants("work"), wants("work"), wants("work")]), tools=[work]),
            user_message="hi",
            budget=EvalBudget(max_total_cost_usd=0.75),
        ),
        EvalCase(
            name="degraded",
            agent=Agent(model=ScriptedModel([LLMError("down")]), fail_safe=FailSafeConfig(llm_failure_policy="degrade")),
            user_message="hi",
            expected_state="degraded",
        ),
        EvalCase(name="fine", agent=said(), user_message="hi"),
    )
    rows = {row.name: row for row in suite.results}
    assert {name: row.passed for name, row in rows.items()} == {
        "raising": False,
        "hanging": False,
        "dear": False,
        "degraded": True,
        "fine": True,
    }
    assert "LookupError: no order" in rows["raising"].reasons[0].message
    assert "0.5 s" in rows["hanging"].reasons[0].message
    assert rows["dear"].reasons[0].message == "max_total_cost_usd: 1 of 0.75 used"
    assert rows["degraded"].state == "degraded"


def test_budgets_are_enforced_during_the_run() -> None:
    """EvalBudget: max_duration_s, max_total_tokens, max_total_cost_usd, max_steps, enforced during the run."""
    for name, value, calls in (("max_total_tokens", 15, 2), ("max_total_cost_usd", 1.2, 3), ("max_steps", 1, 1)):
        model = ScriptedModel([wants("work")] * 9)
        case = EvalCase(
            name=name,
            agent=Agent(model=model, tools=[work]),
            user_message="hi",
            budget=EvalBudget(**{name: value}),
        )
        assert suite_of(case).failed == 1
        assert len(model.requests) == calls
    slow = Agent(model=ScriptedModel([wants("hang")]), tools=[hang])
    (row,) = suite_of(EvalCase(name="slow", agent=slow, user_message="hi", budget=EvalBudget(max_duration_s=0.1))).results
    assert (row.passed, row.state) == (False, "interrupted")


def test_fail_fast_and_the_total_budget_leave_cases_out() -> None:
    cases = [EvalCase(name=f"case-{n}", agent=said(), user_message="hi", assertions=[lambda result: False]) for n in range(3)]
    assert [row.outcome for row in suite_of(*cases, fail_fast=True).results] == ["failed", "not_run", "not_run"]
    paid = [EvalCase(name=f"case-{n}", agent=said(), user_message="hi") for n in range(3)]
    stopped = suite_of(*paid, total_budget=EvalBudget(max_total_cost_usd=0.5), execution_mode="sequential")
    assert [row.outcome for row in stopped.results] == ["passed", "not_run", "not_run"]


def test_the_suites_assertions_scorers_and_budget_hold_for_every_case() -> None:
    suite = suite_of(
        EvalCase(name="a", agent=said(), user_message="hi"),
        assertions=[lambda result: result.final_text == "done"],
        scorers=[lambda result: 0.5],
        budget=EvalBudget(max_total_tokens=9),
    )
    (row,) = suite.results
    assert (row.scores, row.outcome) == ({"<lambda> (2)": 0.5}, "failed")
    assert row.reasons[0].message == "max_total_tokens: 10 of 9 used"
