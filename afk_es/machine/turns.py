"""The model call of a step: instructions, policy, attempts, fallback models."""

from __future__ import annotations

from typing import Any

from afk_es.machine.breaker import cooldown_left_s, may_call
from afk_es.machine.effects import CallModel, Effect, EvaluatePolicy, ResolveInstructions, RouteSubagents
from afk_es.machine.events import Draft
from afk_es.machine.limits import before_call, breached, degraded, ending, failed
from afk_es.machine.requests import request_hash
from afk_es.machine.spec import POLICIES
from afk_es.machine.state import ModelCall, RunState
from afk_es.machine.values import digest


def start_step(state: RunState) -> tuple[Draft, ...]:
    """The next step begins."""
    return (Draft("step_started", {"step": state.step + 1, "state": state.status}),)


def decide_call(state: RunState) -> tuple[Draft, ...]:
    """What the machine itself concludes about the model call of this step."""
    call = state.call
    assert call is not None
    match call.status:
        case "allowed":
            return _ask(state, call)
        case "in_doubt":
            return (Draft("effect_in_doubt", {"effect": "llm", "intent_seq": call.intent_seq, "resolution": "ask_again"}),)
        case "denied":
            return _give_up(state, call)
        case "failed":
            return _after_failure(state, call)
        case _:
            return ()


def call_effects(state: RunState) -> tuple[Effect, ...]:
    """What should be under way for the model call of this step."""
    call = state.call
    spec = state.spec
    assert call is not None
    match call.status:
        case "waiting":
            if spec.delegation is not None and spec.delegation.routed and not call.routed:
                return (RouteSubagents(f"route:{state.step}", state.step),)
            if spec.dynamic_instructions and not call.instructions_ready:
                return (ResolveInstructions(f"instructions:{state.step}", state.step),)
            return (EvaluatePolicy(f"policy:{state.step}", "llm_before_execute", state.step),)
        case "called":
            model = spec.models[call.model_index].model
            return (
                CallModel(
                    f"llm:{call.intent_seq}",
                    call.intent_seq,
                    call.model_index,
                    model,
                    call.attempt,
                    state.messages,
                    state.instructions,
                    # The same for every attempt of a step: a provider that honours it answers once.
                    digest(f"{state.run_id}:llm:{state.step}:{call.model_index}".encode()),
                ),
            )
        case "backoff":
            return (call.wait,) if call.wait is not None else ()
        case _:
            return ()


def _ask(state: RunState, call: ModelCall) -> tuple[Draft, ...]:
    spec = state.spec
    breach = before_call(state)
    if breach is not None:
        return ending(state, breach)
    model = spec.models[call.model_index]
    if state.breakers and spec.breaker is not None:
        breaker, now = state.breakers[call.model_index], state.at.timestamp()
        if not may_call(breaker, spec.breaker, now):
            last = call.model_index + 1 == len(spec.models)
            return (_not_asked(call, model.model, breaker.failures, cooldown_left_s(breaker, spec.breaker, now), last=last),)
    return (
        Draft(
            "llm_called",
            {
                "model": model.model,
                "provider": model.provider,
                "model_index": call.model_index,
                "attempt": call.attempt + 1,
                "ordinal": state.llm_calls + 1,
                "request_hash": request_hash(state, model.model),
            },
        ),
    )


def _not_asked(call: ModelCall, model: str, failures: int, cooldown_s: float, *, last: bool) -> Draft:
    why = f"; the last attempt failed: {call.failure.error}" if call.failure is not None and call.failures else ""
    message = f"model {model!r} was not asked: {failures} failures in a row, and it is left alone for another {cooldown_s:.3g} s{why}"
    data: dict[str, Any] = {"model": model, "model_index": call.model_index, "failures": failures, "cooldown_s": round(cooldown_s, 6)}
    data["classification"] = "terminal" if last else "retryable"
    return Draft("circuit_open", data, message)


def _give_up(state: RunState, call: ModelCall) -> tuple[Draft, ...]:
    """The policy refused the model call: there is nothing the run could do without it."""
    assert call.failure is not None
    if POLICIES[state.spec.policies.approval_denial][1] == "degrade":
        return degraded(state, call.failure.error)
    return failed(call.failure.error, call.failure.error_type)


def _after_failure(state: RunState, call: ModelCall) -> tuple[Draft, ...]:
    """Every attempt and every fallback is used up."""
    failure = call.failure
    assert failure is not None
    _retries, consequence = POLICIES[state.spec.policies.llm_failure]
    error = f"the model call failed: {failure.error}"
    match consequence:
        case "fail":
            return failed(error, failure.error_type)
        case "continue" if failure.classification == "retryable":
            breach = breached(state)
            return ending(state, breach) if breach is not None else start_step(state)
        case _:
            # Going on after an error that asking again cannot mend would only burn the remaining steps.
            return degraded(state, error)
