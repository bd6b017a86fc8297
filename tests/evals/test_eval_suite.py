"""An EvalSuite is cases with what they are run by; recorded runs are found to be of cases; what judged nothing measures nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.errors import ConfigurationError
from afk_es.evals import Contains, EvalCase, EvalSuite, EvalSuiteConfig, RunSelection, never, run_suite
from afk_es.evals.recorded_cases import recorded_cases
from afk_es.evals.reports import account_of
from afk_es.testing import ScriptedModel


def agent(name: str = "desk") -> Agent:
    return Agent(name=name, model=ScriptedModel(lambda request: "yes"))


def cases() -> list[EvalCase]:
    return [
        EvalCase(name="Refund late", agent=agent(), user_message="late", tags=("refund", "slow")),
        EvalCase(name="refund early", agent=agent(), user_message="early", tags=("refund",)),
        EvalCase(name="hours", agent=agent(), user_message="when"),
    ]


class TestSuite:
    def test_cases_may_come_in_any_form(self, tmp_path: Path) -> None:
        assert len(EvalSuite(iter(cases())).listed) == 3
        assert len(EvalSuite(cases()[0]).listed) == 1  # type: ignore[arg-type]  # one for a list of one, as people write it
        data = tmp_path / "cases.jsonl"
        data.write_text('{"user_message": "a"}\n')
        assert [case.name for case in EvalSuite(data, agent=agent()).listed] == ["cases-1"]

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            ({"cases": [7]}, "made of EvalCase objects"),
            ({"cases": 7}, "a sequence of EvalCase"),
            ({"cases": "cases.json"}, "a dataset has no agent"),
            ({"cases": cases(), "agent": agent()}, "these cases have their own"),
            ({"cases": [], "config": {"repeats": 2}}, "config is an EvalSuiteConfig"),
        ],
    )
    def test_what_is_none_is_said(self, given: dict[str, Any], says: str) -> None:
        with pytest.raises(ConfigurationError, match=says):
            EvalSuite(**given)

    @pytest.mark.parametrize(
        ("names", "tags", "left"),
        [
            ((), (), 3),
            (("refund",), (), 2),
            (("refund e*",), (), 1),
            (("hours", "late"), (), 2),
            ((), ("slow",), 1),
            (("refund",), ("slow", "other"), 1),
            (("none",), (), 0),
        ],
    )
    def test_some_of_its_cases(self, names: tuple[str, ...], tags: tuple[str, ...], left: int) -> None:
        whole = EvalSuite(cases(), config=EvalSuiteConfig(repeats=3))
        assert len(whole.only(names=names, tags=tags).listed) == left
        assert whole.only(names=names).config is whole.config


@pytest.fixture
async def runner() -> AsyncIterator[Runner]:
    async with Runner(log=":memory:") as opened:
        yield opened


async def test_a_recorded_run_is_of_the_case_with_its_agent_and_its_words(runner: Runner) -> None:
    late = await runner.run(agent(), user_message="late")
    other = await runner.run(agent("other"), user_message="late")
    unknown = await runner.run(agent(), user_message="something")
    found = await recorded_cases(runner.log, [unknown.run_id, late.run_id, other.run_id], cases())
    assert {run_id: case.name if case is not None else None for run_id, case in found.items()} == {
        unknown.run_id: None,
        late.run_id: "Refund late",
        other.run_id: None,
    }
    assert list(found) == [unknown.run_id, late.run_id, other.run_id]


async def test_the_newest_runs_of_a_selection(runner: Runner) -> None:
    ids = [(await runner.run(agent(), user_message=str(number))).run_id for number in range(3)]
    await runner.run(agent("other"))
    found = [record.run_id async for record in RunSelection(agent="desk", newest=2).records(runner.log)]
    assert found == [ids[2], ids[1]]


class TestWhatMeasuresNothing:
    """A suite in which nothing was judged is not measurable, and a failure is one all the same."""

    def outcome(self, *given: EvalCase) -> tuple[str, int]:
        account = account_of(run_suite(runner_factory=lambda: Runner(log=":memory:"), cases=given))
        return account.outcome, account.exit_code

    def test_any_state_and_a_criterion_that_never_applied(self) -> None:
        idle = EvalCase(name="idle", agent=agent(), expected_state="any", assertions=[never('tool = "drop"', where='tool = "drop"')])
        assert self.outcome(idle) == ("not_measurable", 3)
        assert self.outcome(idle.model_copy(update={"expected_state": "completed"})) == ("passed", 0)

    def test_any_state_without_a_criterion(self) -> None:
        bare = EvalCase(name="bare", agent=agent(), expected_state="any")
        assert self.outcome(bare) == ("not_measurable", 3)
        judged = EvalCase(name="judged", agent=agent(), expected_state="any", assertions=[Contains("yes")])
        assert self.outcome(bare, judged) == ("passed", 0)
        failing = EvalCase(name="failing", agent=agent(), expected_state="any", assertions=[Contains("no")])
        assert self.outcome(bare, failing) == ("failed", 1)
