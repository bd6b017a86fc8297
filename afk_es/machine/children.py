"""What is to be done about subagents: start one, wait for it, end it. Which calls may start is decided in `batches`, what an end means in
`delegation_facts`."""

from __future__ import annotations

from decimal import Decimal

from afk_es.machine.delegation import child_run_id
from afk_es.machine.effects import CancelSubagent, Effect, RunSubagent
from afk_es.machine.events import Draft
from afk_es.machine.state import PENDING, RunState, ToolBatch, ToolTurn

LIVE = frozenset({"running", "parked", "cancelling"})
"""Statuses of a call whose child's run has begun and, as far as the log says, not ended."""

_TO_COME = frozenset({"waiting", "blocked", "allowed", "approval", "put_off", "backoff"}) | PENDING
"""Statuses of a call whose child's run may still begin, and then needs a share of the money."""


def children(batch: ToolBatch) -> tuple[ToolTurn, ...]:
    """The calls of the batch that go to subagents."""
    return tuple(turn for turn in batch.turns if turn.child is not None)


def live_children(state: RunState) -> tuple[ToolTurn, ...]:
    """The calls whose child's run has to end before this one may, unless it is laid down."""
    if state.batch is None or state.batch.delegation is None:
        return ()
    return tuple(turn for turn in children(state.batch) if turn.status in LIVE)


def places(state: RunState, batch: ToolBatch, *holding: str) -> int:
    """How many more subagents of this run may go on at once, where those with these statuses hold a place; whoever is parked holds none."""
    spec = state.spec.delegation
    most = spec.max_parallel if spec is not None else 1
    return most - sum(turn.status in holding for turn in children(batch))


def started(state: RunState, batch: ToolBatch, turn: ToolTurn) -> Draft:
    """The intent to run a subagent: each attempt is a run of its own."""
    child = turn.child
    assert child is not None
    attempt = turn.attempt + 1
    data = {
        "subagent_name": child.name,
        "correlation_id": f"subagent:{turn.ordinal}:{attempt}",
        "run_id": child_run_id(state.run_id, turn.ordinal, attempt),
        "tool_name": turn.call.tool_name,
        "tool_call_id": turn.call.id,
        "ordinal": turn.ordinal,
        "attempt": attempt,
        "task": task_of(turn),
    }
    budget = _budget(state, batch)
    if budget is not None:
        data["cost_budget_usd"] = budget
    return Draft("subagent_started", data)


def task_of(turn: ToolTurn) -> str:
    """What the subagent is asked to do."""
    arguments = turn.effective.arguments
    task = arguments.get("task", "") if isinstance(arguments, dict) else arguments
    return task if isinstance(task, str) else str(task)


def _budget(state: RunState, batch: ToolBatch) -> float | None:
    """An equal share of what is left and not promised yet: so that all of them together cannot spend more than the parent may."""
    maximum = state.spec.limits.max_total_cost_usd
    if maximum is None:
        return None
    turns = children(batch)
    promised = sum((Decimal(repr(turn.child.budget_usd)) for turn in turns if turn.child is not None and turn.child.budget_usd), Decimal(0))
    shares = sum(turn.status in _TO_COME for turn in turns)
    left = max(Decimal(repr(maximum)) - state.cost_usd - promised, Decimal(0))
    return float(left / max(shares, 1))


def child_effects(state: RunState, turn: ToolTurn) -> tuple[Effect, ...]:
    """What should be under way for a call whose child's run has begun. A run that has to fail, or is cancelled, ends its children."""
    child = turn.child
    assert child is not None
    if turn.status == "cancelling" or state.fault is not None:
        reason = "it did not answer in time" if child.timed_out else turn.reason if turn.status == "cancelling" else None
        return (cancelling(turn, reason or (state.fault.error if state.fault is not None else "no longer needed")),)
    if turn.status == "parked":
        return () if child.deadline is None else (child.deadline,)
    run = RunSubagent(
        f"subagent:{turn.intent_seq}",
        turn.intent_seq,
        turn.ordinal,
        turn.effective,
        turn.attempt,
        child.name,
        child.run_id,
        task_of(turn),
        child.budget_usd,
    )
    return (run,) if child.deadline is None else (run, child.deadline)


def limit_reached(state: RunState, turn: ToolTurn) -> Draft:
    """That this call is beyond what may be delegated."""
    limits = state.spec.limits
    if limits.max_subagent_depth <= 0:
        data = {"limit": "max_subagent_depth", "maximum": limits.max_subagent_depth, "used": limits.max_subagent_depth}
    else:
        data = {
            "limit": "max_subagent_fanout_per_step",
            "maximum": limits.max_subagent_fanout_per_step,
            "used": state.delegated,
        }
    return Draft("limit_reached", data, turn.reason or "")


def cancelling(turn: ToolTurn, reason: str) -> CancelSubagent:
    """The end of a child's run."""
    child = turn.child
    assert child is not None
    return CancelSubagent(
        f"cancel:{turn.intent_seq}", turn.intent_seq, turn.ordinal, turn.effective, turn.attempt, child.name, child.run_id, reason
    )
