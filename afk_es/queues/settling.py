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

from afk_es.queues.news import What
from afk_es.queues.records import Began
from afk_es.queues.retrying import RetryPolicy

ELSEWHERE_S = 5.0
"""After how many seconds a task is looked at again whose run somebody else drives."""

UNKNOWN_LONGEST_S = 60.0
"""After how many seconds at most a task is handed out again that a worker could do nothing with. The first time it is one, then twice as long."""

UNKNOWN_FOR_S = 3600.0
"""For how long. Nobody knows its agent, handler or contract then, and the task is dead."""


class Completed(msgspec.Struct, frozen=True):
    """The run completed, whole or degraded. `result` is JSON data."""

    result: Any


class Cancelled(msgspec.Struct, frozen=True):
    """The run was ended on request."""


class Failed(msgspec.Struct, frozen=True):
    """The run failed, or could not be begun.

    Attributes:
        passing: whether it may go better another time.
        retry_after_s: seconds that it has to be left alone; None where nobody said.
    """

    error: str
    error_type: str
    passing: bool
    retry_after_s: float | None = None


class Waits(msgspec.Struct, frozen=True):
    """The run was laid down with something open outside.

    Attributes:
        reason: for what, in words.
        letter: the position of the last letter that the run has taken in.
        runs: the same of its subagents' runs that wait.
        until: when the run has to go on even if nobody says anything; None: never.
    """

    reason: str
    letter: int
    runs: dict[str, int] = {}
    until: dt.datetime | None = None


class LaidDown(msgspec.Struct, frozen=True):
    """The run was interrupted and waits for nothing. `here`: because this worker stops."""

    reason: str
    here: bool


class Elsewhere(msgspec.Struct, frozen=True):
    """Somebody else drives the run."""

    reason: str


class Unknown(msgspec.Struct, frozen=True):
    """This worker has no such agent, handler or contract."""

    reason: str


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

    @property
    def what(self) -> What | None:
        """What is told of it; None for nothing."""
        match self.task:
            case "complete":
                return "completed"
            case "cancel":
                return "cancelled"
            case "again":
                return "retried" if self.counts else "given_back"
            case "bury":
                return "dead"
            case "wait":
                return "waiting"
            case "nothing":
                return None


def settled(ending: Ending, began: Began, retry: RetryPolicy) -> Settlement:
    """What becomes of the task.

    Args:
        began: the attempt as it began: its own failure is not counted in its task yet, and the crash of the one before is.
        retry: how failures are tried again; how often is the task's own `max_attempts`.
    """
    match ending:
        case Completed(result):
            return Settlement("complete", result=result)
        case Cancelled():
            return Settlement("cancel")
        case Failed():
            return _failed(ending, began, retry)
        case Waits(reason):
            return Settlement("wait", error=reason, waits=ending)
        case LaidDown(reason, True):
            return Settlement("again", error=reason)
        case LaidDown(reason):
            error = f"the run was laid down: {reason}; retry the task to go on with it"
            return Settlement("bury", error=error, error_type="RunInterruptedError")
        case Elsewhere(reason):
            return Settlement("again", error=reason, after_s=ELSEWHERE_S)
        case Unknown(reason):
            return _unknown(reason, began.given_back)
        case Refused(error, error_type):
            return Settlement("bury", error=error, error_type=error_type)
        case Deadly():
            error = f"{began.task.crashes} workers died over it, or lost their lease; look at its run before you retry the task"
            return Settlement("bury", error=error, error_type="WorkerLost")
        case Dropped():
            return Settlement("nothing")


def deadly(began: Began, retry: RetryPolicy) -> bool:
    """Whether more workers have died over the task than may, so that its run is not gone on with."""
    return began.task.crashes > retry.max_crashes


def _failed(failed: Failed, began: Began, retry: RetryPolicy) -> Settlement:
    failures = began.task.failures + 1
    error, error_type = failed.error, failed.error_type
    if not failed.passing or failures >= began.task.max_attempts:
        return Settlement("bury", error=error, error_type=error_type)
    delay_s = max(retry.delay_s(began.task.id, failures), min(failed.retry_after_s or 0.0, retry.cap_s))
    return Settlement("again", error=error, error_type=error_type, after_s=delay_s, counts=True)


def _unknown(reason: str, given_back: int) -> Settlement:
    waited_s = sum(_pause_s(each) for each in range(given_back)) if given_back < UNKNOWN_FOR_S else UNKNOWN_FOR_S
    if waited_s >= UNKNOWN_FOR_S:
        error = f"{reason}; no worker that took it in {UNKNOWN_FOR_S / 60:.0f} minutes knows it"
        return Settlement("bury", error=error, error_type="UnregisteredError")
    return Settlement("again", error=reason, error_type="UnregisteredError", after_s=_pause_s(given_back))


def _pause_s(given_back: int) -> float:
    return min(2.0 ** min(given_back, 10), UNKNOWN_LONGEST_S)
