"""A task, as whoever pushed it sees it. It knows no database and no engine."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import msgspec

TaskState = Literal["queued", "running", "waiting", "completed", "dead", "cancelled"]

OPEN: frozenset[str] = frozenset({"queued", "running", "waiting"})
"""The states of a task that has yet to come to its end."""


class Progress(msgspec.Struct, frozen=True):
    """How far a task is, as it was said last.

    Attributes:
        step: the step of its run.
        doing: what its run did last, in words.
        done: the tool's own measure, as from `ToolContext.report_progress`; None where none was given.
        total: what `done` comes to at the end; None where that is not known.
    """

    step: int = 0
    doing: str = ""
    done: float | None = None
    total: float | None = None


class TaskItem(msgspec.Struct, frozen=True, kw_only=True):
    """A task: something to do once, by a worker, as a run of the log.

    Attributes:
        id: of the task, and of its run: `afk-es debug ID` opens it. A retried task goes on with the same run.
        queue: the queue it is in.
        contract: how its payload is understood, such as "runner.chat.v1".
        payload: what was asked, as JSON values.
        state: "queued" until a worker takes it, also where it waits for its time or for another try; "running"; "waiting" for a person or
            an event outside, with no worker; "completed"; "dead": it failed for good, and waits for an operator to retry or discard it;
            "cancelled".
        priority: the higher is taken first; default 0.
        key: the deduplication key it was pushed with; a key stands for one task of its queue for ever.
        lane: tasks of one lane are done one after the other, by priority and then in the order in which they were pushed; a chat's lane is
            its thread. One that waits for a person or an event outside, or is dead, lets those behind it go first.
        created_at: when it was pushed.
        updated_at: when it last changed.
        not_before: when it may be taken at the earliest; None: at once.
        attempts: how often a worker began with it.
        failures: how many of these ended with an error.
        crashes: how many of these never ended, since the worker's process or lease did.
        max_attempts: failures after which it is dead.
        worker: who has it, or had it last.
        error: why the last attempt failed, or why it is dead or waiting; None where there is nothing to say.
        error_type: the class of that error, as events name it.
        result: what it came to: the run's text or structured output, or what a job's handler returned; None until it is completed.
        result_in_log: whether the result is too large for the list of tasks, which then has None: `TaskQueue.result` reads it of the run.
        progress: see `Progress`.
        cancel_requested: whether somebody wants it cancelled, and the worker that has it next is to end its run.
    """

    id: str
    queue: str
    contract: str
    payload: dict[str, Any]
    state: TaskState
    created_at: dt.datetime
    updated_at: dt.datetime
    priority: int = 0
    key: str | None = None
    lane: str | None = None
    not_before: dt.datetime | None = None
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    max_attempts: int = 5
    worker: str | None = None
    error: str | None = None
    error_type: str | None = None
    result: Any = None
    result_in_log: bool = False
    progress: Progress = Progress()
    cancel_requested: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state not in OPEN
