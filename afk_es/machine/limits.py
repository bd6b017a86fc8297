"""The limits of a run, checked before the move that would pass them, so that they hold exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

import msgspec

from afk_es.machine.events import Draft
from afk_es.machine.spec import POLICIES
from afk_es.machine.state import RunState


class Breach(msgspec.Struct, frozen=True, gc=False):
    """A limit that leaves no room for the next move, and what follows."""

    limit: str
    maximum: float
    used: float
    message: str
    consequence: Literal["fail", "degrade", "interrupt"]


def breached(state: RunState) -> Breach | None:
    """The limit that forbids another step, or None. A step asks the model at least once."""
    limits = state.spec.limits
    if state.step >= limits.max_steps:
        return _breach(state, "max_steps", limits.max_steps, state.step, "")
    return before_call(state)


def before_call(state: RunState) -> Breach | None:
    """The limit that forbids another request to the model, or None."""
    limits = state.spec.limits
    if state.llm_calls >= limits.max_llm_calls:
        last = state.call.failure.error if state.call is not None and state.call.failure is not None else ""
        return _breach(state, "max_llm_calls", limits.max_llm_calls, state.llm_calls, f"; the last attempt failed: {last}" if last else "")
    return before_effects(state)


def before_effects(state: RunState) -> Breach | None:
    """The limit that forbids any further effect, of a model or a tool, or None: the money is spent."""
    maximum = state.spec.limits.max_total_cost_usd
    if maximum is None or state.cost_usd < Decimal(repr(maximum)):
        return None
    return _breach(state, "max_total_cost_usd", maximum, float(state.cost_usd), "")


def wall_time(state: RunState) -> Breach:
    """The breach of a run whose time is used up. It is interrupted and not failed: with more time it can go on."""
    maximum = state.spec.limits.max_wall_time_s or 0.0
    message = (
        f"max_wall_time_s reached: {maximum:g} s of {maximum:g} used; to go on, resume with an agent whose limit is higher "
        "and allow_agent_change=True"
    )
    return Breach("max_wall_time_s", maximum, maximum, message, "interrupt")


def ending(state: RunState, breach: Breach) -> tuple[Draft, ...]:
    """How a run ends that has hit a limit."""
    reached = Draft("limit_reached", {"limit": breach.limit, "maximum": breach.maximum, "used": breach.used}, breach.message)
    if breach.consequence == "interrupt":
        return reached, Draft("run_interrupted", {"reason": breach.message}, breach.message)
    if breach.consequence == "degrade":
        return (reached, *degraded(state, breach.message))
    return (reached, *failed(breach.message, "LimitReached"))


def failed(error: str, error_type: str) -> tuple[Draft, ...]:
    """The run fails."""
    return (Draft("run_failed", {"error": error, "error_type": error_type}, error),)


def degraded(state: RunState, *missing: str) -> tuple[Draft, ...]:
    """The run ends with part of the work, saying what is missing."""
    sentences = [*state.missing, *missing]
    return (Draft("run_completed", {"state": "degraded", "missing": sentences}, "; ".join(sentences)),)


def _breach(state: RunState, limit: str, maximum: float, used: float, detail: str) -> Breach:
    _retries, consequence = POLICIES[state.spec.policies.llm_failure]
    message = f"{limit} reached: {used:g} of {maximum:g} used{detail}"
    return Breach(limit, maximum, used, message, "degrade" if consequence == "degrade" else "fail")
