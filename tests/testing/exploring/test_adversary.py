"""Goal: an adversary takes runs far, does everything that it may do and nothing else, and does it again for the same seed."""

from __future__ import annotations

from collections import Counter

import pytest

from afk_es.cli.demo_agent import agent as desk
from afk_es.errors import ConfigurationError, UsageError
from afk_es.testing import Adversary, Crash, SeededChoices, Simulation, StalledProcess, WorldOptions
from afk_es.testing.exploring.world_options import CALM


def explored(seed: int, world: WorldOptions | None = None) -> Simulation:
    simulation = Simulation(desk)
    simulation.begin()
    adversary = Adversary(SeededChoices(seed), world)
    while (action := adversary.next_action(simulation)) is not None:
        simulation.perform(action)
    simulation.finish()
    simulation.close()
    return simulation


def test_the_same_seed_plays_alike() -> None:
    first, second = explored(7), explored(7)
    assert first.script == second.script
    assert [run.events for run in first.runs.values()] == [run.events for run in second.runs.values()]


def test_some_dozens_of_examples_reach_every_tool_and_most_of_what_can_happen() -> None:
    seen: Counter[str] = Counter()
    for seed in range(60):
        for run in explored(seed).runs.values():
            seen.update(event.type for event in run.events)
            seen.update(f"{event.data['tool_name']} {event.data['outcome']}" for event in run.events if event.type == "tool_completed")
            seen[run.state.status] += 1
    assert {f"{tool.name} returned" for tool in desk.tools} <= set(seen)
    assert {"completed", "failed", "cancelled", "issue_refund denied", "issue_refund invalid"} <= set(seen)
    assert {"tool_deferred", "tool_background_resolved", "tool_background_failed", "llm_failed", "effect_in_doubt", "limit_reached"} <= set(
        seen
    )


def test_a_calm_world_has_no_troubles() -> None:
    for seed in range(20):
        simulation = explored(seed, CALM)
        (run,) = simulation.runs.values()
        outcomes = {event.data["outcome"] for event in run.events if event.type == "tool_completed"}
        assert outcomes <= {"returned", "denied", "limited"}
        assert run.state.status == "completed" or run.events[-2].type == "limit_reached"
        assert simulation.processes == 1


def test_a_trouble_that_is_taken_away_does_not_happen() -> None:
    world = WorldOptions(always=frozenset({"crashes", "stalls"}))
    assert any(isinstance(action, Crash) for seed in range(10) for action in explored(seed, world).script)
    for seed in range(20):
        assert not any(isinstance(action, Crash | StalledProcess) for action in explored(seed, world.without("crashes", "stalls")).script)


def test_a_trouble_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is no trouble 'earthquakes'"):
        WorldOptions(always=frozenset({"earthquakes"}))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="at least one action"):
        WorldOptions(actions=0)


def test_a_seed_draws_from_no_strategy() -> None:
    with pytest.raises(UsageError, match="a seed cannot draw"):
        SeededChoices(1).drawn(object())
