"""A suite goes on whatever its cases do, and each of them is a row that says what became of it."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest

from afk_es import Agent, Runner
from afk_es.core import AgentResult
from afk_es.errors import ConfigurationError, LLMError, UsageError
from afk_es.evals.evidence import Evidence
from afk_es.evals.models import EvalCase, EvalSuiteConfig, EvalSuiteResult
from afk_es.evals.suite import EvalProgress, arun_suite, run_suite
from afk_es.evals.verdict import Verdict
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel
from tests.evals.suites import LET_GO, TOKENS, agent, answer, hang, hang_in_a_thread, in_memory, look, polite, ran, row_of, wants, why


def is_done(result: AgentResult) -> bool:
    return result.final_text == "done"


class Named:
    """An assertion or a scorer as an object."""

    def __init__(self, name: str, verdict: Verdict) -> None:
        self.name = name
        self._verdict = verdict

    def check(self, evidence: Evidence) -> Verdict:
        return self._verdict

    async def score(self, evidence: Evidence) -> Verdict:
        assert await evidence.events()
        return self._verdict


def test_a_case_passes_when_its_run_completes_and_all_its_assertions_hold() -> None:
    suite = ran(polite(assertions=[is_done, lambda result: result.state == "completed"], tags=("smoke",), metadata={"ticket": 7}))
    (row,) = suite.results
    assert (suite.total, suite.passed, suite.failed, suite.pass_rate, suite.ok) == (1, 1, 0, 1.0, True)
    assert (row.name, row.attempt, row.passed, row.outcome, row.state) == ("polite", 1, True, "passed", "completed")
    assert (row.tokens, row.cost_usd, row.steps, row.llm_calls, row.tool_calls) == (TOKENS, 0.01, 1, 1, 0)
    assert (row.reasons, row.error, row.tags, row.metadata, row.log) == ((), None, ("smoke",), {"ticket": 7}, ":memory:")
    assert [verdict.name for verdict in row.verdicts] == ["is_done", "<lambda>"]
    assert row.run_id is not None
    assert row.run_id.startswith("run_")


@pytest.mark.parametrize("state", ["degraded", "failed", "interrupted"])
def test_a_case_may_expect_another_state(state: str) -> None:
    described: dict[str, Agent] = {
        "degraded": agent(LLMError("down"), fail_safe={"llm_failure_policy": "degrade"}),
        "failed": agent(LLMError("down"), fail_safe={"llm_failure_policy": "fail_fast"}),
        "interrupted": agent(wants("hang"), tools=(hang,), fail_safe={"max_wall_time_s": 0.05}),
    }
    row = row_of(EvalCase(name="expects", agent=described[state], user_message="hi", expected_state=state))
    assert (row.outcome, row.state, row.expected_state) == ("passed", state, (state,))
    surprised = row_of(EvalCase(name="expects", agent=_again(described[state]), user_message="hi"))
    assert (surprised.outcome, surprised.state) == ("failed", state)
    assert why(surprised)[0][0] == "state"
    assert why(surprised)[0][1].startswith(f"the run is {state}, and was to be completed")
    either = row_of(EvalCase(name="expects", agent=_again(described[state]), user_message="hi", expected_state=("completed", state)))
    assert either.passed


def _again(described: Agent) -> Agent:
    """The agent with a script from the beginning."""
    model = described.model
    assert isinstance(model, ScriptedModel)
    return described.model_copy(update={"model": ScriptedModel([LLMError("down") if not described.tools else wants("hang")])})


def test_what_raises_is_a_row_with_the_reason_and_the_suite_goes_on() -> None:
    def broken(result: AgentResult) -> bool:
        raise LookupError("no such order")

    suite = ran(
        polite("raising", assertions=broken),
        polite("asserting", assertions=[_asserts]),
        polite("exiting", assertions=[_exits]),
        polite("failing by pytest", assertions=[_fails_by_pytest]),
        polite("refusing", assertions=[lambda result: False]),
        polite("no bool", assertions=[lambda result: None]),
        polite("fine"),
    )
    rows = {row.name: row for row in suite.results}
    assert [row.outcome for row in suite.results] == ["error", "failed", "error", "error", "failed", "error", "passed"]
    assert (suite.failed, suite.errors) == (6, 4)
    ((name, message),) = why(rows["raising"])
    assert name == "broken"
    assert re.fullmatch(r"LookupError: no such order \(test_suite\.py:\d+: raise LookupError\(\"no such order\"\)\)", message)
    assert why(rows["asserting"])[0][1].startswith("the assertion does not hold")
    assert "assert result.final_text == 'else'" in why(rows["asserting"])[0][1].replace('"', "'")
    assert why(rows["exiting"])[0][1].startswith("SystemExit: 3")
    assert "not this time" in why(rows["failing by pytest"])[0][1]
    assert why(rows["refusing"])[0][1] == "it answered False"
    assert "it answered None, which is no bool" in why(rows["no bool"])[0][1]


def _asserts(result: AgentResult) -> bool:
    assert result.final_text == "else"
    return True


def _exits(result: AgentResult) -> bool:
    raise SystemExit(3)


def _fails_by_pytest(result: AgentResult) -> bool:
    pytest.fail("not this time")


async def _never(result: AgentResult) -> bool:
    await asyncio.Event().wait()
    return True


@pytest.mark.parametrize("tool", [hang, hang_in_a_thread])
def test_a_tool_that_hangs_is_cut_by_the_cases_timeout(tool: Any) -> None:
    hanging = EvalCase(name="hanging", agent=agent(wants(tool.name), tools=(tool,)), user_message="hi", timeout_s=0.5)
    suite = ran(hanging, polite())
    row = suite.results[0]
    assert (row.outcome, row.state, suite.results[1].passed) == ("error", "interrupted", True)
    assert why(row) == [("timeout", "the run had not ended after 0.5 s, and was cut")]
    assert row.run_id is not None
    assert 0.5 <= row.duration_s < 10


@pytest.mark.parametrize("assertion", [_never, lambda result: LET_GO.wait()])
def test_an_assertion_that_hangs_is_cut_by_the_suites_timeout_and_named(assertion: Any) -> None:
    suite = ran(polite("hanging", assertions=[is_done, assertion]), polite(), timeout_per_case_s=0.5)
    row = suite.results[0]
    assert (row.outcome, row.state, suite.results[1].passed) == ("error", "completed", True)
    assert why(row) == [(assertion.__name__, "it did not answer in the time that was left of the case's timeout")]
    assert row.duration_s < 10


async def _no_runner() -> Runner:
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


@pytest.mark.parametrize("factory", [_no_runner, lambda: LET_GO.wait()])
def test_a_runner_factory_that_hangs_is_cut_as_well(factory: Any) -> None:
    (row,) = ran(polite(), factory=factory, timeout_per_case_s=0.1).results
    assert (row.outcome, row.run_id, row.state) == ("error", None, None)
    assert why(row) == [("timeout", "the runner factory did not answer within 0.1 s")]


def test_a_runner_factory_that_raises_or_answers_nonsense_is_a_row() -> None:
    def broken() -> Runner:
        raise OSError("no disk")

    (row,) = ran(polite(), factory=broken).results
    assert (row.outcome, why(row)[0][0]) == ("error", "runner_factory")
    assert why(row)[0][1].startswith("OSError: no disk (test_suite.py:")
    (other,) = ran(polite(), factory=lambda: None).results
    assert "it answered NoneType, which is no Runner" in why(other)[0][1]


def test_a_log_that_cannot_be_opened_is_a_row_with_the_way_out(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    foreign.write_text("this is no log at all, whatever it is", encoding="utf-8")
    (row,) = ran(polite(), factory=lambda: Runner(log=foreign)).results
    assert (row.outcome, why(row)[0][0]) == ("error", "run")
    assert "ForeignLogError" in why(row)[0][1]


def test_a_factory_may_be_async() -> None:
    async def made() -> Runner:
        await asyncio.sleep(0)
        return in_memory()

    assert ran(polite(), factory=made).ok


def test_each_attempt_has_a_runner_of_its_own() -> None:
    made: list[Runner] = []

    def factory() -> Runner:
        made.append(in_memory())
        return made[-1]

    suite = ran(EvalCase(name="twice", agent=_echo(), user_message="hi", repeats=2), polite(), factory=factory)
    assert suite.ok
    assert len({id(runner) for runner in made}) == 3


def _echo() -> Agent:
    return Agent(model=ScriptedModel(lambda request: answer()))


@pytest.mark.parametrize("mode", ["adaptive", "sequential", "parallel"])
def test_rows_are_in_the_order_of_the_cases_whatever_ends_first(mode: str) -> None:
    """The first case ends last, as it waits for the last one where it may."""
    gate = threading.Event()

    async def slow(request: LLMRequest) -> LLMResponse:
        for _turn in range(200):
            if gate.is_set():
                break
            await asyncio.sleep(0.001)
        return answer()

    def open_gate(result: AgentResult) -> bool:
        gate.set()
        return True

    cases = [
        EvalCase(name="slow", agent=Agent(model=ScriptedModel(slow)), user_message="hi"),
        *(polite(f"quick-{number}") for number in range(5)),
        polite("last", assertions=open_gate),
    ]
    told: list[str] = []
    suite = run_suite(
        runner_factory=in_memory,
        cases=cases,
        config=EvalSuiteConfig(execution_mode=mode, max_concurrency=3),
        progress=lambda news: told.append(news.name) if news.kind == "finished" else None,
    )
    assert [row.name for row in suite.results] == ["slow", *(f"quick-{number}" for number in range(5)), "last"]
    assert told.index("slow") == {"sequential": 0, "adaptive": 0, "parallel": 6}[mode]


def test_cases_run_in_parallel_on_one_sqlite_log(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    cases = [EvalCase(name=f"case-{n}", agent=agent(wants("look"), answer(), tools=(look,)), user_message="hi") for n in range(12)]
    suite = ran(*cases, factory=lambda: Runner(log=file), execution_mode="parallel", max_concurrency=6)
    assert (suite.passed, suite.widest) == (12, 6)
    assert {row.log for row in suite.results} == {str(file)}

    async def in_the_log() -> set[str]:
        async with Runner(log=file) as runner:
            return {record.run_id for record in await runner.log.runs()}

    assert asyncio.run(in_the_log()) == {row.run_id for row in suite.results}


def test_cases_on_one_thread_follow_each_other_as_a_conversation_does(tmp_path: Path) -> None:
    seen: list[int] = []

    def replies(request: LLMRequest) -> LLMResponse:
        seen.append(len(request.messages))
        return answer()

    described = Agent(model=ScriptedModel(replies))
    cases = [EvalCase(name=f"turn-{n}", agent=described, user_message="hi", thread_id="thread_desk") for n in range(3)]
    suite = ran(*cases, factory=lambda: Runner(log=tmp_path / "runs.db"), execution_mode="parallel")
    assert (suite.passed, suite.widest, seen) == (3, 1, [1, 3, 5])


def test_fail_fast_starts_nothing_after_the_first_row_that_did_not_pass() -> None:
    suite = ran(polite("one"), polite("two", assertions=lambda result: False), polite("three"), execution_mode="sequential", fail_fast=True)
    assert [row.outcome for row in suite.results] == ["passed", "failed", "not_run"]
    assert why(suite.results[2]) == [("not_run", "fail_fast, after 'two' did not pass")]


def test_fail_fast_lets_those_under_way_come_to_their_end() -> None:
    suite = ran(
        polite("one", assertions=lambda result: False),
        polite("two"),
        polite("three"),
        execution_mode="parallel",
        max_concurrency=2,
        fail_fast=True,
    )
    assert [row.outcome for row in suite.results][:2] == ["failed", "passed"]


def test_the_suites_criteria_are_asked_of_each_case_besides_its_own() -> None:
    suite = ran(
        polite("one", assertions=is_done, scorers=lambda result: 0.25),
        polite("two", scorers=[Named("style", Verdict("style", True, score=0.5))]),
        assertions=[Named("never-refunds", Verdict("never-refunds", True, "no refund in the run", exercised=False))],
        scorers=[Named("tone", Verdict("tone", True, score=1.0))],
    )
    one, two = suite.results
    assert [verdict.name for verdict in one.verdicts] == ["is_done", "never-refunds", "<lambda>", "tone"]
    assert (one.scores, two.scores) == ({"<lambda>": 0.25, "tone": 1.0}, {"style": 0.5, "tone": 1.0})
    assert one.not_exercised == suite.not_exercised == ("never-refunds",)
    assert (suite.scores["tone"].mean, suite.scores["tone"].count, suite.scores["style"].minimum) == (1.0, 2, 0.5)


def test_a_scorer_below_its_threshold_fails_the_case_and_still_counts() -> None:
    suite = ran(polite(scorers=[Named("tone", Verdict("tone", False, "rude", score=0.1))]))
    (row,) = suite.results
    assert (row.outcome, why(row), row.scores) == ("failed", [("tone", "rude")], {"tone": 0.1})


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), "good", None])
def test_what_is_no_score_is_said_to_be_none(score: Any) -> None:
    row = row_of(polite(scorers=[lambda result: score]))
    assert row.outcome == "error"
    assert "a scorer answers a number from 0 to 1" in why(row)[0][1]


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    "said",
    [
        Verdict("odd", True, details={"cost_usd": "cheap"}),
        Verdict("odd", True, details={"tokens": -1, "cost_usd": 0.1}),
        Verdict("odd", "yes"),  # type: ignore[arg-type]
        Verdict(5, True),  # type: ignore[arg-type]
        Verdict("odd", True, 5),  # type: ignore[arg-type]
        Verdict("odd", True, details=[1]),  # type: ignore[arg-type]
        Unspeakable(),
        pytest.param(10**5000, id="long"),
    ],
)
def test_a_verdict_that_sums_and_reports_could_not_take_is_one_criterions_error_and_the_others_stay(said: Any) -> None:
    suite = ran(polite(assertions=[is_done, Named("odd", said)]))
    (row,) = suite.results
    assert (row.outcome, [verdict.passed for verdict in row.verdicts]) == ("error", [True, False])
    assert why(row)[0][0] == "odd"
    assert suite.judging_cost_usd == 0.0


def test_a_verdict_that_no_report_could_hold_is_said_to_be_none() -> None:
    row = row_of(polite(assertions=[Named("odd", Verdict("odd", True, details={"when": object()}))]))
    assert (row.outcome, why(row)[0][0]) == ("error", "odd")
    assert "no JSON data" in why(row)[0][1]
    json.dumps(row.model_dump(mode="json"))


def test_functions_of_one_name_keep_their_scores_apart() -> None:
    row = row_of(polite(scorers=[lambda result: 0.2, lambda result: 0.4]))
    assert row.scores == {"<lambda>": 0.2, "<lambda> (2)": 0.4}


def test_criteria_may_be_async_functions() -> None:
    async def checked(result: AgentResult) -> bool:
        await asyncio.sleep(0)
        return is_done(result)

    async def scored(result: AgentResult) -> float:
        return 0.75

    row = row_of(polite(assertions=checked, scorers=scored))
    assert (row.passed, row.scores) == (True, {"scored": 0.75})


def test_the_table_by_tag_counts_a_row_under_each_of_its_tags() -> None:
    suite = ran(polite("one", tags=("b", "a")), polite("two", tags=("a",), assertions=lambda result: False), polite("three"))
    assert list(suite.tags) == ["a", "b"]
    assert (suite.tags["a"].total, suite.tags["a"].passed, suite.tags["a"].pass_rate) == (2, 1, 0.5)
    assert suite.tags["b"].pass_rate == 1.0


def test_repeats_are_rows_and_statistics() -> None:
    replies = iter([answer(), answer("else"), answer(), answer()])
    flaky = Agent(model=ScriptedModel(lambda request: next(replies)))
    suite = ran(
        EvalCase(name="flaky", agent=flaky, user_message="hi", assertions=is_done),
        polite("once", repeats=1),
        repeats=4,
        execution_mode="sequential",
        min_pass_rate=0.75,
    )
    assert [(row.name, row.attempt, row.passed) for row in suite.results][:4] == [
        ("flaky", 1, True),
        ("flaky", 2, False),
        ("flaky", 3, True),
        ("flaky", 4, True),
    ]
    (flaky_statistics,) = suite.cases
    assert (flaky_statistics.name, flaky_statistics.attempts, flaky_statistics.passed) == ("flaky", 4, 3)
    assert flaky_statistics.pass_at == {1: 0.75, 2: 1.0, 4: 1.0}
    assert flaky_statistics.pass_all == {1: 0.75, 2: 0.5, 4: 0.0}
    assert suite.repeats is not None
    assert suite.repeats.pass_at == flaky_statistics.pass_at
    assert (suite.pass_rate, suite.ok) == (0.8, True)


def test_costs_and_tokens_are_added_up_where_they_are_known() -> None:
    known = ran(polite("one"), polite("two"))
    assert (known.total_tokens, known.total_cost_usd, known.known_cost_usd) == (2 * TOKENS, 0.02, 0.02)
    unknown = ran(polite("one"), polite("two", agent=agent(answer(cost=None, tokens=None))))
    assert (unknown.total_tokens, unknown.total_cost_usd, unknown.known_cost_usd) == (None, None, 0.01)


def test_a_suite_has_a_json_twin_that_can_be_read_back() -> None:
    suite = ran(polite(assertions=is_done, tags=("a",)), polite("bad", assertions=lambda result: False), repeats=2)
    text = json.dumps(suite.model_dump(mode="json"))
    again = EvalSuiteResult.model_validate_json(text)
    assert again.model_dump(mode="json") == json.loads(text)
    assert json.loads(text)["results"][0]["passed"] is True
    assert "result" not in json.loads(text)["results"][0]
    assert again.results[2].reasons == suite.results[2].reasons


def test_progress_is_told_when_an_attempt_starts_and_when_it_is_finished() -> None:
    news: list[EvalProgress] = []
    run_suite(
        runner_factory=in_memory,
        cases=[polite("one", assertions=lambda result: False), polite("two")],
        config=EvalSuiteConfig(execution_mode="sequential", fail_fast=True),
        progress=news.append,
    )
    assert [(item.kind, item.name, item.finished, item.total) for item in news] == [
        ("started", "one", 0, 2),
        ("finished", "one", 1, 2),
        ("finished", "two", 2, 2),
    ]
    assert [item.row.outcome if item.row else None for item in news] == [None, "failed", "not_run"]


def test_a_progress_function_that_raises_ends_the_suite_and_leaves_nothing_behind() -> None:
    def broken(news: EvalProgress) -> None:
        raise RuntimeError("no screen")

    with pytest.raises(RuntimeError, match="no screen"):
        run_suite(runner_factory=in_memory, cases=[polite()], progress=broken)


def test_a_suite_of_no_cases_is_not_ok() -> None:
    suite = ran()
    assert (suite.total, suite.pass_rate, suite.ok) == (0, 0.0, False)


def test_cases_may_come_from_a_generator() -> None:
    suite = run_suite(runner_factory=in_memory, cases=(polite(f"case-{n}") for n in range(3)))
    assert suite.passed == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"cases": [polite(), polite()]}, "two cases are named 'polite'"),
        ({"cases": polite()}, "cases is a sequence of EvalCase"),
        ({"cases": ["polite"]}, r"cases\[0\] is str"),
        ({"cases": "cases.jsonl"}, "pass agent="),
        ({"cases": [polite()], "agent": agent("x")}, "have their own"),
        ({"cases": [polite()], "config": {"fail_fast": True}}, r"write EvalSuiteConfig\(...\)"),
        ({"cases": [polite()], "runner_factory": in_memory()}, r"runner_factory=lambda: Runner\(...\)"),
        ({"cases": [polite(expected_output="done")]}, "EqualsExpected"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(arguments: dict[str, Any], said: str) -> None:
    made: list[Runner] = []
    with pytest.raises(ConfigurationError, match=said):
        run_suite(**{"runner_factory": lambda: made.append(in_memory()), **arguments})
    assert not made


async def test_the_sync_twin_inside_a_running_loop_is_a_clear_error() -> None:
    with pytest.raises(UsageError, match="await arun_suite"):
        run_suite(runner_factory=in_memory, cases=[polite()])


async def test_the_async_twin_runs_in_this_loop() -> None:
    awaiting: Awaitable[EvalSuiteResult] = arun_suite(runner_factory=in_memory, cases=[polite()])
    assert (await awaiting).ok


def test_thousands_of_cases_on_one_thread_wait_without_being_looked_at_again_and_again() -> None:
    """Each is taken out of the queue once and waits behind its thread; those on no thread go by them, and a stop leaves out both."""
    talk = agent(*[answer() for _ in range(6)])
    cases = [EvalCase(name=f"turn-{n}", agent=talk, user_message="hi", thread_id="thread_desk") for n in range(6)]
    alone = [polite(f"alone-{n}") for n in range(3)]
    said: list[str] = []
    suite = run_suite(
        runner_factory=in_memory,
        cases=[*cases, *alone],
        config=EvalSuiteConfig(execution_mode="parallel", max_concurrency=3),
        progress=lambda told: said.append(told.name) if told.kind == "started" else None,
    )
    assert suite.passed == 9
    assert [name for name in said if name.startswith("turn")] == [case.name for case in cases]
    assert said[:3] == ["turn-0", "alone-0", "alone-1"]
    stopped = ran(*cases, execution_mode="parallel", fail_fast=True, assertions=[lambda result: False])
    assert [row.outcome for row in stopped.results] == ["failed", *["not_run"] * 5]
