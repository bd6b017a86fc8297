"""How like an answer is to what is expected."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.errors import UsageError
from afk_es.evals.assertions.likeness import json_like, similarity
from afk_es.evals.evidence import Evidence
from afk_es.evals.models import EvalCase
from tests.debugger.recorded import agent, says
from tests.evals.evidences import ran


class Refund(BaseModel):
    order: int
    amount: float
    notes: list[str] = []


REFUND = '{"order": 7, "amount": 12.5, "notes": ["late"]}'


async def structured() -> Evidence:
    return await ran(agent(says(REFUND), output_type=Refund))


@pytest.mark.parametrize("typed", [True, False])
@pytest.mark.parametrize(
    ("expected", "match", "score"),
    [
        ({"order": 7, "amount": 12.5, "notes": ["late"]}, "exact", 1.0),
        ({"order": 7.0, "amount": float, "notes": [re.compile("la")]}, "exact", 1.0),
        ({"order": 7}, "exact", 1 / 3),
        ({"order": 7}, "superset", 1.0),
        ({"order": 8, "amount": 12.5}, "superset", 1 / 2),
        ({"order": 7, "amount": 12.5, "notes": ["late"], "more": 1}, "subset", 1.0),
        ({"order": 7, "amount": 12.5, "notes": ["late"], "more": 1}, "exact", 3 / 4),
        ({"order": 7, "amount": 12.5, "notes": ["early"]}, "exact", 2 / 3),
        ({}, "ignore", 1.0),
        ([1], "exact", 0.0),
        (Refund(order=7, amount=12.5, notes=["late"]), "exact", 1.0),
    ],
)
async def test_an_answer_is_compared_part_by_part(typed: bool, expected: Any, match: Any, score: float) -> None:
    evidence = await structured() if typed else await ran(agent(says(REFUND)))
    like = json_like(expected, match=match)
    found = like.score(evidence)
    assert found.score == pytest.approx(score)
    assert found.passed is (score == 1.0)
    assert like.check(evidence).score is None
    assert found.passed or "answer" in found.message


async def test_a_text_that_is_no_json_is_not_like_any() -> None:
    found = json_like({"order": 7}).score(await ran(agent(says("done"))))
    assert (found.passed, found.score, found.message) == (False, 0.0, 'the answer is no JSON: "done"')


@pytest.mark.parametrize(
    ("text", "expected", "low", "high"),
    [
        ("The refund is done.", "The refund is done.", 1.0, 1.0),
        ("The refund is done.", "the REFUND is done.", 0.0, 0.9),
        ("The refund is done.", "The refund was done.", 0.8, 0.99),
        ("The refund is done.", "zzz", 0.0, 0.1),
        ("", "", 1.0, 1.0),
        ("word " * 1_000 + "end", "word " * 1_000 + "END", 0.99, 0.9999),
    ],
)
async def test_texts_are_similar_by_what_is_the_same(text: str, expected: str, low: float, high: float) -> None:
    evidence = await ran(agent(says(text)))
    found = similarity(expected).score(evidence)
    assert found.score is not None
    assert low <= found.score <= high
    assert found.passed is (found.score >= 0.8)
    assert similarity(expected, ignore_case=True, threshold=0.0).check(evidence).passed


async def test_without_anything_expected_nothing_is_exercised_and_no_score_given() -> None:
    evidence = await structured()
    for like in (json_like(), similarity()):
        found = like.score(evidence)
        assert (found.passed, found.exercised, found.score) == (True, False, None)


async def test_what_the_case_expects_is_the_default() -> None:
    evidence = await structured()
    case = EvalCase(name="refund", agent=agent(says("x")), expected_output={"order": 7, "amount": 12.5, "notes": ["late"]})
    assert json_like().check(Evidence(evidence.result, evidence.log, case)).passed
    found = similarity().score(Evidence(evidence.result, evidence.log, case))
    assert (found.passed, found.score) == (False, 0.0)
    assert "json_like compares data" in found.message


def test_what_cannot_work_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="is none of: exact"):
        json_like(match="some")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="threshold"):
        similarity(threshold=2)
