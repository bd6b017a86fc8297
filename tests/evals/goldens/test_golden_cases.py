"""A case with a golden: the run that really happened is compared with the recorded one, and what differs fails the row."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from pydantic import ValidationError

from afk_es import Agent, Runner
from afk_es.evals.goldens.check_report import CheckReport
from afk_es.evals.goldens.golden import Golden
from afk_es.evals.models import EvalCase, EvalSuiteResult
from tests.evals.suites import agent, answer, in_memory, look, polite, ran, row_of, wants, why


def desk(final: str = "done", *, twice: bool = False) -> Agent:
    """An agent that looks something up and answers."""
    asks = [wants("look"), wants("look")] if twice else [wants("look")]
    return agent(*asks, answer(final), tools=(look,))


def recorded() -> Golden:
    """The golden of the desk."""

    async def record() -> Golden:
        async with Runner(log=":memory:") as runner:
            result = await runner.run(desk(), user_message="hi")
            return await Golden.of(runner.log, result.run_id, name="desk")

    return asyncio.run(record())


def case(described: Agent, golden: object, **fields: object) -> EvalCase:
    """A case of the desk."""
    return EvalCase(**{"name": "desk", "agent": described, "user_message": "hi", "golden": golden, **fields})


def test_a_run_that_does_what_was_recorded_passes_and_the_report_is_in_its_row() -> None:
    row = row_of(case(desk(), recorded(), golden_mode="contract"))
    assert (row.outcome, why(row)) == ("passed", [])
    assert row.golden is not None
    assert (row.golden["name"], row.golden["outcome"], row.golden["mode"]) == ("desk", "passed", "contract")


def test_a_run_that_does_something_else_fails_and_names_the_first_divergence(tmp_path: Path) -> None:
    file = tmp_path / "desk.golden.jsonl"
    recorded().write(file)
    suite = ran(case(desk(twice=True), file, golden_mode="trajectory"))
    (row,) = suite.results
    assert row.outcome == "failed"
    assert why(row)[0][0] == "golden"
    assert why(row)[0][1].startswith("desk: extra, ")
    again = EvalSuiteResult.model_validate_json(suite.model_dump_json())
    report = msgspec.convert(again.results[0].golden, CheckReport)
    assert (report.outcome, report.divergences[0].kind) == ("diverged", "extra")


def test_the_mode_of_the_case_decides_how_much_has_to_be_the_same() -> None:
    golden = recorded()
    assert row_of(case(desk("else"), golden, golden_mode="strict")).outcome == "failed"
    assert row_of(case(desk("else"), golden, golden_mode="contract")).outcome == "passed"


def test_a_golden_that_is_not_there_is_a_row_before_anything_is_spent(tmp_path: Path) -> None:
    made: list[Runner] = []

    def factory() -> Runner:
        made.append(in_memory())
        return made[-1]

    suite = ran(case(desk(), tmp_path / "none.golden.jsonl"), polite(), factory=factory)
    row = suite.results[0]
    assert (row.outcome, why(row)[0][0], row.run_id) == ("error", "golden", None)
    assert "there is no such file" in why(row)[0][1]
    assert (suite.results[1].passed, len(made)) == (True, 1)


def test_what_is_no_golden_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="golden is the path of a golden file"):
        case(desk(), 3)
    with pytest.raises(ValidationError, match="there is none; give golden"):
        polite(golden_mode="strict")
