"""Budgets hold while the run goes on: a reply that passes one is kept and counted, and no further call is made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from afk_es import Agent, FailSafeConfig, Runner, tool
from afk_es.clock import SimulatedClock
from afk_es.core import AgentResult, RetentionPolicy, RunnerConfig
from afk_es.evals.evidence import Evidence
from afk_es.evals.models import EvalBudget, EvalCase
from afk_es.evals.verdict import Verdict
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.log import open_log
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool
from tests.evals.suites import COST, LET_GO, TOKENS, Tireless, agent, answer, hang, hang_in_a_thread, look, polite, ran, row_of, wants, why


async def _never(result: AgentResult) -> bool:
    await asyncio.Event().wait()
    return True


TRANSFER = LLMResponse(
    tool_calls=(ToolCall("c1", "transfer_to_helper", {"task": "go"}),), usage=Usage(TOKENS - 10, 10, TOKENS), cost_usd=COST
)


@pytest.mark.parametrize(
    ("budget", "asked", "named", "used"),
    [
        (EvalBudget(max_total_tokens=TOKENS * 2 - 1), 2, "max_total_tokens", TOKENS * 2),
        (EvalBudget(max_total_tokens=TOKENS * 2), 2, "max_total_tokens", TOKENS * 2),
        (EvalBudget(max_total_tokens=TOKENS * 2 + 1), 3, "max_total_tokens", TOKENS * 3),
        (EvalBudget(max_total_cost_usd=0.015), 2, "max_total_cost_usd", 2 * COST),
        (EvalBudget(max_total_cost_usd=0.03), 3, "max_total_cost_usd", 3 * COST),
        (EvalBudget(max_steps=1), 1, "max_steps", 1),
        (EvalBudget(max_steps=4), 4, "max_steps", 4),
    ],
)
def test_a_budget_holds_exactly_and_its_row_names_limit_and_used(budget: EvalBudget, asked: int, named: str, used: float) -> None:
    """Tokens and costs end after the reply that passes them, or that leaves nothing; steps before the one too many."""
    tireless = Tireless()
    row = row_of(EvalCase(name="tireless", agent=tireless.agent, user_message="hi", budget=budget))

    assert (tireless.asked, row.llm_calls, row.steps) == (asked, asked, asked)
    assert (row.outcome, row.state) == ("failed", "interrupted")
    assert row.passed_budget is not None
    assert (row.passed_budget.budget, row.passed_budget.limit) == (named, getattr(budget, named))
    assert row.passed_budget.used == pytest.approx(used)
    ((name, message),) = why(row)
    assert name == "budget"
    assert message.startswith(f"{named}: {used:,g} of {getattr(budget, named):,g} used")
    assert row.tokens == asked * TOKENS
    assert row.cost_usd == pytest.approx(asked * COST)


def test_a_reply_that_passes_the_budget_and_ends_the_run_is_a_failed_row_of_a_completed_run() -> None:
    row = row_of(polite(budget=EvalBudget(max_total_tokens=TOKENS - 1)))
    assert (row.outcome, row.state, row.output) == ("failed", "completed", "done")
    assert why(row) == [("budget", f"max_total_tokens: {TOKENS} of {TOKENS - 1} used")]


def test_a_run_that_uses_its_budget_up_and_wants_no_more_passes() -> None:
    row = row_of(polite(budget=EvalBudget(max_total_tokens=TOKENS, max_total_cost_usd=COST, max_steps=1)))
    assert (row.outcome, row.passed_budget) == ("passed", None)


@pytest.mark.parametrize("hanging", [hang, hang_in_a_thread])
def test_the_duration_also_cuts_a_call_in_flight(hanging: Tool[..., Any]) -> None:
    case = EvalCase(
        name="slow", agent=agent(wants(hanging.name), tools=(hanging,)), user_message="hi", budget=EvalBudget(max_duration_s=0.1)
    )
    row = row_of(case)
    assert (row.outcome, row.state) == ("failed", "interrupted")
    assert row.passed_budget is not None
    assert (row.passed_budget.budget, row.passed_budget.limit) == ("max_duration_s", 0.1)
    assert row.passed_budget.used is not None
    assert 0.1 <= row.passed_budget.used < 10


def test_the_duration_is_the_runs_own_time() -> None:
    """With simulated time, in which ten seconds pass in no time."""
    clock = SimulatedClock()

    @tool(name="look")
    def slow() -> str:
        clock.advance(10)
        return "late"

    described = agent(wants("look"), answer(), tools=(slow,), fail_safe=FailSafeConfig(max_wall_time_s=None))
    case = EvalCase(name="slow", agent=described, user_message="hi", budget=EvalBudget(max_duration_s=9.5))
    (row,) = ran(case, factory=lambda: Runner(log=":memory:", clock=clock)).results
    assert (row.outcome, row.state, row.llm_calls) == ("failed", "interrupted", 1)
    assert why(row) == [("budget", "max_duration_s: 10 of 9.5 used")]


def test_a_cost_budget_with_an_unknown_price_fails_the_row_with_the_way_out_and_makes_no_further_call() -> None:
    tireless = Tireless(cost=None)
    row = row_of(EvalCase(name="free?", agent=tireless.agent, user_message="hi", budget=EvalBudget(max_total_cost_usd=1)))
    assert (row.outcome, tireless.asked, row.cost_usd) == ("failed", 1, None)
    ((_name, message),) = why(row)
    assert "the price of model" in message
    assert "LLMResponse.cost_usd" in message
    ended = row_of(polite(agent=agent(answer(cost=None)), budget=EvalBudget(max_total_cost_usd=1)))
    assert (ended.outcome, ended.state) == ("failed", "completed")


def test_a_token_budget_with_an_unknown_usage_fails_the_row_with_the_way_out() -> None:
    tireless = Tireless(tokens=None)
    row = row_of(EvalCase(name="mute", agent=tireless.agent, user_message="hi", budget=EvalBudget(max_total_tokens=1_000)))
    assert (row.outcome, tireless.asked, row.tokens) == ("failed", 1, None)
    assert "LLMResponse.usage" in why(row)[0][1]


def test_what_subagents_use_counts_while_they_use_it() -> None:
    """The boss asks once, the helper would ask for ever: together they make three calls and no fourth."""
    helper = Tireless()
    known = helper.agent.model_copy(update={"name": "helper"})
    boss = agent(TRANSFER, answer(), subagents=(known,), name="boss")
    row = row_of(EvalCase(name="team", agent=boss, user_message="hi", budget=EvalBudget(max_total_tokens=3 * TOKENS)))
    assert (helper.asked, row.llm_calls, row.tokens) == (2, 3, 3 * TOKENS)
    assert (row.outcome, row.state) == ("failed", "interrupted")
    assert [name for name, _message in why(row)] == ["budget"]


def test_a_team_within_its_budget_is_counted_once() -> None:
    """A parent's `subagent_completed` says again what the subagent has used."""
    helper = agent(wants("look"), answer(), tools=(look,), name="helper")
    row = row_of(EvalCase(name="team", agent=agent(TRANSFER, answer(), subagents=(helper,)), user_message="hi"))
    assert (row.outcome, row.llm_calls, row.tokens) == ("passed", 4, 4 * TOKENS)
    assert row.cost_usd == pytest.approx(4 * COST)
    assert isinstance(row.result, AgentResult)
    assert row.tokens == row.result.usage_aggregate.total_tokens


def test_the_budget_leaves_the_recorded_agent_alone() -> None:
    """A limit of the agent would be part of its record; so a run that a budget has cut goes on with the same agent."""
    replies = iter([wants("look"), answer("at last")])
    described = Agent(model=ScriptedModel(lambda request: next(replies)), tools=(look,))
    log = open_log(":memory:")
    case = EvalCase(name="cut", agent=described, user_message="hi", budget=EvalBudget(max_steps=1))
    (row,) = ran(case, factory=lambda: Runner(log=log)).results
    assert row.run_id is not None

    async def go_on() -> AgentResult:
        async with Runner(log=log) as runner:
            try:
                return await runner.resume(described, run_id=row.run_id or "")
            finally:
                await log.close()

    again = asyncio.run(go_on())
    assert (again.state, again.final_text) == ("completed", "at last")


def test_a_total_budget_stops_the_suite_and_the_others_are_rows_that_say_so() -> None:
    cases = [polite(f"case-{number}") for number in range(5)]
    suite = ran(*cases, execution_mode="sequential", total_budget=EvalBudget(max_total_tokens=2 * TOKENS))
    assert [row.outcome for row in suite.results] == ["passed", "passed", "not_run", "not_run", "not_run"]
    assert why(suite.results[2])[0][1].startswith("total_budget.max_total_tokens: 120 of 120 used")
    assert (suite.total, suite.passed, suite.failed, suite.not_run, suite.pass_rate) == (5, 2, 0, 3, 0.4)
    assert suite.stopped is not None
    assert not suite.ok


def test_what_judges_spend_counts_for_the_total_budget_and_not_for_the_cases() -> None:
    class Judge:
        name = "judge"

        def score(self, evidence: Evidence) -> Verdict:
            return Verdict(self.name, True, score=1.0, details={"cost_usd": 0.5, "tokens": 900, "model": "judge-1"})

    cases = [polite(f"case-{number}", budget=EvalBudget(max_total_tokens=TOKENS)) for number in range(3)]
    suite = ran(*cases, scorers=Judge(), execution_mode="sequential", total_budget=EvalBudget(max_total_tokens=1_000))
    assert [row.outcome for row in suite.results] == ["passed", "passed", "not_run"]
    assert why(suite.results[2])[0][1].startswith("total_budget.max_total_tokens: 1,020 of 1,000 used")
    assert (suite.total_tokens, suite.judging_tokens, suite.judging_cost_usd) == (2 * TOKENS, 1_800, 1.0)


def test_a_summary_of_the_conversation_is_paid_for_as_well() -> None:
    """Four messages are summed up by a model before the second step; its answer uses the budget up, and the step is not begun."""
    summariser = ScriptedModel([LLMResponse(text="They said hi.", usage=Usage(900, 100, 1_000), cost_usd=0.5)])
    config = RunnerConfig(thread_retention=RetentionPolicy(max_messages=1, summariser=summariser))
    tireless = Tireless()
    case = EvalCase(name="long", agent=tireless.agent, user_message="hi", budget=EvalBudget(max_total_tokens=1_000))
    (row,) = ran(case, factory=lambda: Runner(log=":memory:", config=config)).results
    assert len(summariser.requests) == 1
    assert (row.tokens, row.state) == (1_000 + tireless.asked * TOKENS, "interrupted")
    assert row.result is not None
    assert row.tokens == row.result.usage_aggregate.total_tokens


def test_a_total_budget_cuts_those_under_way_before_their_next_call() -> None:
    one, other = Tireless(), Tireless()
    suite = ran(
        EvalCase(name="one", agent=one.agent, user_message="hi"),
        EvalCase(name="other", agent=other.agent, user_message="hi"),
        execution_mode="parallel",
        total_budget=EvalBudget(max_total_tokens=10 * TOKENS),
    )
    assert [row.outcome for row in suite.results] == ["failed", "failed"]
    assert {row.passed_budget.budget for row in suite.results if row.passed_budget} == {"total_budget.max_total_tokens"}
    # One of them may have decided on its call in the moment in which the other's answer used the budget up.
    assert 10 <= one.asked + other.asked <= 11


def test_a_total_duration_cuts_hanging_cases_and_starts_no_other() -> None:
    cases = [EvalCase(name=f"hang-{n}", agent=agent(wants("hang"), tools=(hang,)), user_message="hi") for n in range(3)]
    suite = ran(*cases, execution_mode="parallel", max_concurrency=2, total_budget=EvalBudget(max_duration_s=0.5))
    assert [row.outcome for row in suite.results] == ["failed", "failed", "not_run"]
    assert why(suite.results[0])[0][1].startswith("total_budget.max_duration_s")


@pytest.mark.parametrize("assertion", [lambda result: LET_GO.wait(), _never])
def test_a_total_duration_cuts_what_hangs_outside_of_runs_as_well(assertion: Any) -> None:
    """Without a timeout of its own, a criterion or a factory that hangs would hold up the suite for good."""
    suite = ran(polite(assertions=assertion), execution_mode="parallel", total_budget=EvalBudget(max_duration_s=0.5))
    (row,) = suite.results
    assert (row.outcome, row.state, why(row)[0][0]) == ("failed", "completed", "budget")
    (hanging,) = ran(polite(), factory=lambda: LET_GO.wait(), total_budget=EvalBudget(max_duration_s=0.1)).results
    assert (hanging.outcome, hanging.run_id, why(hanging)[0][0]) == ("failed", None, "budget")


def test_a_case_without_a_budget_has_the_suites() -> None:
    tireless = Tireless()
    own = Tireless()
    suite = ran(
        EvalCase(name="suites", agent=tireless.agent, user_message="hi"),
        EvalCase(name="own", agent=own.agent, user_message="hi", budget=EvalBudget(max_steps=3)),
        budget=EvalBudget(max_steps=2),
    )
    assert (tireless.asked, own.asked) == (2, 3)
    assert suite.failed == 2
