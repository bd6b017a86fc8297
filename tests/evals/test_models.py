"""Cases and configs refuse what cannot work when they are made, and say what to write."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from afk_es.core import AgentResult
from afk_es.evals.assertions.criteria import name_of, require_assertion, require_scorer
from afk_es.evals.evidence import Evidence
from afk_es.evals.models import EvalBudget, EvalCase, EvalSuiteConfig
from afk_es.evals.verdict import Verdict
from tests.evals.suites import agent, polite

ROOT = Path(__file__).parents[2]


class Unnamed:
    def check(self, evidence: Evidence) -> Verdict:
        return Verdict("unnamed", True)


class Callable_:
    """An object that is called, and has a name."""

    name = "callable"

    def __call__(self, result: AgentResult) -> bool:
        return True


class Greedy:
    name = "greedy"

    def check(self, evidence: Evidence, result: AgentResult) -> Verdict:
        return Verdict("greedy", True)


def two(result: AgentResult, other: AgentResult) -> bool:
    return True


def three(result: AgentResult, other: int) -> bool:
    return True


@pytest.mark.parametrize(
    ("assertion", "said"),
    [
        (two, "'two' cannot be called with the result alone (missing a required argument: 'other')"),
        (lambda: True, "'<lambda>' cannot be called with the result alone (too many positional arguments)"),
        (Greedy(), "'greedy' cannot be called with the evidence alone"),
        (Unnamed(), "Unnamed has `check` and no `name`"),
        (Greedy, "write Greedy(...)"),
        ("contains refund", "'contains refund' is not an assertion"),
        (None, "None is not an assertion"),
    ],
)
def test_an_assertion_that_cannot_be_asked_is_refused_when_the_case_is_made(assertion: Any, said: str) -> None:
    for make in (partial(polite, assertions=[assertion]), partial(EvalSuiteConfig, assertions=[assertion])):
        with pytest.raises(ValidationError) as refused:
            make()
        assert said in str(refused.value)


def test_a_scorer_that_cannot_be_asked_is_refused_as_well() -> None:
    for make in (partial(polite, scorers=two), partial(EvalSuiteConfig, scorers=two)):
        with pytest.raises(ValidationError, match="a scorer is a function"):
            make()


def test_one_criterion_may_stand_for_a_list_of_one() -> None:
    asked = Callable_()
    assert polite(assertions=asked, scorers=asked).assertions == (asked,)


def test_functions_with_further_arguments_that_have_defaults_and_builtins_are_taken() -> None:
    def lenient(result: AgentResult, *, strict: bool = False) -> bool:
        return True

    for taken in (lenient, partial(three, other=1), bool.__call__, Callable_()):
        require_assertion(taken)
    require_scorer(float.__call__)


def test_criteria_are_called_by_their_names() -> None:
    assert [name_of(each) for each in (Callable_(), two, partial(three, other=1))] == ["callable", "two", "partial"]


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "  "},
        {"repeats": 0},
        {"repeats": 10_001},
        {"timeout_s": 0},
        {"expected_state": "done"},
        {"thread_id": ""},
        {"agent": "desk"},
        {"unknown": 1},
        {"metadata": {"when": object()}},
    ],
)
def test_malformed_cases_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EvalCase(**{"name": "case", "agent": agent("x"), **fields})


@pytest.mark.parametrize("field", ["max_duration_s", "max_total_tokens", "max_total_cost_usd", "max_steps"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "much"])
def test_a_budget_is_a_number_above_nought(field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        EvalBudget(**{field: value})


def test_a_state_is_accepted_by_name_by_list_or_in_any_case() -> None:
    assert polite().accepts("completed")
    assert not polite().accepts("degraded")
    assert polite(expected_state=("completed", "degraded")).accepts("degraded")
    assert polite(expected_state="any").accepts("failed")


def test_importing_the_models_loads_no_vendor_and_no_yaml() -> None:
    code = "import sys, afk_es.evals.suite; print([m for m in ('litellm', 'textual', 'hypothesis', 'yaml', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
