"""`decide`: what to append and what to do next, as a pure function of state.

The answer is either events or effects. Events are the machine's own conclusions: append them, fold them, and ask again. Effects are the
whole set of things that should be under way in this state: start what is missing, stop what is not in the set. When there is neither, the
run has ended, or waits for somebody outside. This module holds the order in which things are considered; what is considered stands in
`turns` (the model call), `batches` (its tool calls), `compaction` and `limits`.
"""

from __future__ import annotations

import msgspec

from afk_es.machine.batches import batch_effects, cut, decide_batch, in_flight
from afk_es.machine.children import cancelling, live_children
from afk_es.machine.compaction import compacting, compaction_effects, decide_compaction
from afk_es.machine.effects import Effect, ValidateOutput
from afk_es.machine.events import Draft
from afk_es.machine.limits import before_effects, breached, degraded, ending, failed, wall_time
from afk_es.machine.state import RunState
from afk_es.machine.tickets import after_answer, expirations, expiry
from afk_es.machine.turns import call_effects, decide_call, start_step


class Decision(msgspec.Struct, frozen=True, gc=False):
    """The next move: events to append, or effects that should be under way, or neither."""

    events: tuple[Draft, ...] = ()
    effects: tuple[Effect, ...] = ()


NOTHING = Decision()


def decide(state: RunState) -> Decision:
    """The next move of a run in this state. Asking twice gives equal answers."""
    if state.ended or state.phase == "new":
        return NOTHING
    if state.control is not None:
        if state.control.action == "cancel" and (alive := live_children(state)):
            # Their logs end, and what they have spent is known, before this one does.
            return Decision(effects=tuple(cancelling(turn, state.control.reason) for turn in alive))
        return Decision(_stop(state))
    if state.overdue:
        return Decision(ending(state, wall_time(state)))
    if state.fault is not None and not in_flight(state):
        return Decision(failed(state.fault.error, state.fault.error_type))
    if state.status == "paused":
        return Decision(effects=_under_way(state))
    events = (state.tickets and expirations(state)) or _events(state)
    if events:
        return Decision(events)
    return Decision(effects=_effects(state))


def _events(state: RunState) -> tuple[Draft, ...]:
    match state.phase:
        case "between" if state.grace is not None:
            return ()
        case "between":
            if compacting(state):
                return decide_compaction(state)
            breach = breached(state)
            if breach is not None:
                return ending(state, breach)
            return start_step(state) if state.compaction is None else decide_compaction(state)
        case "model":
            return decide_call(state)
        case "requested":
            breach = before_effects(state)
            if breach is not None:
                return ending(state, breach)
            calls = state.requested
            names = [call.tool_name for call in calls]
            ids = [call.id for call in calls]
            return (Draft("tool_batch_started", {"tool_call_count": len(calls), "tool_names": names, "tool_call_ids": ids}),)
        case "tools":
            return decide_batch(state)
        case "answered" if state.tickets or state.notices:
            return after_answer(state)
        case "answered":
            return degraded(state) if state.missing else (Draft("run_completed", {"state": "completed"}),)
        case _:
            return ()


def _effects(state: RunState) -> tuple[Effect, ...]:
    effects: tuple[Effect, ...] = ()
    match state.phase:
        case "between" if state.grace is not None:
            effects = (state.grace.wait,)
        case "between":
            effects = compaction_effects(state)
        case "model":
            effects = call_effects(state)
        case "tools":
            effects = batch_effects(state)
        case "output":
            effects = (ValidateOutput(f"output:{state.step}", state.answer, state.output),)
        case _:
            pass
    if state.tickets:
        effects = (*effects, expiry(state))
    if effects and state.deadline is not None:
        return (*effects, state.deadline)
    return effects


def _under_way(state: RunState) -> tuple[Effect, ...]:
    """What a paused run lets come to its end."""
    return tuple(effect for effect in _effects(state) if effect.id.startswith(_LET_FINISH))


_LET_FINISH = ("llm:", "tool:", "compaction:", "subagent:", "cancel:", "timeout:")


def _stop(state: RunState) -> tuple[Draft, ...]:
    control = state.control
    assert control is not None
    if control.action == "interrupt":
        return (Draft("run_interrupted", {"reason": control.reason}, control.reason),)
    ends = [draft for turn in in_flight(state) for draft in cut(state, turn)]
    if state.phase == "model" and state.call is not None and state.call.status == "in_doubt":
        ends.append(Draft("effect_in_doubt", {"effect": "llm", "intent_seq": state.call.intent_seq, "resolution": "report"}))
    return (*ends, Draft("run_cancelled", {"reason": control.reason}, control.reason))
