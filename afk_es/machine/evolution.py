"""`evolve`: one fact in, the next state out.

Every type has one function here that says what it changes. What may happen in which phase is the table `LEGAL`, which the tests and the
debugger read too; the functions handle only what fits. A type that is not in the table of event types changes nothing but the position,
so an older version can fold a newer log as far as it understands it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.errors import InvariantError
from afk_es.machine.effects import Wait
from afk_es.machine.events import EVENT_TYPES, AgentRunEvent
from afk_es.machine.rendering import render_error, render_output
from afk_es.machine.requests import facets_of
from afk_es.machine.retries import backoff
from afk_es.machine.spec import POLICIES, FailurePolicy, Limits, RunSpec, ToolSpec
from afk_es.machine.state import ENDED, Control, Facets, Failure, ModelCall, RunState, Ticket, ToolBatch, ToolTurn
from afk_es.machine.values import Message, ToolCall, Usage, digest_json

_ANY_TIME = frozenset(
    {
        "control_requested",
        "timer_fired",
        "limit_reached",
        "thread_compacted",
        "warning",
        "tool_background_resolved",
        "tool_background_failed",
        "subagent_started",
        "subagent_completed",
        "run_started",
        "run_failed",
        "run_interrupted",
        "run_cancelled",
    }
)

LEGAL: dict[str, frozenset[str]] = {
    "new": frozenset({"run_started"}),
    "between": _ANY_TIME | {"step_started", "run_completed"},
    "model": _ANY_TIME
    | {
        "step_started",
        "instructions_resolved",
        "policy_decision",
        "llm_called",
        "llm_completed",
        "llm_failed",
        "effect_in_doubt",
        "run_completed",
    },
    "requested": _ANY_TIME | {"tool_batch_started", "run_completed"},
    "tools": _ANY_TIME
    | {
        "policy_decision",
        "tool_started",
        "tool_failed",
        "tool_completed",
        "tool_deferred",
        "approval_requested",
        "approval_resolved",
        "input_requested",
        "input_resolved",
        "effect_in_doubt",
    },
    "output": _ANY_TIME | {"output_validated", "output_rejected"},
    "answered": _ANY_TIME | {"run_completed"},
}
"""Per phase, the event types that may come. `step_started` in the model phase leaves a failed model call behind."""


CALL_LEGAL: dict[str, frozenset[str]] = {
    "instructions_resolved": frozenset({"waiting"}),
    "policy_decision": frozenset({"waiting"}),
    "llm_called": frozenset({"allowed"}),
    "llm_completed": frozenset({"called"}),
    "llm_failed": frozenset({"waiting", "called"}),
    "effect_in_doubt": frozenset({"in_doubt"}),
}
"""Per event type, the statuses of the step's model call in which it may come: so no request has two results."""

TURN_LEGAL: dict[str, frozenset[str]] = {
    "policy_decision": frozenset({"waiting"}),
    "tool_started": frozenset({"allowed"}),
    "tool_failed": frozenset({"waiting", "running"}),
    "tool_completed": frozenset({"running", "allowed", "denied", "failed", "limited", "unknown", "answered"}),
    "tool_deferred": frozenset({"running"}),
    "approval_requested": frozenset({"approval"}),
    "approval_resolved": frozenset({"asking"}),
    "input_requested": frozenset({"approval"}),
    "input_resolved": frozenset({"asking"}),
    "effect_in_doubt": frozenset({"in_doubt"}),
}
"""Per event type, the statuses of a tool call in which it may come: so no start has two results, and nothing runs ungated."""


def evolve(state: RunState, event: AgentRunEvent) -> RunState:
    """The state after this event.

    Raises:
        InvariantError: the event cannot happen in this state, or holds what no machine writes; the log was not written by this machine, or
            the machine has a bug.
    """
    kind = event.type
    handler = _HANDLERS.get(kind)
    if event.seq != state.seq + 1:
        raise _broken(event, f"the fold stands at seq {state.seq}")
    if handler is None:
        if kind in EVENT_TYPES:
            raise _broken(event, f"{kind} is never stored")
        return replace(state, seq=event.seq, at=event.at)
    if kind not in LEGAL[state.phase] or (state.status in ENDED and (kind != "run_started" or state.status != "interrupted")):
        raise _broken(event, f"{kind} cannot happen in phase {state.phase!r} of a run that is {state.status}")
    try:
        return handler(state, event, event.data)
    except _ABSURD as error:
        raise _broken(event, f"{kind} holds what cannot be: {type(error).__name__}: {error}") from error


# What absurd values lead to: times and numbers out of range, lists without the item, data that has not the shape the log would have checked.
_ABSURD = (ArithmeticError, LookupError, TypeError, ValueError, msgspec.MsgspecError)


def fold(state: RunState, events: Iterable[AgentRunEvent]) -> RunState:
    """The state after all these events."""
    for event in events:
        state = evolve(state, event)
    return state


def _broken(event: AgentRunEvent, message: str) -> InvariantError:
    return InvariantError(message, run_id=event.run_id, seq=event.seq)


# ---------------------------------------------------------------------------------------------------------------- the run and its steps

_SPECS: list[tuple[dict[str, Any], RunSpec, Facets]] = []
_SPECS_KEPT = 32


def _spec_of(data: dict[str, Any]) -> tuple[RunSpec, Facets]:
    """The decoded spec. The log shares one dict between all runs of an agent, so looking it up by identity decodes it once."""
    for known, spec, facets in _SPECS:
        if known is data:
            return spec, facets
    spec = msgspec.convert(data, RunSpec)
    if not spec.models:
        raise ValueError("an agent without a model")
    facets = facets_of(spec)
    _SPECS.append((data, spec, facets))
    if len(_SPECS) > _SPECS_KEPT:
        del _SPECS[0]
    return spec, facets


def _run_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    first = state.phase == "new"
    if first == bool(data["resumed"]) or data["epoch"] <= state.epoch:
        raise _broken(event, f"run_started(resumed={data['resumed']}, epoch={data['epoch']}) does not follow epoch {state.epoch}")
    if "agent" in data:
        spec, facets = _spec_of(data["agent"])
    elif first:
        raise _broken(event, "the first run_started carries no agent")
    else:
        spec, facets = state.spec, state.facets
    changes: dict[str, Any] = {
        "status": "running",
        # The time since the last event belongs to nobody: no process ran the run.
        "ran": state.elapsed,
        "since": event.at,
        "epoch": data["epoch"],
        "owner": data["owner"],
        "spec": spec,
        "facets": facets,
        "control": None,
        **_wall_time(spec.limits, event, state),
        "reason": "",
    }
    if not spec.dynamic_instructions:
        changes["instructions"] = spec.instructions
    elif not first:
        changes["facets"] = replace(facets, instructions=digest_json(state.instructions))
    if spec.limits.max_total_cost_usd is not None:
        unpriced = [model.model for model in spec.models if model.priced is False]
        if unpriced:
            changes["fault"] = unknown_price(unpriced[0])
    if first:
        changes["phase"] = "between"
        changes["context"] = data.get("context", {})
        text = data.get("user_message")
        if text is not None:
            changes["messages"] = state.messages.appended(Message("user", text))
    else:
        if state.call is not None:
            changes["call"] = _taken_over(state.call, spec)
        if state.batch is not None:
            turns = tuple(replace(turn, status="in_doubt") if turn.status == "running" else turn for turn in state.batch.turns)
            changes["batch"] = ToolBatch(state.batch.seq, turns)
    return replace(state, seq=event.seq, at=event.at, **changes)


def _taken_over(call: ModelCall, spec: RunSpec) -> ModelCall:
    """The call as a new owner finds it: a request under way is in doubt, and a fallback the new spec does not have gives way to the first."""
    if call.status == "called":
        call = replace(call, status="in_doubt")
    if call.model_index >= len(spec.models):
        call = replace(call, model_index=0, attempt=0, failures=0)
    return call


def _wall_time(limits: Limits, event: AgentRunEvent, state: RunState) -> dict[str, Any]:
    """The deadline of the stretch that begins with this event. A run with no time left does not start anything."""
    if limits.max_wall_time_s is None:
        return {"deadline": None, "overdue": False}
    timer = f"wall_time:{event.seq}"
    # Timers beyond a year are no limit; datetime could not hold them all.
    remaining = min(limits.max_wall_time_s - state.elapsed.total_seconds(), 365 * 86_400.0)
    return {"deadline": Wait(timer, timer, event.at + dt.timedelta(seconds=remaining)), "overdue": remaining <= 0}


def _step_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    messages = state.messages.appended(*state.notices) if state.notices else state.messages
    return replace(state, seq=event.seq, at=event.at, step=data["step"], phase="model", call=_FRESH_CALL, messages=messages, notices=())


_FRESH_CALL = ModelCall()


def _control_requested(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    action = data["action"]
    if action == "pause":
        return replace(state, seq=event.seq, at=event.at, status="paused", deadline=None, ran=state.elapsed_at(event.at), since=None)
    if action == "resume":
        if state.status != "paused":
            return replace(state, seq=event.seq, at=event.at)
        return replace(state, seq=event.seq, at=event.at, status="running", since=event.at, **_wall_time(state.spec.limits, event, state))
    if state.control is not None and state.control.action == "cancel":
        return replace(
            state, seq=event.seq, at=event.at
        )  # Whoever cancels means it: a later interrupt does not make the run one that can go on.
    return replace(state, seq=event.seq, at=event.at, control=Control(action, data["reason"] or f"{action} requested by {data['origin']}"))


def _timer_fired(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    timer = data["timer"]
    if state.deadline is not None and state.deadline.timer == timer:
        return replace(state, seq=event.seq, at=event.at, overdue=True)
    if state.call is not None and state.call.wait is not None and state.call.wait.timer == timer:
        # A call that was never sent failed before the policy was asked, so that is where it goes on.
        status = "allowed" if state.call.intent_seq else "waiting"
        return replace(state, seq=event.seq, at=event.at, call=replace(state.call, status=status, wait=None))
    if state.batch is not None:
        for turn in state.batch.turns:
            if turn.wait is not None and turn.wait.timer == timer:
                return replace(state, seq=event.seq, at=event.at, batch=state.batch.with_turn(replace(turn, status="allowed", wait=None)))
    return replace(state, seq=event.seq, at=event.at)


def _noted(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(state, seq=event.seq, at=event.at)


def _run_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        status=data["state"],
        missing=tuple(data.get("missing", ())),
        reason=event.message,
        ran=state.elapsed_at(event.at),
        since=None,
    )


def _run_ended(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(
        state, seq=event.seq, at=event.at, status=EVENT_STATUS[event.type], reason=event.message, ran=state.elapsed_at(event.at), since=None
    )


EVENT_STATUS = {"run_failed": "failed", "run_interrupted": "interrupted", "run_cancelled": "cancelled"}


# ---------------------------------------------------------------------------------------------------------------------- the model call


def _call(state: RunState, event: AgentRunEvent) -> ModelCall:
    call = state.call
    if call is None or call.status not in CALL_LEGAL[event.type]:
        raise _broken(event, f"{event.type} for a model call that is {'none' if call is None else call.status!r}")
    return call


def _instructions_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    text = data["instructions"]
    facets = replace(state.facets, instructions=digest_json(text))
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        instructions=text,
        facets=facets,
        call=replace(_call(state, event), instructions_ready=True, failures=0),
    )


def _llm_called(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if not 0 <= data["model_index"] < len(state.spec.models):
        raise _broken(event, f"the agent has no model of index {data['model_index']}")
    call = replace(
        _call(state, event), status="called", model_index=data["model_index"], attempt=data["attempt"], intent_seq=event.seq, wait=None
    )
    return replace(state, seq=event.seq, at=event.at, call=call, llm_calls=state.llm_calls + 1)


def _llm_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    _call(state, event)
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
    )


def unknown_price(model: str) -> Failure:
    """The failure of a run whose cost limit cannot be enforced."""
    return Failure(
        f"max_total_cost_usd is set, but the price of model {model!r} is unknown, so the limit cannot be held: register the model's price "
        "with LiteLLM, set LLMResponse.cost_usd in your model, or remove the limit",
        "UnknownPrice",
    )


def _llm_failed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    call = _call(state, event)
    failures = call.failures + 1
    failure = Failure(data["error"], data["error_type"], data["classification"])
    retries, _consequence = POLICIES[spec.policies.llm_failure]
    if retries and failure.classification == "retryable" and failures < spec.retry.attempts:
        wait = backoff(spec.retry, failures, run_id=event.run_id, seq=event.seq, at=event.at, retry_after_s=data.get("retry_after_s"))
        return replace(
            state, seq=event.seq, at=event.at, call=replace(call, status="backoff", failures=failures, wait=wait, failure=failure)
        )
    if call.model_index + 1 < len(spec.models) and call.status == "called":
        following = replace(call, status="allowed", model_index=call.model_index + 1, attempt=0, failures=0, failure=failure)
        return replace(state, seq=event.seq, at=event.at, call=following)
    return replace(state, seq=event.seq, at=event.at, call=replace(call, status="failed", failures=failures, failure=failure))


def _output_validated(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(state, seq=event.seq, at=event.at, output=data["output"], phase="answered")


def _output_rejected(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    text = f"Your answer does not have the required form. Answer again, with JSON that satisfies the schema.\n{data['error']}"
    return replace(state, seq=event.seq, at=event.at, output=None, phase="between", messages=state.messages.appended(Message("user", text)))


# -------------------------------------------------------------------------------------------------------------------- the tool calls


def _batch(state: RunState) -> ToolBatch:
    # The phase was checked, and "tools" is the phase that has a batch.
    assert state.batch is not None
    return state.batch


def _turn(state: RunState, event: AgentRunEvent) -> ToolTurn:
    tool_call_id = event.data["tool_call_id"]
    turn = _batch(state).find(tool_call_id)
    if turn is None or turn.status not in TURN_LEGAL[event.type]:
        raise _broken(event, f"{event.type} for tool call {tool_call_id!r}, which is {'not open' if turn is None else turn.status!r}")
    return turn


def _with(state: RunState, event: AgentRunEvent, turn: ToolTurn) -> RunState:
    return replace(state, seq=event.seq, at=event.at, batch=_batch(state).with_turn(turn))


def _tool_batch_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    room = state.spec.limits.max_tool_calls - state.tool_calls
    first = state.tool_requests + 1
    turns = tuple([ToolTurn(first + index, call, "waiting" if index < room else "limited") for index, call in enumerate(state.requested)])
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        phase="tools",
        batch=ToolBatch(event.seq, turns),
        requested=(),
        tool_requests=state.tool_requests + len(turns),
    )


def _policy_decision(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    action = data["action"]
    if state.phase == "model":
        call = _call(state, event)
        if action == "allow":
            return replace(state, seq=event.seq, at=event.at, call=replace(call, status="allowed"))
        failure = Failure(
            f"policy {data['policy_id']} did not allow the model call ({action}): {data['reason']}", "PolicyDenied", "non_fatal"
        )
        return replace(state, seq=event.seq, at=event.at, call=replace(call, status="denied", failure=failure))
    turn = _turn(state, event)
    arguments = data.get("updated_tool_args", turn.arguments)
    if action == "allow":
        return _with(state, event, replace(turn, status="allowed", arguments=arguments))
    changed = replace(
        turn,
        status="approval" if action in ("request_approval", "request_user_input") else "denied",
        arguments=arguments,
        policy_id=data["policy_id"],
        reason=data["reason"],
        payload=data.get("request_payload", {}),
        asks="input" if action == "request_user_input" else "approval",
    )
    return _with(state, event, changed)


def _tool_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    changed = replace(
        _turn(state, event),
        status="running",
        attempt=data["attempt"],
        intent_seq=event.seq,
        idempotency_key=data["idempotency_key"],
        wait=None,
        in_doubt=False,
    )
    batch = _batch(state).with_turn(changed)
    return replace(state, seq=event.seq, at=event.at, batch=batch, tool_calls=state.tool_calls + 1)


def _tool_failed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    turn = _turn(state, event)
    failure = Failure(data["error"], data["error_type"], data["classification"])
    tool = spec.tool(turn.call.tool_name)
    retries, _consequence = POLICIES[_failure_policy(spec, tool)]
    again = retries and failure.classification == "retryable" and tool is not None and tool.repeatable
    failures = turn.failures + 1
    if again and turn.attempt > 0 and failures < spec.retry.attempts:
        wait = backoff(spec.retry, failures, run_id=event.run_id, seq=event.seq, at=event.at)
        return _with(state, event, replace(turn, status="backoff", failures=failures, wait=wait, failure=failure))
    return _with(state, event, replace(turn, status="failed", failures=failures, failure=failure))


def _tool_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    turn = _turn(state, event)
    if data["success"]:
        content = render_output(data["output"], spec.rendering)
    else:
        content = render_error(data["error"] or "the call failed", spec.rendering)
    done = replace(turn, status="done", content=content)
    return _settled(state, event, done if data["success"] else _judged(state, done, data))


def _failure_policy(spec: RunSpec, tool: ToolSpec | None) -> FailurePolicy:
    return spec.policies.subagent_failure if tool is not None and tool.kind == "subagent" else spec.policies.tool_failure


def _judged(state: RunState, turn: ToolTurn, data: dict[str, Any]) -> ToolTurn:
    """The turn and what the policies make of a call that did not succeed. Bad arguments and denials by a rule are the model's to mend."""
    spec = state.spec
    outcome = data["outcome"]
    tool = spec.tool(turn.call.tool_name)
    if outcome in ("failed", "limited"):
        policy = _failure_policy(spec, tool)
    elif outcome == "denied" and turn.request is not None:
        policy = spec.policies.approval_denial
    else:
        return turn
    consequence = "fail" if outcome == "failed" and tool is not None and tool.raise_on_error else POLICIES[policy][1]
    sentence = f"tool {turn.call.tool_name!r} ({turn.call.id}): {data['error']}"
    return replace(turn, consequence=consequence, failure=Failure(sentence, _FAULT_TYPES[outcome]))


_FAULT_TYPES = {"failed": "ToolFailed", "limited": "LimitReached", "denied": "ApprovalDenied"}


def _settled(state: RunState, event: AgentRunEvent, turn: ToolTurn, **changes: Any) -> RunState:
    """A call is over. When it was the last of its batch, the results join the conversation in the order the model asked for them.

    So do the consequences: which of several failures a run fails by does not depend on who finished first.
    """
    batch = _batch(state).with_turn(turn)
    turns = batch.turns
    if turn.consequence == "fail":
        changes["fault"] = next(other.failure for other in turns if other.consequence == "fail")
    if [True for other in turns if other.status != "done"]:
        return replace(state, seq=event.seq, at=event.at, batch=batch, **changes)
    missing = [other.failure.error for other in turns if other.consequence == "degrade" and other.failure is not None]
    if missing:
        changes["missing"] = (*state.missing, *missing)
    results = [Message("tool", other.content, (), other.call.id) for other in turns]
    return replace(state, seq=event.seq, at=event.at, batch=None, phase="between", messages=state.messages.appended(*results), **changes)


def _tool_deferred(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = _turn(state, event)
    ticket = Ticket(data["ticket_id"], data["tool_name"], data["tool_call_id"], event.at, data.get("expires_at"))
    said = f"Accepted; it goes on in the background as ticket {data['ticket_id']}, and its result will follow."
    if data["summary"]:
        said += f" {data['summary']}"
    content = render_output(said, state.spec.rendering)
    return _settled(state, event, replace(turn, status="done", content=content), tickets=(*state.tickets, ticket))


def _background_ended(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if event.type == "tool_background_resolved":
        text = render_output(data["output"], state.spec.rendering)
    else:
        text = render_error(data["error"], state.spec.rendering)
    notice = Message("user", f"The background tool {data['tool_name']} (ticket {data['ticket_id']}) has ended.\n{text}")
    tickets = tuple(ticket for ticket in state.tickets if ticket.ticket_id != data["ticket_id"])
    if len(tickets) == len(state.tickets):
        return replace(state, seq=event.seq, at=event.at)  # Two processes resolved it: the first one's word holds.
    return replace(state, seq=event.seq, at=event.at, tickets=tickets, notices=(*state.notices, notice))


# ---------------------------------------------------------------------------------------------------------------- people and doubt


def _requested(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = _turn(state, event)
    _asked(turn, event)
    return _with(state, event, replace(turn, status="asking", request=data, intent_seq=event.seq))


def _asked(turn: ToolTurn, event: AgentRunEvent) -> None:
    if not event.type.startswith(turn.asks):
        raise _broken(event, f"{event.type} for tool call {turn.call.id!r}, which waits for {turn.asks}")


def _answers(turn: ToolTurn, event: AgentRunEvent, *keys: str) -> None:
    """A grant holds for this call with these arguments, and for nothing else."""
    _asked(turn, event)
    request = turn.request
    assert request is not None
    if any(request[key] != event.data[key] for key in keys):
        raise _broken(event, f"an answer to {event.data['request_id']!r}, which was not asked, or not with these arguments")


def _approval_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = _turn(state, event)
    _answers(turn, event, "request_id", "arguments_hash")
    if data["outcome"] == "granted":
        return _with(state, event, replace(turn, status="allowed"))
    if turn.in_doubt:
        return _with(state, event, replace(turn, status="unknown"))
    reason = data["reason"] or ("put off" if data["outcome"] == "deferred" else "denied")
    return _with(state, event, replace(turn, status="denied", reason=f"{reason} (by {data['by']})"))


def _input_resolved(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = _turn(state, event)
    _answers(turn, event, "request_id")
    if data["outcome"] != "answered":
        return _with(state, event, replace(turn, status="denied", reason=f"no input was given (by {data['by']})"))
    argument = turn.payload.get("argument")
    value = data["value"]
    if value is None:
        # Nobody answered and the fallback allows it: the call runs as the model asked for it.
        return _with(state, event, replace(turn, status="allowed"))
    if argument is None:
        return _with(state, event, replace(turn, status="answered", reason=value))
    current = turn.effective.arguments
    arguments = {**(current if isinstance(current, dict) else {}), argument: value}
    return _with(state, event, replace(turn, status="allowed", arguments=arguments))


def _effect_in_doubt(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if state.phase == "model":
        return replace(state, seq=event.seq, at=event.at, call=replace(_call(state, event), status="allowed"))
    turn = replace(_turn(state, event), in_doubt=True)
    resolution = data["resolution"]
    if resolution == "run_again":
        return _with(state, event, replace(turn, status="allowed"))
    if resolution == "ask":
        return _with(state, event, replace(turn, status="approval", asks="approval"))
    return _with(state, event, replace(turn, status="unknown"))


_HANDLERS: dict[str, Callable[[RunState, AgentRunEvent, dict[str, Any]], RunState]] = {
    "run_started": _run_started,
    "step_started": _step_started,
    "instructions_resolved": _instructions_resolved,
    "policy_decision": _policy_decision,
    "llm_called": _llm_called,
    "llm_completed": _llm_completed,
    "llm_failed": _llm_failed,
    "output_validated": _output_validated,
    "output_rejected": _output_rejected,
    "tool_batch_started": _tool_batch_started,
    "tool_started": _tool_started,
    "tool_failed": _tool_failed,
    "tool_completed": _tool_completed,
    "tool_deferred": _tool_deferred,
    "tool_background_resolved": _background_ended,
    "tool_background_failed": _background_ended,
    "approval_requested": _requested,
    "approval_resolved": _approval_resolved,
    "input_requested": _requested,
    "input_resolved": _input_resolved,
    "subagent_started": _noted,
    "subagent_completed": _noted,
    "control_requested": _control_requested,
    "timer_fired": _timer_fired,
    "effect_in_doubt": _effect_in_doubt,
    "limit_reached": _noted,
    "thread_compacted": _noted,
    "warning": _noted,
    "run_completed": _run_completed,
    "run_failed": _run_ended,
    "run_interrupted": _run_ended,
    "run_cancelled": _run_ended,
}
