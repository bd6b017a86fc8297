"""What the facts about a run as a whole change: its stretches, steps, controls, timers and ends."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.machine.answer_facts import taken_over as question_taken_over
from afk_es.machine.compaction_facts import begun, stepped
from afk_es.machine.compaction_facts import taken_over as compaction_taken_over
from afk_es.machine.content import user_turn
from afk_es.machine.delegation_facts import attempt_timed_out
from afk_es.machine.delegation_facts import taken_over as child_taken_over
from afk_es.machine.effects import Wait
from afk_es.machine.events import AgentRunEvent
from afk_es.machine.fork_facts import forked
from afk_es.machine.legality import broken
from afk_es.machine.model_facts import unknown_price, unpriced
from afk_es.machine.reopening_facts import reopened
from afk_es.machine.requests import facets_of
from afk_es.machine.spec import Limits, RunSpec
from afk_es.machine.state import Control, Facets, ModelCall, RunState, ToolBatch, ToolTurn
from afk_es.machine.tickets import expired_by, term_over
from afk_es.machine.values import Message, digest_json

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


def run_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    first = state.phase == "new"
    fork = "forked_from" in data and not first
    if (first or fork) == bool(data["resumed"]) or data["epoch"] <= state.epoch:
        raise broken(event, f"run_started(resumed={data['resumed']}, epoch={data['epoch']}) does not follow epoch {state.epoch}")
    if "agent" in data:
        spec, facets = _spec_of(data["agent"])
    elif first:
        raise broken(event, "the first run_started carries no agent")
    else:
        spec, facets = state.spec, state.facets
    if data.get("reopened"):
        if fork or state.status != "failed":
            raise broken(event, f"a run is reopened that has not failed: it is {state.status}")
        state = reopened(state, spec)
    changes: dict[str, Any] = {
        "status": "running",
        # The time since the last event belongs to nobody: no process ran the run.
        "ran": state.elapsed,
        "since": event.at,
        "epoch": data["epoch"],
        "owner": data["owner"],
        "spec": spec,
        "facets": facets,
        # Who cancels means it, also where the process died before the children were cancelled.
        "control": state.control if state.control is not None and state.control.action == "cancel" else None,
        **_wall_time(spec.limits, event, state),
        "reason": "",
    }
    if spec.models != state.spec.models:
        # What another chain of models has failed at says nothing of this one.
        changes["breakers"] = ()
    if not spec.dynamic_instructions:
        changes["instructions"] = spec.instructions
    elif not first:
        changes["facets"] = replace(facets, instructions=digest_json(state.instructions))
    without_price = unpriced(spec)
    if without_price is not None:
        changes["fault"] = unknown_price(without_price)
    if first:
        changes["phase"] = "between"
        changes["context"] = data.get("context", {})
        text = data.get("user_message")
        if text is not None:
            parts = data.get("user_parts")
            changes["messages"] = state.messages.appended(user_turn(text, parts) if parts else Message("user", text))
        if spec.retention is not None:
            changes["compaction"] = begun(changes.get("messages", state.messages), asked=text is not None)
    elif fork:
        changes |= forked(state, event, data, spec)
    else:
        untouched = frozenset(data.get("untouched", ()))
        if state.compaction is not None:
            changes["compaction"] = compaction_taken_over(state.compaction) if spec.retention is not None else None
        if state.call is not None:
            changes["call"] = _taken_over(state.call, spec, untouched)
        if state.batch is not None:
            turns = tuple(_turn_taken_over(turn, event, state, spec, untouched) for turn in state.batch.turns)
            changes["batch"] = ToolBatch(state.batch.seq, turns, state.batch.delegation)
        if state.tickets:
            changes["tickets"] = expired_by(state.tickets, event.at)
    return replace(state, seq=event.seq, at=event.at, **changes)


def _taken_over(call: ModelCall, spec: RunSpec, untouched: frozenset[int]) -> ModelCall:
    """The call as a new owner finds it: a request under way is in doubt, and a fallback the new spec does not have gives way to the first.

    In a fork, what would have been answered from the record touched nothing, and is simply under way again.
    """
    if call.status == "called" and call.intent_seq not in untouched:
        call = replace(call, status="in_doubt")
    if call.model_index >= len(spec.models):
        call = replace(call, model_index=0, attempt=0, failures=0)
    return call


def _turn_taken_over(turn: ToolTurn, event: AgentRunEvent, state: RunState, spec: RunSpec, untouched: frozenset[int]) -> ToolTurn:
    if turn.child is not None:
        turn = child_taken_over(turn, event.at - state.at)
    elif turn.status == "running":
        return turn if turn.intent_seq in untouched else replace(turn, status="in_doubt")
    return question_taken_over(turn, event, spec.interaction)


def _wall_time(limits: Limits, event: AgentRunEvent, state: RunState) -> dict[str, Any]:
    """The deadline of the stretch that begins with this event. A run with no time left does not start anything."""
    if limits.max_wall_time_s is None:
        return {"deadline": None, "overdue": False}
    timer = f"wall_time:{event.seq}"
    # Timers beyond a year are no limit; datetime could not hold them all.
    remaining = min(limits.max_wall_time_s - state.elapsed.total_seconds(), 365 * 86_400.0)
    return {"deadline": Wait(timer, timer, event.at + dt.timedelta(seconds=remaining)), "overdue": remaining <= 0}


def step_started(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    messages = state.messages.appended(*state.notices) if state.notices else state.messages
    if state.compaction is not None:
        state = replace(state, compaction=stepped(state, event))
    return replace(
        state, seq=event.seq, at=event.at, step=data["step"], phase="model", call=_FRESH_CALL, messages=messages, notices=(), delegated=0
    )


_FRESH_CALL = ModelCall()


def control_requested(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
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


def timer_fired(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    timer = data["timer"]
    if state.deadline is not None and state.deadline.timer == timer:
        return replace(state, seq=event.seq, at=event.at, overdue=True)
    if state.call is not None and state.call.wait is not None and state.call.wait.timer == timer:
        # A call that was never sent failed before the policy was asked, so that is where it goes on.
        status = "allowed" if state.call.intent_seq else "waiting"
        return replace(state, seq=event.seq, at=event.at, call=replace(state.call, status=status, wait=None))
    if state.compaction is not None and state.compaction.wait is not None and state.compaction.wait.timer == timer:
        return replace(state, seq=event.seq, at=event.at, compaction=replace(state.compaction, status="due", wait=None))
    if state.batch is not None:
        for turn in state.batch.turns:
            if turn.wait is not None and turn.wait.timer == timer:
                after = replace(turn, status="overdue" if turn.status == "asking" else "allowed", wait=None)
                return replace(state, seq=event.seq, at=event.at, batch=state.batch.with_turn(after))
        if state.batch.delegation is not None and (batch := attempt_timed_out(state.batch, timer)) is not None:
            return replace(state, seq=event.seq, at=event.at, batch=batch)
    if state.grace is not None and state.grace.wait.timer == timer:
        return replace(state, seq=event.seq, at=event.at, grace=None)
    return replace(state, seq=event.seq, at=event.at, tickets=term_over(state.tickets, timer))


def noted(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(state, seq=event.seq, at=event.at)


def run_completed(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
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


def run_ended(state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    return replace(
        state, seq=event.seq, at=event.at, status=EVENT_STATUS[event.type], reason=event.message, ran=state.elapsed_at(event.at), since=None
    )


EVENT_STATUS = {"run_failed": "failed", "run_interrupted": "interrupted", "run_cancelled": "cancelled"}
