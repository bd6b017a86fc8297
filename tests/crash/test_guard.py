"""Goal: a run that its budget lays down survives its process, before, at and after that moment. Method: as test_matrix.

The budget belongs to the process that began the run. Whoever resumes it has none, so whenever the first process dies, the run comes to the
same end, and nothing that it has done is done again.
"""

from __future__ import annotations

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult, AgentRunHandle, Runner
from afk_es.evals.budgets import Meter
from afk_es.evals.models import EvalBudget
from afk_es.testing import CrashScenario, crash_everywhere
from tests.crash.scenarios import agent
from tests.crash.test_teams import one_child, what_the_world_saw

BUDGETS = {
    "steps": EvalBudget(max_steps=2),
    "tokens": EvalBudget(max_total_tokens=20),
    "cost": EvalBudget(max_total_cost_usd=0.01),
}


async def _go_on(runner: Runner, result: AgentResult) -> bool:
    """Whatever laid it down, it goes on, once somebody wants it to."""
    return True


@pytest.mark.parametrize("budget", BUDGETS)
@pytest.mark.parametrize("team", [False, True])
def test_a_run_that_was_laid_down_by_its_budget_ends_as_if_nothing_had_happened(budget: str, team: bool) -> None:
    met: list[Meter] = []

    async def begin(runner: Runner, made: Agent) -> AgentRunHandle:
        met.append(Meter(BUDGETS[budget]))
        return await runner.run_handle(made, user_message="Do it", guard=met[-1])

    described = one_child if team else agent([["pay"], ["put", "look"], ["pay"]])
    matrix = crash_everywhere(CrashScenario(agent=described, begin=begin, answer=_go_on), what_the_world_saw if team else None)

    assert matrix.unkilled.state == "completed"
    assert met[0].passed is not None, "the budget did lay the run down"
    assert matrix.problems == []
    assert len(matrix.outcomes) > 20
