"""A draft gets its place in the run: seq, time, status and step, all from the state before it."""

from __future__ import annotations

import datetime as dt

from afk_es.machine.events import AgentRunEvent, Draft
from afk_es.machine.run_facts import EVENT_STATUS
from afk_es.machine.state import RunState


def stamp(state: RunState, draft: Draft, at: dt.datetime) -> AgentRunEvent:
    """The event that this draft becomes when it is appended next, at that time. Time never goes back within a run."""
    kind = draft.type
    step = state.step
    status: str = state.status
    if kind == "step_started":
        step = draft.data["step"]
    elif kind == "run_started":
        status = "running"
    elif kind == "run_completed":
        status = draft.data["state"]
    elif kind == "control_requested":
        status = {"pause": "paused", "resume": "running"}.get(draft.data["action"], status)
    elif kind in EVENT_STATUS:
        status = EVENT_STATUS[kind]
    return AgentRunEvent(
        kind, state.run_id, state.thread_id, state.seq + 1, at if at > state.at else state.at, status, step, draft.message, draft.data
    )
