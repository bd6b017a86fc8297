"""Claims, trajectories, limits and judges as data of a dataset."""

from __future__ import annotations

from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.evals.assertions import data as assertion_data
from afk_es.evals.assertions.data import assertion_from, forms
from afk_es.evals.assertions.judge import LLMJudge
from afk_es.evals.evidence import Evidence
from afk_es.evals.judging import judged
from afk_es.evals.models import EvalCase
from afk_es.evals.verdict import Verdict
from tests.debugger.recorded import agent, says
from tests.evals.evidences import calling

LOOK, REFUND = ("look", {"order": 1}), ("refund", {"order": 13})


async def verdict(data: Any, final: str = '{"order": 1, "note": "late"}') -> Verdict:
    """Of a run that looks, refunds order 13, which fails, and answers that."""
    evidence = await calling((LOOK,), (REFUND,), final=final)
    case = EvalCase(name="a", agent=agent(says("x")), expected_output={"order": 1, "note": "late"})
    [found] = (await judged(Evidence(evidence.result, evidence.log, case), [assertion_from(data)], [])).verdicts
    return found


@pytest.mark.parametrize(
    ("data", "passes"),
    [
        ({"never": 'tool = "delete" and step > 1'}, True),
        ({"never": {"tool": "refund", "arguments": {"order": 13}}}, False),
        ({"never": {"tool": "refund", "arguments": {"order": {"$type": "string"}}}}, True),
        ({"never": {"tool": "refund", "counted": "succeeded"}}, True),
        ({"never": {"what": "step > 2", "where": {"tool": "refund"}, "subagents": True}}, True),
        ({"always": {"what": "step < 2", "where": 'type = "tool_started"'}}, False),
        ({"always": {"tool": "look", "arguments": {"order": 1}}}, True),
        ({"eventually": {"tool": "re*"}}, True),
        ({"eventually": {"what": {"tool": "delete"}, "name": "it deletes"}}, False),
        ({"at_most": {"times": 1, "what": {"tool": "*"}}}, False),
        ({"precedes": [{"tool": "look"}, {"tool": "refund"}]}, True),
        ({"precedes": {"first": {"tool": "refund"}, "then": 'tool = "look"'}}, False),
        ({"responds": [{"tool": "look"}, {"tool": "refund"}]}, True),
        ({"trajectory": ["look", {"tool": "refund", "arguments": {"order": 13}}]}, True),
        ({"trajectory": ["look"]}, False),
        ({"trajectory": {"calls": ["look"], "mode": "superset"}}, True),
        ({"trajectory": {"calls": ["look"], "counted": "succeeded"}}, True),
        ({"checks": {"no_errors": True}}, False),
        ({"checks": {"max_repeats": 1, "state": "completed"}}, True),
        ({"within": {"steps": 3, "cost_usd": 0.75}}, True),
        ({"within": {"steps": 2}}, False),
        ({"json_like": True}, True),
        ({"json_like": {"expected": {"note": {"$regex": "^l"}}, "match": "superset"}}, True),
        ({"json_like": {"match": "subset"}}, True),
        ({"similarity": '{"order": 1, "note": "late."}'}, True),
        ({"similarity": {"expected": "nothing of it", "threshold": 0.5}}, False),
        ({"similarity": True}, False),
    ],
    ids=str,
)
async def test_a_form_means_what_it_says(data: Any, passes: bool) -> None:
    found = await verdict(data)
    assert found.passed is passes, found


def test_a_judge_may_stand_in_a_dataset() -> None:
    judge = assertion_from({"judge": {"model": "gpt-5.2-mini", "rubric": "polite", "threshold": 0.7, "votes": 3}})
    assert isinstance(judge, LLMJudge)
    assert (judge.rubric, judge.threshold, judge.votes) == ("polite", 0.7, 3)


@pytest.mark.parametrize(
    ("data", "says_"),
    [
        ({"never": "tool =="}, "never: "),
        ({"never": 7}, "never takes an object"),
        ({"never": {}}, "never needs 'what'"),
        ({"never": {"tool": "x", "colour": 1}}, "has no key 'colour'"),
        ({"never": {"tool": "x", "counted": "all"}}, "counted='all' is none of"),
        ({"never": {"what": "step > 1", "why": 1}}, "never has no 'why'; it takes what, where, subagents, name"),
        ({"eventually": {"what": "step > 1", "where": "step > 1"}}, "eventually has no 'where'"),
        ({"at_most": {"times": "3", "what": "step > 1"}}, "times is a whole number"),
        ({"at_most": {"what": "step > 1"}}, "at_most needs 'times'"),
        ({"precedes": ["step > 1"]}, "precedes takes two things"),
        ({"precedes": {"first": "step > 1"}}, "precedes needs 'then'"),
        ({"trajectory": {"mode": "exact"}}, "trajectory needs 'calls'"),
        ({"trajectory": {"calls": [], "mode": "strict"}}, "mode='strict' is none of"),
        ({"trajectory": {"calls": [], "order": 1}}, "trajectory has no 'order'; it takes"),
        ({"checks": {"max_cost": 1}}, "there is no rule max_cost"),
        ({"checks": {}}, "at least one rule"),
        ({"within": {"money": 1}}, "within has no 'money'"),
        ({"similarity": {"threshold": 2}}, "threshold is a number"),
        ({"json_like": {"expected": {"a": {"$type": "date"}}}}, r"\$type 'date' is none of"),
        ({"judge": {"model": "m"}}, "judge needs 'rubric'"),
        ({"judge": {"model": 7, "rubric": "good"}}, "names the model by a text"),
        ({"judge": {"model": "m", "rubric": ""}}, "needs a rubric"),
    ],
    ids=str,
)
def test_what_data_cannot_be_made_of_is_a_mistake_with_the_way_out(data: Any, says_: str) -> None:
    with pytest.raises(ConfigurationError, match=says_):
        assertion_from(data)


def test_every_form_that_is_named_is_there() -> None:
    for form in forms():
        assert callable(assertion_data._build(form))
