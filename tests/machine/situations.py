"""Where a run may stand when an example begins, and what may happen to it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from afk_es.machine import Draft, RunSpec
from afk_es.machine.effects import CallModel, EvaluatePolicy, ExecuteTool, Wait
from tests.machine.simulation import (
    Simulation,
    llm_completed,
    policy,
    spec_of,
)


def started(spec: RunSpec | None = None, **changes: Any) -> Simulation:
    """Given a run that has just begun."""
    run = Simulation(spec or spec_of(**changes))
    run.start()
    return run


def asking_model(**changes: Any) -> Simulation:
    """Given a run whose model is being asked."""
    run = started(**changes)
    run.answer_plainly(CallModel)
    return run


def gating(names: Sequence[str], **changes: Any) -> Simulation:
    """Given a run whose model wants these tools, none of them gated yet."""
    run = asking_model(**changes)
    run.put(llm_completed("c", names))
    run.effects()
    return run


def executing(names: Sequence[str], **changes: Any) -> Simulation:
    """Given a run whose tools run."""
    run = gating(names, **changes)
    run.answer_plainly(ExecuteTool)
    return run


def answer_model(run: Simulation, draft: Draft) -> None:
    """When the model answers; what stands before the call is answered plainly."""
    run.answer_plainly(CallModel)
    (call,) = run.wanted(CallModel)
    run.answer(call, draft)
    run.effects()


def fire_timers(run: Simulation) -> None:
    """When the next retry is due."""
    wait = next(effect for effect in run.wanted(Wait) if effect is not run.state.deadline)
    run.answer(wait, Draft("timer_fired", {"timer": wait.timer}))
    run.effects()


def state_of(run: Simulation) -> str:
    """The status once the machine has concluded all it can."""
    run.effects()
    return run.state.status


def asked(action: str, *, payload: dict[str, Any] | None = None, **changes: Any) -> Simulation:
    """Given a run whose one call must be put before a person."""
    run = gating(["pay"], **changes)
    (gate,) = run.wanted(EvaluatePolicy)
    assert gate.call is not None
    run.answer(gate, policy(action, gate.call, request_payload=payload or {}))
    run.effects()
    return run
