"""`evolve`: one fact in, the next state out.

Every type has one function that says what it changes: in `run_facts`, `model_facts`, `tool_facts`, `answer_facts`, `doubt_facts`,
`delegation_facts` and `compaction_facts`. What may happen when is the tables of `legality`. A type that is not in the table of event types
changes nothing but the position, so an older version can fold a newer log as far as it understands it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import replace

from afk_es.machine.answer_facts import approval_resolved, input_resolved, requested, warned
from afk_es.machine.compaction_facts import compaction_failed, compaction_started, thread_compacted
from afk_es.machine.delegation_facts import subagent_completed, subagent_started, subagent_waiting, subagents_routed
from afk_es.machine.doubt_facts import effect_in_doubt
from afk_es.machine.events import EVENT_TYPES, AgentRunEvent
from afk_es.machine.legality import LEGAL, broken
from afk_es.machine.model_facts import (
    circuit_open,
    instructions_resolved,
    llm_called,
    llm_completed,
    llm_failed,
    output_rejected,
    output_validated,
)
from afk_es.machine.run_facts import control_requested, noted, run_completed, run_ended, run_started, step_started, timer_fired
from afk_es.machine.state import ENDED, RunState
from afk_es.machine.tool_facts import (
    background_ended,
    policy_decision,
    tool_batch_started,
    tool_completed,
    tool_deferred,
    tool_failed,
    tool_started,
)


def evolve(state: RunState, event: AgentRunEvent) -> RunState:
    """The state after this event.

    Raises:
        InvariantError: the event cannot happen in this state, or holds what no machine writes; the log was not written by this machine, or
            the machine has a bug.
    """
    kind = event.type
    handler = _HANDLERS.get(kind)
    if event.seq != state.seq + 1:
        raise broken(event, f"the fold stands at seq {state.seq}")
    if handler is None:
        if kind in EVENT_TYPES:
            raise broken(event, f"{kind} is never stored")
        return replace(state, seq=event.seq, at=event.at)
    if kind not in LEGAL[state.phase] or (state.status in ENDED and not _goes_on(state, event)):
        raise broken(event, f"{kind} cannot happen in phase {state.phase!r} of a run that is {state.status}")
    try:
        return handler(state, event, event.data)
    except _ABSURD as error:
        raise broken(event, f"{kind} holds what cannot be: {type(error).__name__}: {error}") from error


def _goes_on(state: RunState, event: AgentRunEvent) -> bool:
    """Whether this event may follow the end of a stretch: an interrupted run can be resumed, a failed one reopened, every run forked."""
    if event.type != "run_started":
        return False
    if "forked_from" in event.data:
        return True
    return state.status == ("failed" if event.data.get("reopened") else "interrupted")


# What absurd values lead to: times and numbers out of range, lists without the item, data that has not the shape the log would have checked.
_ABSURD = (ArithmeticError, LookupError, TypeError, ValueError, msgspec.MsgspecError)


def fold(state: RunState, events: Iterable[AgentRunEvent]) -> RunState:
    """The state after all these events."""
    for event in events:
        state = evolve(state, event)
    return state


Fold = Callable[[RunState, AgentRunEvent, dict[str, Any]], RunState]


def _taken_in(handler: Fold, state: RunState, event: AgentRunEvent, data: dict[str, Any]) -> RunState:
    """The state after an event that may come as a letter: each letter is taken in once, in the order in which they were posted."""
    after = handler(state, event, data)
    letter = data.get("letter")
    if letter is None:
        return after
    if letter <= state.last_letter:
        raise broken(event, f"letter {letter} was taken in before: the fold stands at letter {state.last_letter}")
    return replace(after, last_letter=letter)


_HANDLERS: dict[str, Fold] = {
    "run_started": run_started,
    "step_started": step_started,
    "instructions_resolved": instructions_resolved,
    "policy_decision": policy_decision,
    "llm_called": llm_called,
    "llm_completed": llm_completed,
    "llm_failed": llm_failed,
    "circuit_open": circuit_open,
    "output_validated": output_validated,
    "output_rejected": output_rejected,
    "tool_batch_started": tool_batch_started,
    "tool_started": tool_started,
    "tool_failed": tool_failed,
    "tool_completed": tool_completed,
    "tool_deferred": tool_deferred,
    "tool_background_resolved": partial(_taken_in, background_ended),
    "tool_background_failed": partial(_taken_in, background_ended),
    "approval_requested": requested,
    "approval_resolved": partial(_taken_in, approval_resolved),
    "input_requested": requested,
    "input_resolved": partial(_taken_in, input_resolved),
    "subagent_started": subagent_started,
    "subagent_completed": subagent_completed,
    "subagent_waiting": subagent_waiting,
    "subagents_routed": subagents_routed,
    "control_requested": partial(_taken_in, control_requested),
    "timer_fired": timer_fired,
    "effect_in_doubt": effect_in_doubt,
    "limit_reached": noted,
    "compaction_started": compaction_started,
    "compaction_failed": compaction_failed,
    "thread_compacted": thread_compacted,
    "warning": partial(_taken_in, warned),
    "run_completed": run_completed,
    "run_failed": run_ended,
    "run_interrupted": run_ended,
    "run_cancelled": run_ended,
}
