"""The list of tasks as it should be, in memory: what `TaskRecords` is compared with. Pure, apart from being changed."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import Any

import msgspec

from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.records import Began, QueueStats
from afk_es.queues.transitions import TRANSITIONS

FAR = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)


@dataclass
class Row:
    """A task, with what only workers ask for."""

    item: TaskItem
    due: dt.datetime
    offered_at: dt.datetime
    sent: bool
    ended_at: dt.datetime | None = None
    previous: str | None = None
    given_back: int = 0
    awaited: dict[str, int] = field(default_factory=dict)

    def change(self, **changes: Any) -> None:
        """Replace fields of the task."""
        self.item = msgspec.structs.replace(self.item, **changes)


@dataclass
class TaskModel:
    """Tasks in the order in which they were pushed; and the letters of runs, as position and run."""

    rows: dict[str, Row] = field(default_factory=dict)
    letters: list[tuple[int, str]] = field(default_factory=list)

    def _at(self, task_id: str, verb: str, attempt: int | None = None) -> Row | None:
        row = self.rows.get(task_id)
        if row is None or row.item.state not in TRANSITIONS[verb].of:
            return None
        return row if (not TRANSITIONS[verb].fenced) or row.item.attempts == attempt else None

    def seen(self, task_id: str) -> TaskItem | None:
        """What `get` gives."""
        row = self.rows.get(task_id)
        if row is None:
            return None
        later = row.due if row.item.created_at < row.due < FAR else None
        return msgspec.structs.replace(row.item, not_before=later)

    def add(self, item: TaskItem, *, sent: bool) -> bool:
        if item.id in self.rows:
            return False
        self.rows[item.id] = Row(item, max(item.created_at, item.not_before or item.created_at), item.created_at, sent)
        return True

    def begin(self, task_id: str, worker: str, at: dt.datetime) -> Began | None:
        row = self._at(task_id, "begin")
        if row is None:
            return None
        cut = row.item.state == "running"
        row.previous = "cut" if cut else row.previous
        row.sent = True
        attempt = row.item.attempts + 1
        row.change(state="running", attempts=attempt, crashes=row.item.crashes + cut, worker=worker, updated_at=at)
        task = self.seen(task_id)
        assert task is not None
        return Began(task, attempt, row.previous, row.given_back, row.item.cancel_requested)  # type: ignore[arg-type]

    def progress(self, task_id: str, attempt: int, progress: Progress, now: dt.datetime) -> bool:
        row = self._at(task_id, "progress", attempt)
        if row is not None:
            row.change(progress=progress, updated_at=now)
        return row is not None

    def complete(self, task_id: str, attempt: int, result: Any, now: dt.datetime) -> bool:
        return self._end(task_id, attempt, "complete", now, state="completed", result=result, error=None, error_type=None)

    def end_cancelled(self, task_id: str, attempt: int, now: dt.datetime) -> bool:
        return self._end(task_id, attempt, "end_cancelled", now, state="cancelled", error=None, error_type=None)

    def _end(self, task_id: str, attempt: int, verb: str, now: dt.datetime, **changes: Any) -> bool:
        row = self._at(task_id, verb, attempt)
        if row is not None:
            row.ended_at = now
            row.change(updated_at=now, **changes)
        return row is not None

    def again(self, task_id: str, attempt: int, at: dt.datetime, error: str | None, now: dt.datetime, *, counts: bool) -> bool:
        row = self._at(task_id, "again", attempt)
        if row is None:
            return False
        row.previous = "failed" if counts else "given_back"
        row.given_back = 0 if counts else row.given_back + 1
        row.due = at
        kept = error if counts or error is not None else row.item.error
        row.change(state="queued", error=kept, error_type=None if counts else row.item.error_type, updated_at=now)
        row.change(failures=row.item.failures + counts)
        return True

    def bury(self, task_id: str, attempt: int, error: str, now: dt.datetime) -> bool:
        row = self.rows.get(task_id)
        failures = 0 if row is None else row.item.failures + 1
        made = self._end(task_id, attempt, "bury", now, state="dead", error=error, error_type="E", failures=failures)
        if made and row is not None:
            row.previous, row.ended_at = "failed", None
        return made

    def wait(self, task_id: str, attempt: int, letter: int, until: dt.datetime | None, now: dt.datetime, other: str) -> bool:
        row = self._at(task_id, "wait", attempt)
        if row is None:
            return False
        row.previous, row.given_back = "waited", 0
        row.due = until or FAR
        row.awaited = {other: letter, task_id: letter}
        row.change(state="waiting", error="a person", error_type=None, updated_at=now)
        return True

    def awaken(self, now: dt.datetime) -> list[str]:
        woken = []
        for row in self.rows.values():
            letters = any(position > row.awaited.get(run, position) for position, run in self.letters)
            if row.item.state == "waiting" and (row.due <= now or letters or row.item.cancel_requested):
                row.due, row.sent, row.offered_at = now, False, now
                row.change(state="queued", error=None, updated_at=now)
                woken.append(row.item.id)
        return woken

    def cancel(self, task_id: str, now: dt.datetime) -> TaskItem | None:
        row = self._at(task_id, "cancel")
        if row is None:
            return self.seen(task_id)
        state = row.item.state
        row.offered_at = now
        row.change(cancel_requested=True, updated_at=now)
        if state == "queued" and row.item.attempts == 0:
            row.sent, row.ended_at = True, now
            row.change(state="cancelled")
        elif state != "running":
            row.sent, row.due = False, now
            row.change(state="queued")
        return self.seen(task_id)

    def revive(self, task_id: str, at: dt.datetime, now: dt.datetime) -> TaskItem | None:
        row = self._at(task_id, "revive")
        if row is None:
            return None
        row.due, row.sent, row.offered_at, row.ended_at = at, False, now, None
        row.previous, row.given_back = "revived", 0
        row.change(state="queued", failures=0, crashes=0, cancel_requested=False, updated_at=now)
        return self.seen(task_id)

    def discard(self, task_id: str) -> bool:
        return self._at(task_id, "discard") is not None and self.rows.pop(task_id) is not None

    def unsent(self, before: dt.datetime, now: dt.datetime) -> list[str]:
        found = [row for row in self.rows.values() if not row.sent and row.offered_at < before]
        for row in found:
            row.offered_at = now
        return [row.item.id for row in found]

    def mark_sent(self, task_id: str) -> None:
        if task_id in self.rows:
            self.rows[task_id].sent = True

    def purge(self, before: dt.datetime) -> int:
        gone = [
            task_id
            for task_id, row in self.rows.items()
            if row.item.state in TRANSITIONS["purge"].of and row.ended_at is not None and row.ended_at < before
        ]
        for task_id in gone:
            del self.rows[task_id]
        return len(gone)

    def stats(self, now: dt.datetime) -> list[QueueStats]:
        counts: dict[str, dict[str, int]] = {}
        for row in self.rows.values():
            of_queue = counts.setdefault(row.item.queue, {})
            of_queue[row.item.state] = of_queue.get(row.item.state, 0) + 1
        due = {queue: [row.due for row in self.rows.values() if (row.item.queue, row.item.state) == (queue, "queued")] for queue in counts}
        ages = {queue: (now - min(times)).total_seconds() if times and min(times) <= now else None for queue, times in due.items()}
        return [msgspec.convert({"queue": queue, "oldest_due_s": ages[queue], **counts[queue]}, QueueStats) for queue in sorted(counts)]
