"""The runs of a log as rows of a table: which are meant, and what is said of each in a cell. Nothing here lays the table out."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import msgspec

from afk_es.debugger.figures import dollars, local, span
from afk_es.debugger.naming import all_runs, status_of
from afk_es.log import EventLog, RunRecord
from afk_es.redaction import Redaction

HEADER = ("status", "run", "agent", "started", "took", "steps", "tools", "errors", "tokens", "cost", "about")
NUMBERS = frozenset({"took", "steps", "tools", "errors", "tokens", "cost"})
"""Columns that are read from the right."""

STATES = ("running", "paused", "completed", "degraded", "failed", "cancelled", "interrupted", "crashed")
"""What a run's status may be, for people: "crashed" is one that has no end and that nobody drives."""

_CHILD = "\u21b3 "
"""Marks the run of a subagent, before the task it was given; its record has its parent's id."""


class Listed(NamedTuple):
    """A run of the list, and its status for people."""

    record: RunRecord
    status: str

    @property
    def about(self) -> str:
        """Why it did not complete, where that is known; otherwise what it was asked."""
        if self.status != "completed" and self.record.ended and self.record.message:
            return self.record.message
        task = self.record.user_message or ""
        return f"{_CHILD}{task}" if self.record.parent_run_id is not None else task


class Selection(NamedTuple):
    """Runs of a log, the newest first.

    Attributes:
        last: the last run that was looked at, whether it fits or not; None where the log has no more behind it.
    """

    runs: list[Listed]
    last: str | None


async def selected_runs(
    log: EventLog,
    *,
    thread_id: str | None = None,
    states: Collection[str] = (),
    limit: int,
    before: str | None = None,
    most: int | None = None,
    redaction: Redaction | None = None,
) -> Selection:
    """The runs that fit, the newest first.

    Args:
        states: of `STATES`; none named: all.
        limit: of runs that fit.
        before: a run, after which the list goes on.
        most: runs that are looked at; None for as many as there are.

    Raises:
        RunNotFoundError: there is no run `before`.
    """
    found: list[Listed] = []
    looked = 0
    async for record in all_runs(log, thread_id=thread_id, before=before):
        status = await status_of(log, record)
        looked += 1
        if not states or status in states:
            found.append(Listed(_redacted(record, redaction), status))
        if len(found) >= limit or looked == most:
            return Selection(found, record.run_id)
    return Selection(found, None)


def _redacted(record: RunRecord, redaction: Redaction | None) -> RunRecord:
    if redaction is None:
        return record
    asked = redaction.text(record.user_message) if record.user_message is not None else None
    return msgspec.structs.replace(record, user_message=asked, message=redaction.text(record.message))


def cells(run: Listed, name: str) -> tuple[str, ...]:
    """What the columns of `HEADER` say of a run; a renderer has to make it harmless.

    Args:
        name: what it is called by: its id, or the beginning of one.
    """
    record = run.record
    tokens = record.input_tokens + record.output_tokens
    return (
        run.status,
        name,
        record.agent_name[:24],
        local(record.started_at)[5:],
        span((record.updated_at - record.started_at).total_seconds()),
        str(record.step),
        str(record.tool_calls),
        str(record.errors),
        str(tokens) if tokens else "-",
        dollars(record.cost_usd) if record.cost_usd is not None else "-",
        run.about,
    )
