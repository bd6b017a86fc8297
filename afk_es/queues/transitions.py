"""What may happen to a task when, as a table: statements are made of it, and tests and people read it too. It knows no database."""

from __future__ import annotations

from typing import Literal

import msgspec

from afk_es.queues.items import TaskState

Previous = Literal["cut", "failed", "given_back", "waited", "revived"]
"""How the attempt before ended: it never did, since its worker's process or lease ended first; with an error that counts; it was given back,
as by a worker that is drained; it waited for somebody outside; it had failed for good, and an operator wants it tried again."""


class Transition(msgspec.Struct, frozen=True):
    """A change of a task.

    Attributes:
        of: the states that it may come from.
        to: the states that it may lead to; none: the row is gone.
        fenced: whether it is only for the worker that has begun the task's present attempt.
    """

    of: frozenset[TaskState]
    to: frozenset[TaskState]
    fenced: bool = False


def _transition(of: tuple[TaskState, ...], to: tuple[TaskState, ...] = (), *, fenced: bool = False) -> Transition:
    return Transition(frozenset(of), frozenset(to), fenced)


TRANSITIONS: dict[str, Transition] = {
    # Of a task that is running already, the engine has said that its worker is gone.
    "begin": _transition(("queued", "running"), ("running",)),
    "progress": _transition(("running",), ("running",), fenced=True),
    "complete": _transition(("running",), ("completed",), fenced=True),
    "again": _transition(("running",), ("queued",), fenced=True),
    "bury": _transition(("running",), ("dead",), fenced=True),
    "wait": _transition(("running",), ("waiting",), fenced=True),
    "end_cancelled": _transition(("running",), ("cancelled",), fenced=True),
    "awaken": _transition(("waiting",), ("queued",)),
    # One whose run has begun is handed to a worker once more, which ends the run.
    "cancel": _transition(("queued", "running", "waiting"), ("cancelled", "queued", "running")),
    "revive": _transition(("dead",), ("queued",)),
    "discard": _transition(("dead",)),
    "purge": _transition(("completed", "cancelled")),
}


def states(verb: str) -> str:
    """The states from which a change may come, as the list of an SQL `IN`."""
    return ", ".join(f"'{state}'" for state in sorted(TRANSITIONS[verb].of))
