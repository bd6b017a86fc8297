"""A run that is written down for another process to go on with: begun, and laid down before it does anything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from afk_es.errors import ConfigurationError
from afk_es.log import DatabaseLog, EventLog, Statement
from afk_es.machine import AgentRunEvent, Draft, RunState, decide, evolve, stamp

ORIGIN = "prepare"
"""Who asked for the interrupt, as the events of a run say that nobody has begun to work on."""


def prepared(state: RunState, started: Draft, reason: str, at: dt.datetime) -> list[AgentRunEvent]:
    """The events of such a run, for one append.

    Args:
        state: the initial state of the run.
        started: its `run_started`.
        reason: why it is laid down, in words.
    """
    wish = Draft("control_requested", {"action": "interrupt", "reason": reason, "origin": ORIGIN}, reason)
    drafts = [started, wish]
    events: list[AgentRunEvent] = []
    while drafts:
        for draft in drafts:
            events.append(stamp(state, draft, at))
            state = evolve(state, events[-1])
        drafts = [] if state.ended else list(decide(state).events)
    return events


async def write_down(log: EventLog, events: Sequence[AgentRunEvent], statements: Sequence[Statement]) -> None:
    """Append the events of such a run, with statements in the same transaction.

    Raises:
        ConfigurationError: there are statements, and the log is in no database; nothing was written.
        ClashError, HeadConflictError, LogError: see `DatabaseLog.append_with`.
    """
    run_id = events[0].run_id
    if statements and not isinstance(log, DatabaseLog):
        raise ConfigurationError(f"the log {log.location} is in no database that could run statements; use a SQLite file or PostgreSQL")
    log.hold(run_id)
    try:
        if isinstance(log, DatabaseLog) and statements:
            await log.append_with(events, epoch=1, statements=statements)
        else:
            await log.append(events, epoch=1)
    finally:
        log.release(run_id)
