"""A log is data, perhaps somebody else's: events of the declared shape with absurd values end in an InvariantError, and in nothing else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine import AgentRunEvent, evolve, fold, initial_state
from afk_es.machine.state import RunState
from tests.machine.simulation import control
from tests.machine.situations import executing

_AT = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_AGENT: dict[str, Any] = {"agent_name": "a", "models": [{"model": "m", "provider": "p"}]}


def started(at: dt.datetime = _AT, **spec: Any) -> AgentRunEvent:
    data = {"agent_name": "a", "resumed": False, "epoch": 1, "owner": "o", "agent": {**_AGENT, **spec}}
    return AgentRunEvent("run_started", "run_1", "thread_1", 1, at, "running", 0, "", data)


def then(before: RunState, kind: str, **data: Any) -> AgentRunEvent:
    return AgentRunEvent(kind, before.run_id, before.thread_id, before.seq + 1, before.at, "running", before.step, "", data)


@pytest.mark.parametrize(
    "first",
    [
        started(models=[]),
        started(models="m"),
        started(limits={"max_wall_time_s": -1e300}),
        started(limits={"max_wall_time_s": "long"}),
        started(at=dt.datetime.max.replace(tzinfo=dt.UTC)),
    ],
    ids=["no model", "models of another shape", "a limit below all times", "a limit of another shape", "the end of time"],
)
def test_an_absurd_beginning(first: AgentRunEvent) -> None:
    with pytest.raises(InvariantError, match="run run_1 at seq 1"):
        evolve(initial_state("run_1", "thread_1"), first)


@pytest.mark.parametrize("index", [-1, 1, 2**40])
def test_a_model_that_the_agent_does_not_have(index: int) -> None:
    state = fold(initial_state("run_1", "thread_1"), [started()])
    state = evolve(state, then(state, "step_started", step=1, state="running"))
    state = evolve(state, then(state, "policy_decision", action="allow"))
    called = {"model": "m", "provider": "p", "model_index": index, "attempt": 1, "ordinal": 1, "request_hash": ""}
    with pytest.raises(InvariantError, match="no model of index"):
        evolve(state, then(state, "llm_called", **called))


def test_a_retry_after_the_end_of_time() -> None:
    retry = {"attempts": 2_000, "base_s": 1e300, "cap_s": 1e300}
    state = fold(initial_state("run_1", "thread_1"), [started(retry=retry)])
    state = evolve(state, then(state, "step_started", step=1, state="running"))
    failed = {"error": "e", "error_type": "E", "classification": "retryable", "model": "m", "attempt": 0}
    with pytest.raises(InvariantError, match="llm_failed holds what cannot be"):
        evolve(state, then(state, "llm_failed", **failed))


def test_an_event_without_its_data() -> None:
    state = executing(["work"]).state
    with pytest.raises(InvariantError, match="tool_completed holds what cannot be: KeyError"):
        evolve(state, then(state, "tool_completed"))


def test_a_type_of_a_later_version_moves_the_position_and_the_time_and_nothing_else() -> None:
    state = executing(["work"]).state
    event = then(state, "from_the_future", what="ever")
    later = replace(event, at=event.at + dt.timedelta(seconds=1))
    assert evolve(state, later) == replace(state, seq=state.seq + 1, at=later.at)


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("limit_reached", {"limit": "max_steps", "maximum": 1, "used": 1}),
        ("tool_completed", {"tool_call_id": "c-0"}),
        ("run_interrupted", {"reason": "again"}),
    ],
)
def test_after_its_end_a_run_goes_on_by_being_taken_over_and_by_nothing_else(kind: str, data: dict[str, Any]) -> None:
    run = executing(["work"])
    run.put(control("interrupt"))
    run.effects()
    assert run.state.status == "interrupted"
    with pytest.raises(InvariantError, match=f"{kind} cannot happen in phase '{run.state.phase}' of a run that is interrupted"):
        evolve(run.state, then(run.state, kind, **data))


def test_a_run_that_has_ended_for_good_is_not_resumed() -> None:
    run = executing(["work"])
    run.put(control("cancel"))
    run.effects()
    claim = {"agent_name": "agent", "resumed": True, "epoch": 2, "owner": "o"}
    with pytest.raises(InvariantError, match=f"run_started cannot happen in phase '{run.state.phase}' of a run that is cancelled"):
        evolve(run.state, then(run.state, "run_started", **claim))
