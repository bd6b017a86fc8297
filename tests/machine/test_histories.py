"""What the fold refuses, and how it says so."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from afk_es.errors import InvalidEventError, InvariantError
from afk_es.machine import AgentRunEvent, Draft, RunState, decide, evolve, initial_state, stamp
from afk_es.machine.effects import CallModel, ExecuteTool
from afk_es.machine.events import validate
from afk_es.machine.values import Messages
from tests.machine.simulation import (
    control,
    llm_completed,
    spec_of,
)
from tests.machine.situations import asking_model, started


def broken(state: RunState, kind: str, data: dict[str, Any], match: str) -> None:
    """Then the fold refuses the event and names where."""
    with pytest.raises(InvariantError, match=match):
        evolve(state, stamp(state, Draft(kind, data), state.at))


def test_the_fold_refuses_what_cannot_have_happened() -> None:
    empty = initial_state("run_1", "thread_1")
    claim = {"agent_name": "a", "epoch": 1, "owner": "o"}
    broken(empty, "step_started", {"step": 1, "state": "running"}, "run run_1 at seq 1: .*phase 'new'")
    broken(empty, "run_started", {**claim, "resumed": True}, "does not follow epoch 0")
    broken(empty, "run_started", {**claim, "resumed": False}, "carries no agent")
    run = asking_model()
    (call,) = run.wanted(CallModel)
    run.answer(call, llm_completed("c", ["look"]))
    with pytest.raises(InvariantError, match="the fold stands at seq"):
        evolve(run.state, run.events[0])
    run.answer_plainly(ExecuteTool)
    broken(run.state, "tool_completed", {"tool_call_id": "nobody"}, "which is 'not open'")
    broken(run.state, "tool_started", {"tool_call_id": "c-0"}, "which is 'running'")
    run.put(control("cancel"))
    run.effects()
    broken(run.state, "warning", {"kind": "late"}, "that is cancelled")
    assert decide(run.state).events == decide(empty).events == ()


def test_a_second_answer_of_the_model_is_refused() -> None:
    run = started()
    run.effects()
    broken(run.state, "llm_completed", llm_completed("c").data, "model call that is 'waiting'")


def test_data_of_the_wrong_shape_is_named_and_what_is_newer_passes() -> None:
    with pytest.raises(InvalidEventError, match=r"timer_fired: .*timer"):
        validate("timer_fired", {})
    validate("from_the_future", {})
    validate("timer_fired", {"timer": "t", "colour": "blue"})


def test_an_agent_shared_by_many_runs_is_decoded_once_and_forgotten_in_time() -> None:
    agents = [msgspec.to_builtins(spec_of(instructions=f"Agent {number}.")) for number in range(40)]
    specs = [first_state(agent).spec for agent in agents]
    assert first_state(agents[-1]).spec is specs[-1]
    assert first_state(agents[0]).spec is not specs[0]


def first_state(agent: dict[str, Any]) -> RunState:
    """The state after the first event of a run of that agent."""
    state = initial_state("r", "t", Messages())
    data = {"agent_name": "a", "resumed": False, "epoch": 1, "owner": "o", "agent": agent}
    event: AgentRunEvent = stamp(state, Draft("run_started", data), state.at)
    return evolve(state, event)
