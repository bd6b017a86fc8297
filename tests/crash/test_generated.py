"""Goal: nobody chose the run that breaks. Method: runs drawn from a seed, killed at points drawn from it, once or twice; the seed is the test's.

`python -m tests.crash.matrix --only-generated --seeds N --deaths D` tries more of the same.
"""

from __future__ import annotations

import pytest

from afk_es.testing import crash_at, rehearse
from tests.crash.generated import KINDS, drawn_deaths, generated_run

SEEDS = range(14)
"""Among them is a run of each kind."""

BROKE_SOMETHING = [
    199,  # parent and subagent waited for approvals of the same id, and the parent's could not be named
]
"""Seeds that found a bug, kept."""

DEATHS = 4


@pytest.mark.parametrize("seed", [*SEEDS, *BROKE_SOMETHING])
def test_a_generated_run_survives(seed: int) -> None:
    run = generated_run(seed)
    rehearsal = rehearse(run.scenario)
    for points in drawn_deaths(seed, run.scenario, rehearsal.points, DEATHS):
        outcome = crash_at(run.scenario, points, rehearsal, run.check)
        assert outcome.problems == (), f"{run.name}, {run.scenario.user_message}, killed at {' and then '.join(map(str, points))}"


def test_all_kinds_are_among_them_and_a_seed_is_one_run() -> None:
    assert {generated_run(seed).kind for seed in SEEDS} == set(KINDS)
    for seed in SEEDS:
        (one, other) = (rehearse(generated_run(seed).scenario) for _ in range(2))
        assert (one.points, one.result.final_text) == (other.points, other.result.final_text)
