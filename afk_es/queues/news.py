"""What a worker tells of its tasks while it works, for whoever looks at it. Nothing is decided by it."""

from __future__ import annotations

from typing import Literal

import msgspec

from afk_es.queues.items import TaskItem

What = Literal["begun", "completed", "cancelled", "retried", "given_back", "dead", "waiting"]


class TaskNews(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a worker did with a task.

    Attributes:
        what: "begun": an attempt has begun. The others say what became of it: "retried": it failed, and will be tried again; "given_back": it
            does not count; "waiting": for somebody outside.
        task: the task, as it was when the attempt began.
        attempt: the number of the attempt, from 1.
        error: why, where it is not completed.
        after_s: seconds until it may be taken again, where it is retried or given back.
    """

    what: What
    task: TaskItem
    attempt: int
    error: str | None = None
    after_s: float = 0.0
