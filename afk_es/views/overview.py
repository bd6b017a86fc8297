"""A run at a glance: how it ended, what was said, what was called, what it used of its limits."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from afk_es.machine import AgentRunEvent, evolve, initial_state
from afk_es.machine.events import TERMINAL
from afk_es.machine.state import RunState
from afk_es.machine.values import Message, Messages, Usage
from afk_es.views.ledger import CallRecord, call_records
from afk_es.views.spending import ModelUse, usage_by_model
from afk_es.views.tickets import TicketBook, TicketRecord


class LimitUse(msgspec.Struct, frozen=True):
    """How much of a limit is used up."""

    limit: str
    used: float
    maximum: float


class Overview(msgspec.Struct, frozen=True):
    """A run at a glance.

    Attributes:
        status: of the last event; a run that is "running" may have crashed, which its log cannot tell.
        owner: who claimed it last.
        ending: how it ended, in a sentence.
        stretches: how often it was begun or resumed.
        conversation: what was said in this run, without what the thread remembered before it.
        missing: what a degraded run did not do.
        tickets: of its background tools, in the order in which they were opened.
        cost_usd: None where no answer carried a price.
        spending: what each model was asked for and used up.
        elapsed_s: time during which a process ran it.
    """

    run_id: str
    thread_id: str
    agent_name: str
    models: tuple[str, ...]
    owner: str
    status: str
    ending: str
    seq: int
    started_at: dt.datetime
    updated_at: dt.datetime
    elapsed_s: float
    stretches: int
    step: int
    llm_calls: int
    tool_calls: int
    usage: Usage
    cost_usd: float | None
    spending: dict[str, ModelUse]
    context: dict[str, Any]
    conversation: tuple[Message, ...]
    calls: tuple[CallRecord, ...]
    limits: tuple[LimitUse, ...]
    answer: str
    missing: tuple[str, ...]
    open_tickets: int
    tickets: tuple[TicketRecord, ...] = ()


def overview(events: Sequence[AgentRunEvent], history: Messages | None = None) -> Overview:
    """The overview of a run that has at least one event.

    Raises:
        InvariantError: the events do not fold.
    """
    first, last = events[0], events[-1]
    state, said = _folded(initial_state(first.run_id, first.thread_id, history), events)
    book = TicketBook()
    for event in events:
        book.take(event)
    return Overview(
        run_id=state.run_id,
        thread_id=state.thread_id,
        agent_name=state.spec.agent_name,
        models=tuple(model.model for model in state.spec.models),
        owner=state.owner,
        status=state.status,
        ending=_ending(state, last),
        seq=state.seq,
        started_at=first.at,
        updated_at=last.at,
        elapsed_s=state.elapsed.total_seconds(),
        stretches=state.epoch,
        step=state.step,
        llm_calls=state.llm_calls,
        tool_calls=state.tool_calls,
        usage=state.usage,
        cost_usd=float(state.cost_usd) if state.cost_known else None,
        spending=usage_by_model(events),
        context=state.context,
        conversation=said,
        calls=tuple(call_records(events)),
        limits=limits_used(state),
        answer=state.answer,
        missing=state.missing,
        open_tickets=len(state.tickets),
        tickets=book.records,
    )


def _folded(state: RunState, events: Sequence[AgentRunEvent]) -> tuple[RunState, tuple[Message, ...]]:
    """The last state, and what was said on the way to it; a summary takes nothing back of that."""
    remembered = len(state.messages)
    said: list[Message] = []
    for event in events:
        if event.type == "thread_compacted":
            said += state.messages[remembered:]
            state = evolve(state, event)
            remembered = len(state.messages)
        else:
            state = evolve(state, event)
    return state, (*said, *state.messages[remembered:])


def _ending(state: RunState, last: AgentRunEvent) -> str:
    if last.type not in TERMINAL:
        return f"no terminal event: it is still running, or its process died after {last.type} (seq {last.seq})"
    match last.type:
        case "run_completed" if state.status == "degraded":
            return f"ended with part of the work in step {last.step}: {last.message}"
        case "run_completed":
            return f"completed in step {last.step}"
        case "run_failed":
            return f"failed in step {last.step} with {last.data['error_type']}: {last.data['error']}"
        case "run_interrupted":
            # One without a step was written down for another process, as a task is, or was stopped as soon.
            where = f"in step {last.step}" if last.step else "before its first step"
            return f"interrupted {where}, and can be resumed: {last.data['reason']}"
        case _:
            return f"cancelled in step {last.step}: {last.data['reason']}"


def limits_used(state: RunState) -> tuple[LimitUse, ...]:
    """How much is used up of each limit that the run has."""
    limits = state.spec.limits
    used = [
        LimitUse("max_steps", state.step, limits.max_steps),
        LimitUse("max_llm_calls", state.llm_calls, limits.max_llm_calls),
        LimitUse("max_tool_calls", state.tool_calls, limits.max_tool_calls),
    ]
    if limits.max_wall_time_s is not None:
        used.append(LimitUse("max_wall_time_s", round(state.elapsed.total_seconds(), 3), limits.max_wall_time_s))
    if limits.max_total_cost_usd is not None:
        used.append(LimitUse("max_total_cost_usd", float(state.cost_usd), limits.max_total_cost_usd))
    return tuple(used)
