"""Goal: what is judged at the end of a simulation: the log folds to the state, resuming changes nothing, nothing was raised."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import HeadConflictError, UsageError
from afk_es.testing.invariants import FoldIsTheState, Invariant, InvariantViolation, NothingBreaks, ResumingTheEndedChangesNothing, checked
from afk_es.testing.simulation.facts import Answer, Call, ModelAnswers, StalledProcess, ToolReturns
from afk_es.testing.simulation.world import Simulation
from tests.bugs.agents import look_up, shop

CALLS = ModelAnswers(calls=(Call("c0", "look_up", {"order": "A-17"}),), cost_usd=0.1)


@pytest.fixture
def over() -> Any:
    """Finishes a simulation that is watched by an invariant, and is about to be closed."""
    simulations: list[Simulation] = []

    def made(kind: type[Invariant], *script: Any) -> Simulation:
        simulation = Simulation(shop(tools=(look_up,), policy=None), observers=checked([kind]))
        simulations.append(simulation)
        simulation.begin()
        simulation.play((Answer("model:shop:1", CALLS), Answer("tool:look_up:1", ToolReturns("so")), *script))
        simulation.finish()
        return simulation

    yield made
    for simulation in simulations:
        simulation.abandon()


@pytest.mark.parametrize("kind", [FoldIsTheState, ResumingTheEndedChangesNothing, NothingBreaks])
def test_a_right_one_passes(kind: type[Invariant], over: Any) -> None:
    over(kind).close()


def test_the_state_is_not_what_the_log_folds_to(over: Any) -> None:
    simulation = over(FoldIsTheState)
    simulation.root.state = replace(simulation.root.state, tool_calls=7)
    with pytest.raises(InvariantViolation, match="tool_calls is not as the log"):
        simulation.close()


def test_what_is_read_back_is_not_what_was_written(over: Any) -> None:
    simulation = over(FoldIsTheState)
    run = simulation.root
    run.events[3] = replace(run.events[3], message="forged")
    with pytest.raises(InvariantViolation, match="not what was written"):
        simulation.close()


def test_an_effect_is_dispatched_in_a_state_that_the_log_does_not_have(over: Any) -> None:
    simulation = over(FoldIsTheState)
    run = simulation.root
    ask: Any = type("Forged", (), {"key": "tool:pay:1", "run_id": run.run_id, "state": replace(run.state, llm_calls=9)})
    simulation.asked(ask)
    with pytest.raises(InvariantViolation, match="llm_calls is not as the log has it"):
        simulation.close()


def test_resumed_after_its_end_it_has_another_result(over: Any) -> None:
    simulation = over(ResumingTheEndedChangesNothing)
    simulation.results[-1] = simulation.results[-1].model_copy(update={"final_text": "something else"})
    with pytest.raises(InvariantViolation, match="another result: final_text"):
        simulation.close()


def test_a_process_raises(over: Any) -> None:
    simulation = over(NothingBreaks)
    simulation.process.faults.append(ZeroDivisionError("nobody awaited it"))
    with pytest.raises(InvariantViolation, match="ZeroDivisionError: nobody awaited it"):
        simulation.close()


@pytest.mark.parametrize("error", [HeadConflictError("taken over"), UsageError("too late")])
def test_what_a_process_may_raise(error: Exception, over: Any) -> None:
    simulation = over(NothingBreaks)
    simulation.process.faults.append(error)
    simulation.close()


def test_a_stalled_process_is_refused_and_that_is_right(over: Any) -> None:
    simulation = over(NothingBreaks, StalledProcess())
    simulation.close()
    assert [type(error) for error in simulation.errors] == [HeadConflictError]
