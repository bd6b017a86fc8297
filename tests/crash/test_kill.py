"""Goal: a run survives `kill -9`. Method: a child stops at a named place, is killed there, and a new process resumes its run."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest

from tests.crash.child import EFFECTS
from tests.crash.family import ask_log, check_survival, child, events_of, resumed, unkilled

pytestmark = pytest.mark.kill

PLACES = [(plan, f"{when} {effect}") for plan, effects in EFFECTS.items() for effect in effects for when in ("before", "after")]
PAYMENTS = {"sequential": {"call_1_1", "call_3_1"}, "parallel": {"call_1_1", "call_1_4"}}
"""The calls that must not be repeated, so that a death in the middle of one leaves its outcome unknown."""

RANDOM_MOMENTS = 8


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Per plan, the result of the run that nobody kills."""
    return {plan: unkilled(tmp_path_factory.mktemp(plan), plan) for plan in EFFECTS}


@pytest.mark.parametrize(("plan", "place"), PLACES)
def test_killed_before_and_after_every_effect(tmp_path: Path, expected: dict[str, Any], plan: str, place: str) -> None:
    with child(tmp_path, "run", plan, stop=place) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    prefix = events_of(tmp_path, run_id)
    result = resumed(tmp_path, plan, run_id)[run_id]
    unknown = check_survival(tmp_path, run_id, prefix, result, expected[plan])
    effect = place.split()[1]
    assert set(unknown) <= PAYMENTS[plan] if effect.startswith("call") else not unknown
    assert effect in unknown or effect not in PAYMENTS[plan]


@pytest.mark.parametrize("place", [f"{when} call_1_{n}" for n in (1, 2, 4) for when in ("before", "after")])
def test_killed_when_the_siblings_have_returned(tmp_path: Path, expected: dict[str, Any], place: str) -> None:
    """Results of a parallel batch are appended as they come, so three of the four survive the one that is lost."""
    with child(tmp_path, "run", "parallel", stop=place, alone=True) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        while sum(event.type == "tool_completed" for event in events_of(tmp_path, run_id)) < 3:
            time.sleep(0.01)
        one.kill()
    prefix = events_of(tmp_path, run_id)
    result = resumed(tmp_path, "parallel", run_id)[run_id]
    unknown = check_survival(tmp_path, run_id, prefix, result, expected["parallel"])
    assert unknown == ([place.split()[1]] if place[-1] in "14" else [])


@pytest.mark.parametrize("seed", range(RANDOM_MOMENTS))
def test_killed_at_a_random_moment(tmp_path: Path, expected: dict[str, Any], seed: int) -> None:
    chance = random.Random(seed)
    plan = chance.choice(list(EFFECTS))
    moment_s = chance.uniform(0, 0.25)
    print(f"seed {seed}: {plan}, killed {moment_s:.3f} s after the run was acknowledged")
    with child(tmp_path, "run", plan, pause_s=0.02) as one:
        _, run_id = one.hear("run")
        time.sleep(moment_s)
        one.kill()
    prefix = events_of(tmp_path, run_id)
    result = resumed(tmp_path, plan, run_id)[run_id]
    check_survival(tmp_path, run_id, prefix, result, expected[plan])


@pytest.mark.parametrize("seed", range(2))
def test_killed_in_the_middle_of_fifty_runs(tmp_path: Path, expected: dict[str, Any], seed: int) -> None:
    """Every run that was acknowledged is in the log, and every run in the log comes to its end."""
    chance = random.Random(seed)
    moment_s = chance.uniform(0.0, 0.3)
    print(f"seed {seed}: killed {moment_s:.3f} s after the last of 50 runs was acknowledged")
    with child(tmp_path, "run", "parallel", runs=50, pause_s=0.05) as one:
        acknowledged = [one.hear("run")[1] for _ in range(50)]
        time.sleep(moment_s)
        one.kill()
    stored = [record.run_id for record in ask_log(tmp_path, lambda log: log.runs(limit=100))]
    assert set(acknowledged) == set(stored)
    prefixes = {run_id: events_of(tmp_path, run_id) for run_id in stored}
    results = resumed(tmp_path, "parallel", *stored)
    assert set(results) == set(stored)
    for run_id in stored:
        check_survival(tmp_path, run_id, prefixes[run_id], results[run_id], expected["parallel"])
