"""What the facts about the tool calls of an answer change: from the policy's decision to the result in the conversation."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from afk_es.machine.delegation_facts import advanced, delegating, over, reported
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.legality import TURN_LEGAL, broken
from afk_es.machine.model_facts import call_under_way
from afk_es.machine.rendering import render_error, render_output
from afk_es.machine.retries import backoff
from afk_es.machine.spec import POLICIES, FailurePolicy, RunSpec, ToolSpec
from afk_es.machine.state import Failure, RunState, ToolBatch, ToolStatus, ToolTurn
from afk_es.machine.tickets import grace_after, grace_left, opened, refused
from afk_es.machine.values import Message


def _batch(state: RunState) -> ToolBatch:
    # The phase was checked, and "tools" is the phase that has a batch.
    assert state.batch is not None
    return state.batch


def turn_of(state: RunState, event: AgentRunEvent) -> ToolTurn:
    tool_call_id = event.data["tool_call_id"]
    turn = _batch(state).find(tool_call_id)
    if turn is None or turn.status not in TURN_LEGAL[event.type]:
        raise broken(event, f"{event.type} for tool call {tool_call_id!r}, which is {'not open' if turn is None else turn.status!r}")
    return turn


def with_turn(state: RunState, event: AgentRunEvent, turn: ToolTurn) -> RunState:
    return replace(state, seq=event.seq, at=event.at, batch=_batch(state).with_turn(turn))


def tool_batch_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    room = state.spec.limits.max_tool_calls - state.tool_calls
    first = state.tool_requests + 1
    turns = tuple([ToolTurn(first + index, call, "waiting" if index < room else "limited") for index, call in enumerate(state.requested)])
    batch, delegated = delegating(state, ToolBatch(event.seq, turns))
    return replace(
        state,
        seq=event.seq,
        at=event.at,
        phase="tools",
        batch=batch,
        requested=(),
        tool_requests=state.tool_requests + len(turns),
        delegated=state.delegated + delegated,
    )


def policy_decision(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    action = data["action"]
    if state.phase == "model":
        call = call_under_way(state, event)
        if action == "allow":
            return replace(state, seq=event.seq, at=event.at, call=replace(call, status="allowed"))
        failure = Failure(
            f"policy {data['policy_id']} did not allow the model call ({action}): {data['reason']}", "PolicyDenied", "non_fatal"
        )
        return replace(state, seq=event.seq, at=event.at, call=replace(call, status="denied", failure=failure))
    turn = turn_of(state, event)
    arguments = data.get("updated_tool_args", turn.arguments)
    if action == "allow":
        return with_turn(state, event, replace(turn, status="allowed", arguments=arguments))
    changed = replace(
        turn,
        status=_GATED.get(action, "denied"),
        arguments=arguments,
        policy_id=data["policy_id"],
        reason=data["reason"],
        payload=data.get("request_payload", {}),
        asks="input" if action == "request_user_input" else "approval",
    )
    return with_turn(state, event, changed)


_GATED: dict[str, ToolStatus] = {"request_approval": "approval", "request_user_input": "approval", "defer": "put_off"}


def tool_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    changed = replace(
        turn_of(state, event),
        status="running",
        attempt=data["attempt"],
        intent_seq=event.seq,
        idempotency_key=data["idempotency_key"],
        wait=None,
        in_doubt=False,
    )
    batch = _batch(state).with_turn(changed)
    return replace(state, seq=event.seq, at=event.at, batch=batch, tool_calls=state.tool_calls + 1)


def tool_failed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    turn = turn_of(state, event)
    failure = Failure(data["error"], data["error_type"], data["classification"])
    tool = spec.tool(turn.call.tool_name)
    retries, _consequence = POLICIES[_failure_policy(spec, tool)]
    again = retries and failure.classification == "retryable" and tool is not None and tool.repeatable
    failures = turn.failures + 1
    if again and turn.attempt > 0 and failures < spec.retry.attempts:
        wait = backoff(spec.retry, failures, run_id=event.run_id, seq=event.seq, at=event.at)
        return with_turn(state, event, replace(turn, status="backoff", failures=failures, wait=wait, failure=failure))
    return with_turn(state, event, replace(turn, status="failed", failures=failures, failure=failure))


def tool_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    spec = state.spec
    turn = turn_of(state, event)
    if data["success"]:
        content = render_output(data["output"], spec.rendering)
    else:
        content = render_error(data["error"] or "the call failed", spec.rendering)
    done = replace(turn, status="done", content=content)
    if turn.child is not None:
        return _settled(state, event, _child_done(state, turn, done, data))
    return _settled(state, event, done if data["success"] else _judged(state, done, data))


def _child_done(state: RunState, turn: ToolTurn, done: ToolTurn, data: dict[str, Any]) -> ToolTurn:
    """What became of a child is the join's affair; what the policies make of a call that was refused is the same for all calls."""
    if turn.status == "cut":
        return done
    done = over(done, succeeded=data["success"], error=data["error"])
    refused = done.child is not None and done.child.outcome == "refused"
    return _judged(state, done, data) if refused else done


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
    delegation = batch.delegation
    if delegation is not None:
        batch = advanced(batch, state.spec)
    turns = batch.turns
    if turn.consequence == "fail" or (delegation is not None and any(other.consequence == "fail" for other in turns)):
        changes["fault"] = next(other.failure for other in turns if other.consequence == "fail")
    if [True for other in turns if other.status != "done"]:
        return replace(state, seq=event.seq, at=event.at, batch=batch, **changes)
    missing = [other.failure.error for other in turns if other.consequence == "degrade" and other.failure is not None]
    if missing:
        changes["missing"] = (*state.missing, *missing)
    if delegation is not None and delegation.plan is not None:
        told = reported(batch)
        assert told is not None
        return replace(state, seq=event.seq, at=event.at, batch=None, phase="model", messages=state.messages.appended(told), **changes)
    tickets = changes.get("tickets", state.tickets)
    if tickets:
        changes["grace"] = grace_after(state, tickets, batch.seq, event)
    results = [Message("tool", other.content, (), other.call.id) for other in turns]
    return replace(state, seq=event.seq, at=event.at, batch=None, phase="between", messages=state.messages.appended(*results), **changes)


def tool_deferred(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    turn = turn_of(state, event)
    refusal = refused(state, data["ticket_id"])
    if refusal is not None:
        return with_turn(state, event, replace(turn, status="failed", failure=refusal))
    said = f"Accepted; it goes on in the background as ticket {data['ticket_id']}, and its result will follow."
    if data["summary"]:
        said += f" {data['summary']}"
    content = render_output(said, state.spec.rendering)
    return _settled(state, event, replace(turn, status="done", content=content), tickets=(*state.tickets, opened(state, event)))


def background_ended(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    if event.type == "tool_background_resolved":
        text = render_output(data["output"], state.spec.rendering)
    else:
        text = render_error(data["error"], state.spec.rendering)
    notice = Message("user", f"The background tool {data['tool_name']} (ticket {data['ticket_id']}) has ended.\n{text}")
    tickets = tuple(ticket for ticket in state.tickets if ticket.ticket_id != data["ticket_id"])
    if len(tickets) == len(state.tickets):
        return replace(state, seq=event.seq, at=event.at)  # Two processes resolved it: the first one's word holds.
    grace = grace_left(state.grace, tickets)
    return replace(state, seq=event.seq, at=event.at, tickets=tickets, notices=(*state.notices, notice), grace=grace)
