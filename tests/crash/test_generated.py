"""Goal: nobody chose the run that breaks. Method: runs drawn from a seed, killed at points drawn from it, once or twice; the seed is the test's."""

from __future__ import annotations

import random

import pytest

from afk_es.agents import FailSafeConfig
from afk_es.core import RunnerConfig
from afk_es.testing import CrashScenario, CrashTrial, crash_at, rehearse
from tests.crash.scenarios import agent, failing_at_first
from tests.crash.test_matrix import what_the_world_saw

SEEDS = 12
CRASHES = 12
TOOLS = ["pay", "look", "put", "flaky", "broken"]
"""Not the one that runs in a thread: which of its siblings it overtakes is not the same each time, and a point is named by its place."""


def drawn(chance: random.Random) -> CrashScenario:
    """A run of up to three batches of up to four calls, with limits, policies and failures as they fall.

    A tool fails at first only where it is tried again often enough: an attempt in doubt uses up one of the world's failures, so that the
    resumed run would do better than the one nobody killed. And where a failing tool fails the run, all calls of a batch start at once: else
    it would be a matter of time which of them it stops.
    """
    plan = [[chance.choice(TOOLS) for _ in range(chance.randint(1, 4))] for _ in range(chance.randint(1, 3))]
    policy, fail_times = chance.choice([("continue_with_error", 0), ("fail_run", 0), ("retry_then_continue", 1), ("retry_then_fail", 2)])
    fail_safe = FailSafeConfig(
        tool_failure_policy=policy,
        max_tool_calls=chance.choice([2, 4, 200]),
        max_parallel_tools=chance.choice([1, 2, 16]) if policy.endswith(("error", "continue")) else 16,
    )
    make = agent(plan, fail_times=fail_times, fail_safe=fail_safe, wrap=chance.choice([None, failing_at_first]))
    in_doubt = chance.choice(["report", "report", "retry", "ask"])
    return CrashScenario(agent=make, user_message=f"Do {plan}", config=RunnerConfig(in_doubt=in_doubt))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_drawn_run_survives(seed: int) -> None:
    chance = random.Random(seed)
    scenario = drawn(chance)
    rehearsal = rehearse(scenario)
    for first in chance.sample(rehearsal.points, min(CRASHES, len(rehearsal.points))):
        crashes = [first]
        if chance.random() < 0.5:
            with CrashTrial(scenario) as trial:
                trial.run_until(first)
                trial.run()
                crashes += chance.sample(trial.passed, min(1, len(trial.passed)))
        outcome = crash_at(scenario, crashes, rehearsal, what_the_world_saw)
        assert outcome.problems == (), f"seed {seed}, {scenario.user_message}, killed at {' and then '.join(map(str, crashes))}"
