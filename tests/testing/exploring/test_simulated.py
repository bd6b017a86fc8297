"""Goal: simulations are there for Hypothesis too, and it shrinks them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from afk_es.testing import SHIPPED, Simulation, WorldOptions, simulations
from tests.testing.exploring.desks import desk

QUIET = WorldOptions(actions=6, troubles=frozenset({"parallel_calls"}))
PLAIN = settings(
    max_examples=10, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck), phases=[Phase.generate]
)


@PLAIN
@given(simulations(desk, invariants=SHIPPED))
def test_a_simulation_is_over_when_it_is_drawn(simulation: Simulation) -> None:
    assert simulation.root is not None
    assert simulation.root.state.ended
    assert simulation.results
    assert "support-desk" in repr(simulation)


def test_a_failing_simulation_is_shrunk_and_its_script_noted() -> None:
    @settings(PLAIN, max_examples=100, phases=[Phase.generate, Phase.shrink])
    @given(simulations(desk, world=QUIET))
    def nobody_is_refunded(simulation: Simulation) -> None:
        for run in simulation.runs.values():
            assert not any(event.type == "tool_started" and event.data["tool_name"] == "issue_refund" for event in run.events)

    with pytest.raises(AssertionError) as caught:
        nobody_is_refunded()
    assert any('asks for issue_refund(order_id="", amount=0, reason="")' in note for note in caught.value.__notes__)
