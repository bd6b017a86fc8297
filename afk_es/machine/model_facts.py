"""What the facts about a step's model call change: instructions, requests, answers, failures, and the validation of a final answer."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from afk_es.machine.breaker import CLOSED, Breaker, may_call, succeeded
from afk_es.machine.breaker import failed as breaker_failed
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.legality import CALL_LEGAL, broken
from afk_es.machine.retries import backoff
from afk_es.machine.spec import POLICIES, RunSpec
from afk_es.machine.state import Failure, ModelCall, RunState
from afk_es.machine.values import Message, ToolCall, Usage, digest_json


def call_under_way(state: RunState, event: AgentRunEvent) -> ModelCall:
    call = state.call
    if call is None or call.status not in CALL_LEGAL[event.type]:
        raise broken(event, f"{event.type} for a model call that is {'none' if call is None else call.status!r}")
    return call


def instructions_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    text = data["instructions"]
    facets = replace(state.facets, instructions=digest_json(text))
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        instructions=text,
        facets=facets,
        call=replace(call_under_way(state, event), instructions_ready=True, failures=0),
    )


def llm_called(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if not 0 <= data["model_index"] < len(state.spec.models):
        raise broken(event, f"the agent has no model of index {data['model_index']}")
    call = replace(
        call_under_way(state, event),
        status="called",
        model_index=data["model_index"],
        attempt=data["attempt"],
        intent_seq=event.seq,
        wait=None,
    )
    return replace(state, seq=event.seq, at=event.at, call=call, llm_calls=state.llm_calls + 1)


def llm_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    call = call_under_way(state, event)
    breakers = state.breakers
    if breakers:
        breakers = _with_breaker(breakers, spec, call.model_index, succeeded(breakers[call.model_index]))
    calls = tuple([ToolCall(item["id"], item["tool_name"], item["arguments"]) for item in data["tool_calls"]])
    text = data["text"]
    usage = data["usage"]
    cost = data["cost_usd"]
    unpriced = cost is None and spec.limits.max_total_cost_usd is not None
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        phase="requested" if calls else "output" if spec.output_schema is not None else "answered",
        messages=state.messages.appended(Message("assistant", text, calls)),
        call=None,
        requested=calls,
        answer=text,
        output=data.get("structured_response"),
        usage=state.usage if usage is None else state.usage + Usage(usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]),
        cost_usd=state.cost_usd if cost is None else state.cost_usd + Decimal(repr(cost)),
        cost_known=state.cost_known or cost is not None,
        fault=unknown_price(data.get("model") or spec.models[0].model) if unpriced else state.fault,
        breakers=breakers,
    )


def unknown_price(model: str) -> Failure:
    """The failure of a run whose cost limit cannot be enforced."""
    return Failure(
        f"max_total_cost_usd is set, but the price of model {model!r} is unknown, so the limit cannot be held: register the model's price "
        "with LiteLLM, set LLMResponse.cost_usd in your model, or remove the limit",
        UNKNOWN_PRICE,
    )


UNKNOWN_PRICE = "UnknownPrice"


def unpriced(spec: RunSpec) -> str | None:
    """The first model that this agent may ask whose price is known not to be known, where its costs are limited."""
    if spec.limits.max_total_cost_usd is None:
        return None
    asked = spec.models if spec.retention is None or spec.retention.model is None else (*spec.models, spec.retention.model)
    return next((model.model for model in asked if model.priced is False), None)


def llm_failed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    call = call_under_way(state, event)
    failures = call.failures + 1
    failure = Failure(data["error"], data["error_type"], data["classification"])
    # What failed before the model was asked, as the instructions may, is no affair of the model's.
    asked = call.status == "called"
    breakers = _breakers_after(state, call, failure, event.at.timestamp()) if asked else state.breakers
    retries, _consequence = POLICIES[spec.policies.llm_failure]
    retry = (spec.models[call.model_index].retry if asked else None) or spec.retry
    following = replace(call, failures=failures, failure=failure)
    if retries and failure.classification == "retryable" and failures < retry.attempts:
        wait = backoff(retry, failures, run_id=event.run_id, seq=event.seq, at=event.at, retry_after_s=data.get("retry_after_s"))
        if (
            asked
            and breakers
            and spec.breaker is not None
            and not may_call(breakers[call.model_index], spec.breaker, wait.until.timestamp())
        ):
            # The breaker would still be open when the delay is over: what it has to say is said now.
            following = replace(following, status="allowed")
        else:
            following = replace(following, status="backoff", wait=wait)
    else:
        following = _next_model(following, spec) if asked else replace(following, status="failed")
    return replace(state, seq=event.seq, at=event.at, call=following, breakers=breakers)


def circuit_open(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    call = call_under_way(state, event)
    if data["model_index"] != call.model_index:
        raise broken(event, f"model {data['model_index']} is not the one that is to be asked")
    following = _next_model(replace(call, failure=Failure(event.message, "CircuitOpen")), state.spec)
    return replace(state, seq=event.seq, at=event.at, call=following)


def _next_model(call: ModelCall, spec: RunSpec) -> ModelCall:
    """The call when this model is given up: the fallback's turn, or its end."""
    if call.model_index + 1 < len(spec.models):
        return replace(call, status="allowed", model_index=call.model_index + 1, attempt=0, failures=0)
    return replace(call, status="failed")


def _breakers_after(state: RunState, call: ModelCall, failure: Failure, at: float) -> tuple[Breaker, ...]:
    """The breakers after a failed request. What cannot pass by itself says nothing of the provider."""
    spec = state.spec
    if spec.breaker is None or failure.classification != "retryable":
        return state.breakers
    before = state.breakers[call.model_index] if state.breakers else CLOSED
    return _with_breaker(state.breakers, spec, call.model_index, breaker_failed(before, spec.breaker, at))


def _with_breaker(breakers: tuple[Breaker, ...], spec: RunSpec, index: int, breaker: Breaker) -> tuple[Breaker, ...]:
    """The breakers with this one in its place; none where all are closed."""
    changed = [*(breakers or [CLOSED] * len(spec.models))]
    changed[index] = breaker
    return tuple(changed) if any(each != CLOSED for each in changed) else ()


def output_validated(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(state, seq=event.seq, at=event.at, output=data["output"], phase="answered")


def output_rejected(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    text = f"Your answer does not have the required form. Answer again, with JSON that satisfies the schema.\n{data['error']}"
    return replace(state, seq=event.seq, at=event.at, output=None, phase="between", messages=state.messages.appended(Message("user", text)))
