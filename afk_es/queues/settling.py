"""What becomes of a task after an attempt, as a pure function of how the attempt ended. It reads no clock, no log and no engine.

    how it ended                                    the task                      the engine
    ------------------------------------------------------------------------------------------------------------------
    Completed    the run has an answer              completed                     done
    Cancelled    somebody ended the run             cancelled                     done
    Failed       and may pass                       queued again after a backoff  again; dead after max_attempts
                 and cannot pass                    dead                          done
    Waits        for people, or events outside      waiting                       done; sent again when it goes on
    LaidDown     by this worker, which stops        queued again at once          again; it does not count
                 by somebody else                   dead, to be retried by hand   done
    Elsewhere    somebody else drives the run       queued again in a moment      again; it does not count
    Unknown      to this worker                     queued again, ever later      again; dead after an hour
    Refused      it can never be done               dead                          done
    Deadly       it has killed too many workers     dead                          done
    Dropped      the lease is over                  nothing: another has it       nothing
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal, TypeAlias

import msgspec

from afk_es.queues.items import TaskItem
from afk_es.queues.retrying import RetryPolicy

ELSEWHERE_S = 5.0
"""After how many seconds a task is looked at again whose run somebody else drives."""

UNKNOWN_FIRST_S, UNKNOWN_LAST_S = 1.0, 60.0
"""After how many seconds a task is given to others again that this worker has not met before, and after how many at most."""

UNKNOWN_FOR_S = 3600.0
"""For how long a worker gives a task to others that it knows no agent or contract of. Then nobody has it, and the task is dead."""


class Completed(msgspec.Struct, frozen=True):
    """The run completed, whole or degraded. `result` is JSON data."""

    result: Any


class Cancelled(msgspec.Struct, frozen=True):
    """The run was ended on request."""


class Failed(msgspec.Struct, frozen=True):
    """The run failed, or could not be begun. `passing`: whether it may go better another time."""

    error: str
    error_type: str
    passing: bool


class Waits(msgspec.Struct, frozen=True):
    """The run was laid down with something open outside.

    Attributes:
        reason: for what, in words.
        letter: the position of the last letter that the run has taken in.
        until: when the run has to go on even if nobody says anything; None: never.
        runs: the runs of its subagents that wait for letters of their own.
    """

    reason: str
    letter: int
    until: dt.datetime | None = None
    runs: tuple[str, ...] = ()


class LaidDown(msgspec.Struct, frozen=True):
    """The run was interrupted and waits for nothing. `here`: because this worker stops."""

    reason: str
    here: bool


class Elsewhere(msgspec.Struct, frozen=True):
    """Somebody else drives the run."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """This worker has no such agent, handler or contract. `for_s`: seconds since it first met the task."""

    reason: str
    for_s: float


class Refused(msgspec.Struct, frozen=True):
    """It cannot be done, now or ever: a payload that is not valid, an agent that is not the one the run began with."""

    error: str
    error_type: str


class Deadly(msgspec.Struct, frozen=True):
    """More workers have died over it than may."""


class Dropped(msgspec.Struct, frozen=True):
    """The lease was over before it came to an end: it is another worker's affair."""


Ending: TypeAlias = Completed | Cancelled | Failed | Waits | LaidDown | Elsewhere | Unknown | Refused | Deadly | Dropped
"""How an attempt ended."""


class Settlement(msgspec.Struct, frozen=True):
    """What is written of a task, and said to the engine.

    Attributes:
        task: what becomes of it.
        after_s: seconds until it may be taken again, where it is "again".
        counts: whether the attempt counts as a failure, where it is "again".
        waits: for what, where it is "wait".
    """

    task: Literal["complete", "cancel", "again", "bury", "wait", "nothing"]
    result: Any = None
    error: str | None = None
    error_type: str | None = None
    after_s: float = 0.0
    counts: bool = False
    waits: Waits | None = None

    @property
    def engine(self) -> Literal["done", "again", "nothing"]:
        """What the engine is told."""
        match self.task:
            case "again" | "nothing":
                return self.task
            case _:
                return "done"


def settled(ending: Ending, item: TaskItem, retry: RetryPolicy) -> Settlement:
    """What becomes of the task.

    Args:
        item: the task as the attempt found it: this attempt's failure is not counted in it yet, and the crash of the one before is.
        retry: how failures are tried again; how often is the task's own `max_attempts`.
    """
    match ending:
        case Completed(result):
            return Settlement("complete", result=result)
        case Cancelled():
            return Settlement("cancel")
        case Failed(error, error_type, passing):
            return _failed(error, error_type, passing, item, retry)
        case Waits(reason):
            return Settlement("wait", error=reason, waits=ending)
        case LaidDown(reason, True):
            return Settlement("again", error=reason)
        case LaidDown(reason, _):
            way_out = "retry the task to go on with it (`afk-es queue retry ID`)"
            return Settlement("bury", error=f"the run was laid down: {reason}; {way_out}", error_type="RunInterruptedError")
        case Elsewhere(reason):
            return Settlement("again", error=reason, after_s=ELSEWHERE_S)
        case Unknown(reason, for_s):
            return _unknown(reason, for_s)
        case Refused(error, error_type):
            return Settlement("bury", error=error, error_type=error_type)
        case Deadly():
            what = f"{item.crashes} workers died over it, or lost their lease; look at its run before you retry it"
            return Settlement("bury", error=what, error_type="WorkerLost")
        case Dropped():
            return Settlement("nothing")


def deadly(item: TaskItem, retry: RetryPolicy) -> bool:
    """Whether more workers have died over it than may, so that it is not begun again."""
    return item.crashes > retry.max_crashes


def _failed(error: str, error_type: str, passing: bool, item: TaskItem, retry: RetryPolicy) -> Settlement:
    failures = item.failures + 1
    if not passing or failures >= item.max_attempts:
        return Settlement("bury", error=error, error_type=error_type)
    return Settlement("again", error=error, error_type=error_type, after_s=retry.delay_s(item.id, failures), counts=True)


def _unknown(reason: str, for_s: float) -> Settlement:
    if for_s >= UNKNOWN_FOR_S:
        return Settlement("bury", error=f"{reason}, and no other worker took it for {for_s / 60:.0f} minutes", error_type="UnknownTask")
    # As long as it has waited already, so it waits twice as long each time.
    return Settlement("again", error=reason, after_s=min(max(for_s, UNKNOWN_FIRST_S), UNKNOWN_LAST_S))
