"""What is pushed, and all that can be known to be wrong with it before anything is written."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel

from afk_es.errors import ConfigurationError, PayloadError, UnregisteredError
from afk_es.machine.values import canonical_json
from afk_es.queues.contracts import Contract, Known, TaskRun, plain_payload
from afk_es.queues.dispatch import Parcel
from afk_es.queues.items import TaskItem
from afk_es.queues.texts import LARGEST_PAYLOAD, LONGEST_NAME
from afk_es.serving.ownership import run_id_of

MAX_DELAY_S = 10 * 365 * 86_400.0
MAX_ATTEMPTS = 1_000_000

_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""procrastinate makes of it the name of a channel, for which PostgreSQL has 63 bytes."""
_INT32 = 2**31


@dataclass(frozen=True, kw_only=True)
class NewTask:
    """A task to be pushed.

    Attributes:
        contract: a contract, or the name of a registered one.
        payload: a JSON object that fits it, or a Pydantic model.
        queue: letters, digits, '_', '-' and '.', at most 40; default "default".
        priority: the higher is taken first; 32 bits; default 0.
        delay_s: seconds from now before which it is not taken; default none.
        at: the time before which it is not taken, with a time zone; instead of `delay_s`.
        key: of up to 500 characters; another push under the same key of the same queue gives the same task, for ever. Default none.
        lane: tasks of a lane are done one after the other, see `TaskItem`; default what the contract says, which for a chat is its thread.
        max_attempts: failures after which the task is dead; default that of the queue's `RetryPolicy`.
    """

    contract: Contract | str
    payload: Mapping[str, Any] | BaseModel
    queue: str = "default"
    priority: int = 0
    delay_s: float | None = None
    at: dt.datetime | None = None
    key: str | None = None
    lane: str | None = None
    max_attempts: int | None = None


class Checked(NamedTuple):
    """A task that may be stored, and the run it is where this process knows its agent."""

    item: TaskItem
    run: TaskRun | None


def checked(new: NewTask, known: Known, *, task_id: str, now: dt.datetime, max_attempts: int, run: TaskRun | None = None) -> Checked:
    """The task, if nothing is wrong with it.

    Args:
        task_id: its id, unless it has a key, of which its id is made.
        max_attempts: where it has none of its own.
        run: the run that is asked for, where the caller has it at hand.

    Raises:
        ConfigurationError: a queue, time, priority, key, lane or number that cannot be.
        UnregisteredError: no such contract.
        PayloadError: a payload that is not JSON, or does not fit the contract.
    """
    contract = new.contract if isinstance(new.contract, Contract) else known.contract(new.contract)
    payload = plain_payload(new.payload)
    if (size := len(canonical_json(payload))) > LARGEST_PAYLOAD:
        raise PayloadError(
            f"a payload has at most {LARGEST_PAYLOAD:,} bytes, and this has {size:,}; keep what is large elsewhere, and say where"
        )
    asked = contract.asked(payload)
    if run is None:
        try:
            run = known.run_of(asked)
        except UnregisteredError:
            # Workers may know it.
            run = None
    thread_id = getattr(asked, "thread_id", None)
    check_queue(new.queue)
    if new.key is not None:
        _check_text("key", new.key, LONGEST_NAME)
        task_id = run_id_of("task", new.queue, new.key)
    lane = new.lane if new.lane is not None else thread_id
    if lane is not None:
        _check_text("lane" if new.lane is not None else "thread_id, which is the task's lane,", lane, LONGEST_NAME)
    item = TaskItem(
        id=task_id,
        queue=new.queue,
        contract=contract.name,
        payload=payload,
        state="queued",
        created_at=now,
        updated_at=now,
        priority=_priority(new.priority),
        key=new.key,
        lane=lane,
        not_before=_not_before(new.delay_s, new.at, now),
        max_attempts=_attempts(max_attempts if new.max_attempts is None else new.max_attempts),
    )
    return Checked(item, run)


def parcel_of(item: TaskItem) -> Parcel:
    """What the engine is given of a task. One that was due when it last changed is given without a time: the engine's clock may be behind."""
    due = item.not_before
    if due is not None and due <= item.updated_at:
        due = None
    return Parcel(item.id, item.queue, item.priority, due, item.lane)


def check_queue(queue: object) -> str:
    """The name of a queue.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(queue, str) or not _QUEUE.fullmatch(queue):
        raise ConfigurationError(f"a queue is named by 1 to 40 letters, digits, '_', '-' and '.', not {queue!r:.160}")
    return queue


def _check_text(name: str, value: object, longest: int) -> None:
    if not isinstance(value, str) or not value.strip() or len(value) > longest or "\0" in value:
        raise ConfigurationError(
            f"{name} is a text of 1 to {longest} characters that are not all blank, without NUL; this is {value!r:.160}"
        )
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{name} has half a character in it, a surrogate alone, which is no text") from error


def _priority(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT32 <= value < _INT32:
        raise ConfigurationError(f"priority is an integer of 32 bits, and the higher is taken first; this is {value!r:.80}")
    return value


def _attempts(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_ATTEMPTS:
        raise ConfigurationError(f"max_attempts is a number from 1 to {MAX_ATTEMPTS:,}, not {value!r:.80}")
    return value


def _not_before(delay_s: object, at: object, now: dt.datetime) -> dt.datetime | None:
    if delay_s is not None and at is not None:
        raise ConfigurationError("delay_s says how long from now, and at says when; leave one of them out")
    if at is not None:
        if not isinstance(at, dt.datetime) or at.utcoffset() is None:
            raise ConfigurationError(f"at is a datetime with a time zone, such as datetime(..., tzinfo=UTC); this is {at!r:.80}")
        return at.astimezone(dt.UTC)
    if delay_s is None:
        return None
    if isinstance(delay_s, bool) or not isinstance(delay_s, (int, float)) or not 0 <= delay_s <= MAX_DELAY_S:
        raise ConfigurationError(f"delay_s is a number of seconds from 0 to ten years, not {delay_s!r:.80}")
    return now + dt.timedelta(seconds=delay_s) if delay_s else None
