"""Bugs that somebody might have made in the queue, and which of its laws each breaks. The laws must find every one of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bugs.planting import Slip, slipped


@dataclass(frozen=True)
class Reworded:
    """An edit of a statement that is a module's constant.

    Attributes:
        place: as "afk_es.queues.task_statements:BEGIN".
        right: text that it has once.
        wrong: what stands there instead.
    """

    place: str
    right: str
    wrong: str


@dataclass(frozen=True)
class Bug:
    """A mistake.

    Attributes:
        law: the law that it breaks.
        mistake: what whoever made it got wrong, in a sentence.
        edits: of the product.
    """

    law: str
    mistake: str
    edits: tuple[Slip | Reworded, ...]

    @property
    def name(self) -> str:
        """For tests and tables."""
        return f"{self.law}: {self.mistake}"


_ROWS = "afk_es.queues.delivery_rows"
_TASKS = "afk_es.queues.task_statements"

BUGS: tuple[Bug, ...] = (
    Bug("order", "of equal parcels the youngest is taken first", (Reworded(f"{_ROWS}:_READY", "DESC, seq LIMIT", "DESC, seq DESC LIMIT"),)),
    Bug("priority", "the lowest is taken first", (Reworded(f"{_ROWS}:_READY", "priority DESC, seq LIMIT", "priority, seq LIMIT"),)),
    Bug(
        "lanes",
        "one that waits for its time lets those behind it pass",
        (Reworded(f"{_ROWS}:_NEXT", "o.lane = l.value ORDER", "o.lane = l.value AND o.due IS NULL ORDER"),),
    ),
    Bug("delay", "a delayed task is sent without its time", (Slip("afk_es.queues.pushing:parcel_of", "item.not_before\n", "None\n"),)),
    Bug(
        "delay",
        "the pause before another try is forgotten",
        (Slip("afk_es.queues.attempts:Attempt._tell", "(self.delivery, self._at)", "(self.delivery, None)"),),
    ),
    Bug(
        "delay",
        "the pause before another try does not grow",
        (Slip("afk_es.queues.settling:_failed", "retry.delay_s(began.task.id, failures)", "retry.delay_s(began.task.id, 1)"),),
    ),
    Bug(
        "dedup",
        "another payload under the same key is taken for the same task",
        (Slip("afk_es.queues.queue:_check_same", "canonical_json(there.payload) != canonical_json(item.payload)", "False"),),
    ),
    Bug(
        "dead letters",
        "one try too many",
        (Slip("afk_es.queues.settling:_failed", "failures >= began.task.max_attempts", "failures > began.task.max_attempts"),),
    ),
    Bug("dead letters", "what fails for good is tried again", (Slip("afk_es.queues.settling:_failed", "not failed.passing or ", ""),)),
    Bug(
        "dead letters",
        "a task that kills workers is handed on for ever",
        (Slip("afk_es.queues.settling:deadly", "began.task.crashes > retry.max_crashes", "False"),),
    ),
    Bug("dead letters", "a revived task keeps its failures", (Reworded(f"{_TASKS}:REVIVE", "failures = 0, ", ""),)),
    Bug("retry", "a run that failed is not reopened", (Slip("afk_es.queues.attempts:Attempt._driven", "reopen=reopen", "reopen=False"),)),
    Bug("leases", "a beat that came too late counts", (Slip(f"{_ROWS}:beating", "AND until > $2", "AND $2 = $2"),)),
    Bug(
        "leases",
        "what is held is not given to others",
        (
            Slip(
                "afk_es.queues.tables:TableConsumer.recover",
                "rows.recovering(self._clock.now())",
                "rows.recovering(self._clock.now() - self._lease)",
            ),
        ),
    ),
    Bug(
        "leases",
        "a worker counts its lease from when the beat came back",
        (Slip("afk_es.queues.leases:WorkerLease.left_s", "self._since + self._for_s", "self._since + 10 * self._for_s"),),
    ),
    Bug(
        "fencing",
        "a worker that lost its task can still give it back",
        (Reworded(f"{_TASKS}:GIVEN_BACK", "AND attempts = $2", "AND $2 = $2"),),
    ),
    Bug(
        "crashes",
        "an attempt that was cut is not counted",
        (Reworded(f"{_TASKS}:BEGIN", "crashes = crashes + CASE WHEN state = 'running' THEN 1 ELSE 0 END,", ""),),
    ),
    Bug("crashes", "a task that was running is not begun again", (Reworded(f"{_TASKS}:BEGIN", "'queued', 'running'", "'queued'"),)),
    Bug(
        "takeover",
        "a run whose worker lost it is not taken over",
        (Slip("afk_es.queues.attempts:Attempt._driven", "began.takes_over", "began.takes_over and not began.crashed"),),
    ),
    Bug("cancel", "a task that was called off is done all the same", (Reworded(f"{_TASKS}:CANCEL", "cancel_requested = 1, ", ""),)),
    Bug(
        "drain",
        "what a worker lays down counts as a failure",
        (
            Slip(
                "afk_es.queues.settling:settled",
                'return Settlement("again", error=reason)',
                'return Settlement("again", error=reason, counts=True)',
            ),
        ),
    ),
    Bug("liveness", "a finished task leaves its lane occupied", (Slip(f"{_ROWS}:finishing", ", *_next(lane)", ""),)),
    Bug("liveness", "a revived task is not sent", (Slip("afk_es.queues.queue:TaskQueue.retry", "await self._send([item])", "pass"),)),
)


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """The product with this bug in it."""
    with ExitStack() as stack:
        for edit in bug.edits:
            stack.enter_context(slipped([edit]) if isinstance(edit, Slip) else _reworded(edit))
        yield


@contextmanager
def _reworded(edit: Reworded) -> Iterator[None]:
    name, _, constant = edit.place.partition(":")
    module: Any = importlib.import_module(name)
    right: str = getattr(module, constant)
    if (times := right.count(edit.right)) != 1:
        raise ValueError(f"{edit.place} has {edit.right!r} {times} times, and not once: the product has changed, so must the bug")
    setattr(module, constant, right.replace(edit.right, edit.wrong))
    try:
        yield
    finally:
        setattr(module, constant, right)
