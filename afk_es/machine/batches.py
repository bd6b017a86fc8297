"""The tool calls of one answer: gate, start, retry, ask, report, each as soon as there is room for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from afk_es.machine import children
from afk_es.machine.effects import Effect, EvaluatePolicy, ExecuteTool, PolicySubject, Wait, tool_key
from afk_es.machine.events import Draft
from afk_es.machine.inquiries import asking_effects, fallback_answer, request
from afk_es.machine.limits import before_effects, ending
from afk_es.machine.spec import RunSpec
from afk_es.machine.state import PENDING, RunState, ToolBatch, ToolTurn
from afk_es.machine.values import digest_json

_QUIET = frozenset({"waiting", "running", "backoff", "limited", "done", "blocked", "parked", "cancelling"})
"""Statuses from which nothing follows before something happens outside, or to a sibling."""

_OVER = frozenset({"limited", "done"})

_OPEN = frozenset({"running", "failed", "in_doubt", "unknown", "parked", "cancelling", "returned", "cut"})

_AHEAD = frozenset({"allowed", "approval", "put_off"}) | PENDING
"""Statuses of calls that would go on to touch the world or a person, which a run that has to fail does not let them."""


def in_flight(state: RunState) -> tuple[ToolTurn, ...]:
    """The calls that were started and whose end the log does not say yet: a run does not end by itself before it does."""
    if state.batch is None:
        return ()
    return tuple(turn for turn in state.batch.turns if turn.status in _OPEN or (turn.in_doubt and turn.status != "done"))


def decide_batch(state: RunState) -> tuple[Draft, ...]:
    """What the machine itself concludes about the calls of the batch."""
    batch, spec = _parts(state)
    drafts: list[Draft] = []
    started = 0
    statuses = [turn.status for turn in batch.turns]
    places = spec.limits.max_parallel_tools - _held(batch, statuses, "running", "backoff")
    child_places = children.places(state, batch, "running", "cancelling", "backoff") if batch.delegation is not None else 0
    breach = before_effects(state)
    stopping = state.fault is not None or breach is not None
    for turn in batch.turns:
        if turn.status in _QUIET:
            continue
        if stopping and turn.status in _AHEAD:
            if turn.in_doubt:
                drafts.append(_completed(state, turn, "unknown", _UNKNOWN))
            continue
        match turn.status:
            case "denied":
                drafts.append(_completed(state, turn, "denied", turn.reason or "denied by policy"))
            case "failed":
                drafts.append(_failed(state, turn))
            case "unknown":
                drafts.append(_completed(state, turn, "unknown", _UNKNOWN))
            case "answered":
                drafts.append(_completed(state, turn, "returned", None, turn.reason))
            case "in_doubt":
                drafts.append(_doubt(state, turn))
            case "approval" | "put_off":
                drafts.append(request(state, turn, _UNKNOWN))
            case "overdue":
                drafts.append(fallback_answer(spec.interaction, turn))
            case "asking" if spec.interaction.mode == "headless":
                drafts.append(fallback_answer(spec.interaction, turn))
            case "allowed" if state.tool_calls + started >= spec.limits.max_tool_calls:
                drafts += _out_of_calls(state, turn)
            case "allowed" if turn.child is not None:
                if child_places > 0:
                    drafts.append(children.started(state, batch, turn))
                    child_places -= 1
                    started += 1
            case "allowed" if places > 0:
                drafts.append(_started(state, turn))
                places -= 1
                started += 1
            case "returned" | "cut":
                drafts.append(_ended(state, turn))
            case _:
                pass
    if drafts:
        return tuple(drafts)
    if breach is not None and not in_flight(state):
        # Subagents spend while a batch goes on, and whoever takes a run over may have lowered the limit.
        return ending(state, breach)
    if "limited" in statuses and _OVER.issuperset(statuses):
        return _limited(state, batch)
    if not PENDING.isdisjoint(statuses) or "parked" in statuses:
        return _park(state, batch)
    return ()


def _held(batch: ToolBatch, statuses: Sequence[str], *holding: str) -> int:
    """How many places of the tools are taken; subagents have places of their own."""
    if batch.delegation is not None:
        statuses = [turn.status for turn in batch.turns if turn.child is None]
    return sum(statuses.count(status) for status in holding)


def _ended(state: RunState, turn: ToolTurn) -> Draft:
    """The end of a call whose subagent has succeeded, or that the join was decided without."""
    if turn.status == "cut":
        return _completed(state, turn, "cancelled", turn.reason or "cancelled")
    return _completed(state, turn, "returned", None, turn.child.output if turn.child is not None else None)


def _park(state: RunState, batch: ToolBatch) -> tuple[Draft, ...]:
    """Questions that nobody here can answer, in external mode or put off: once nothing else can go on, the run is laid down with them.

    The same where a subagent was laid down, whatever that waits for.
    """
    if any(not isinstance(effect, Wait) or effect.id.startswith("retry:") for effect in batch_effects(state)):
        return ()
    asking = [turn for turn in batch.turns if turn.status in PENDING]
    names = ", ".join(f"{turn.call.tool_name} ({turn.call.id})" for turn in asking)
    reasons = [f"waits for {'an answer' if len(asking) == 1 else 'answers'} from outside: {names}"] if asking else []
    for turn in batch.turns:
        if turn.status == "parked" and turn.child is not None:
            reasons.append(f"subagent {turn.child.name} ({turn.call.id}, {turn.child.run_id}) was laid down: {turn.reason}")
    reason = "; ".join(reasons)
    return (Draft("run_interrupted", {"reason": reason}, reason),)


def batch_effects(state: RunState) -> tuple[Effect, ...]:
    """What should be under way for the calls of the batch."""
    batch, spec = _parts(state)
    statuses = [turn.status for turn in batch.turns]
    # Whoever waits for a person takes no place. Whoever is allowed and waits for one finds all of them taken, so nobody else is gated then.
    room = spec.limits.max_parallel_tools - _held(batch, statuses, "running", "backoff")
    child_room = children.places(state, batch, "running", "cancelling", "backoff") if batch.delegation is not None else 0
    stopping = state.fault is not None or before_effects(state) is not None
    effects: list[Effect] = []
    for turn in batch.turns:
        if turn.child is not None and turn.status in children.LIVE:
            effects += children.child_effects(state, turn)
            continue
        if stopping and turn.status != "running":
            continue
        match turn.status:
            case "running":
                effects.append(_execution(spec, turn))
            case "backoff" if turn.wait is not None:
                effects.append(turn.wait)
            case "asking":
                effects += asking_effects(spec.interaction, turn)
            case "waiting" if turn.child is not None:
                if child_room > 0:
                    effects.append(_gate(state, turn))
                    child_room -= 1
            case "waiting" if room > 0:
                effects.append(_gate(state, turn))
                room -= 1
            case _:
                pass
    return tuple(effects)


def _parts(state: RunState) -> tuple[ToolBatch, RunSpec]:
    assert state.batch is not None
    return state.batch, state.spec


def _started(state: RunState, turn: ToolTurn) -> Draft:
    call = turn.effective
    return Draft(
        "tool_started",
        {
            "tool_name": call.tool_name,
            "tool_call_id": call.id,
            "ordinal": turn.ordinal,
            "attempt": turn.attempt + 1,
            "arguments_hash": digest_json(call.arguments),
            "idempotency_key": tool_key(state.run_id, turn.ordinal),
        },
    )


def _gate(state: RunState, turn: ToolTurn) -> EvaluatePolicy:
    tool = state.spec.tool(turn.call.tool_name)
    subject: PolicySubject = "subagent_before_execute" if tool is not None and tool.kind == "subagent" else "tool_before_execute"
    return EvaluatePolicy(f"policy:{state.step}:{turn.ordinal}", subject, state.step, turn.effective)


def _execution(spec: RunSpec, turn: ToolTurn) -> ExecuteTool:
    tool = spec.tool(turn.call.tool_name)
    return ExecuteTool(
        f"tool:{turn.intent_seq}",
        turn.intent_seq,
        turn.ordinal,
        turn.effective,
        turn.attempt,
        tool.timeout_s if tool is not None else None,
        turn.idempotency_key,
    )


def _completed(state: RunState, turn: ToolTurn, outcome: str, error: str | None, output: Any = None) -> Draft:
    spec = state.spec
    data = {
        "tool_name": turn.call.tool_name,
        "tool_call_id": turn.call.id,
        "success": error is None,
        "output": output,
        "error": error,
        "agent_name": spec.agent_name,
        "agent_depth": len(spec.agent_path),
        "agent_path": [*spec.agent_path, spec.agent_name],
        "outcome": outcome,
        "latency_ms": 0.0,
    }
    if outcome in ("denied", "invalid"):
        data["classification"] = "non_fatal"
    elif outcome == "failed" and turn.failure is not None:
        data["classification"] = turn.failure.classification
    return Draft("tool_completed", data)


_UNKNOWN = (
    "the outcome of this call is unknown: the process that ran it died before it returned. It may or may not have taken effect. "
    "Check before you repeat it"
)


def cut(state: RunState, turn: ToolTurn) -> tuple[Draft, ...]:
    """The end of a call that was in flight when the run was cancelled."""
    unknown = _completed(state, turn, "unknown", _UNKNOWN)
    match turn.status:
        case "running":
            return (_completed(state, turn, "cancelled", "cancelled while it ran; it may have taken effect"),)
        case "in_doubt":
            return _in_doubt(turn, "report"), unknown
        case "returned" | "cut":
            return (_ended(state, turn),)
        case "failed":
            return (_failed(state, turn),)
        case _:
            return (unknown,)


def _failed(state: RunState, turn: ToolTurn) -> Draft:
    assert turn.failure is not None
    outcome = "invalid" if turn.attempt == 0 and turn.failure.error_type != "InputMissing" else "failed"
    return _completed(state, turn, outcome, turn.failure.error)


def _out_of_calls(state: RunState, turn: ToolTurn) -> tuple[Draft, Draft]:
    """The last call of the limit was used up by a retry of a sibling, or this is the retry itself, or what a crash left in doubt."""
    if turn.in_doubt:
        over = _completed(state, turn, "unknown", f"{_UNKNOWN}. It was not run again: max_tool_calls is reached")
    elif turn.failure is not None:
        over = _failed(state, turn)
    else:
        over = _completed(state, turn, "limited", _limit_message(state))
    return _limit_reached(state), over


def _limit_message(state: RunState) -> str:
    maximum = state.spec.limits.max_tool_calls
    return f"max_tool_calls reached: this run may make {maximum} tool calls; this one was not run"


def _limit_reached(state: RunState) -> Draft:
    maximum = state.spec.limits.max_tool_calls
    return Draft("limit_reached", {"limit": "max_tool_calls", "maximum": maximum, "used": state.tool_calls}, _limit_message(state))


def _limited(state: RunState, batch: ToolBatch) -> tuple[Draft, ...]:
    """Calls beyond the limit are refused once the others are over, so a failing policy does not cut those short."""
    limited = [turn for turn in batch.turns if turn.status == "limited"]
    message = _limit_message(state)
    drafts = [_completed(state, turn, "limited", turn.reason or message) for turn in limited]
    if beyond := [turn for turn in limited if turn.reason]:
        drafts.insert(0, children.limit_reached(state, beyond[0]))
    if len(beyond) < len(limited):
        drafts.insert(0, _limit_reached(state))
    return tuple(drafts)


def _doubt(state: RunState, turn: ToolTurn) -> Draft:
    """Rule 3 of the architecture: what may be repeated is, and nothing else is unless the configuration says so."""
    spec = state.spec
    tool = spec.tool(turn.call.tool_name)
    if state.fault is not None:
        resolution = "report"
    elif spec.in_doubt == "retry" or (tool is not None and tool.repeatable):
        resolution = "run_again"
    else:
        resolution = "ask" if spec.in_doubt == "ask" else "report"
    return _in_doubt(turn, resolution)


def _in_doubt(turn: ToolTurn, resolution: str) -> Draft:
    return Draft(
        "effect_in_doubt",
        {
            "effect": "tool",
            "intent_seq": turn.intent_seq,
            "resolution": resolution,
            "tool_name": turn.call.tool_name,
            "tool_call_id": turn.call.id,
        },
    )
