"""Which workers there are, as they say themselves: for people. Nothing is decided by it: a worker may be gone and still be listed for a while."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from afk_es.errors import CorruptLogError
from afk_es.log.codec import microseconds, moment
from afk_es.log.port import Statement


class WorkerPresence(msgspec.Struct, frozen=True, kw_only=True):
    """A worker, as it said last.

    Attributes:
        worker: its name, as `TaskItem.worker` has it.
        host: the machine it is on.
        pid: its process there.
        queues: what it takes from.
        slots: tasks that it has at once at most.
        busy: tasks that it has.
        draining: whether it takes no more, and ends what it has.
        started_at: when it began.
        seen_at: when it said this.
        alive_until: when its lease is over if it says nothing more; later it is gone, or cannot reach the log.
    """

    worker: str
    host: str
    pid: int
    queues: tuple[str, ...]
    slots: int
    busy: int
    started_at: dt.datetime
    seen_at: dt.datetime
    alive_until: dt.datetime
    draining: bool = False

    def alive(self, at: dt.datetime) -> bool:
        """Whether its lease holds at that time."""
        return at < self.alive_until


_COLUMNS = "worker, host, pid, queues, slots, busy, draining, started_at, seen_at, alive_until"

# What is said of a worker twice in a moment may come in any order.
_HERE = f"""
INSERT INTO workers ({_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (worker) DO UPDATE SET host = excluded.host, pid = excluded.pid, queues = excluded.queues, slots = excluded.slots,
  busy = excluded.busy, draining = excluded.draining, started_at = excluded.started_at, seen_at = excluded.seen_at,
  alive_until = excluded.alive_until
WHERE excluded.seen_at >= workers.seen_at"""

ALL = f"SELECT {_COLUMNS} FROM workers ORDER BY started_at, worker"


def here(presence: WorkerPresence) -> Statement:
    """Notes that a worker is there."""
    said = presence
    times = (microseconds(said.started_at), microseconds(said.seen_at), microseconds(said.alive_until))
    queues = msgspec.json.encode(said.queues).decode()
    return Statement(_HERE, (said.worker, said.host, said.pid, queues, said.slots, said.busy, int(said.draining), *times))


def gone(worker: str) -> Statement:
    """Notes that it is there no longer."""
    return Statement("DELETE FROM workers WHERE worker = $1", (worker,))


def long_gone(before: dt.datetime) -> Statement:
    """Forgets those whose lease ended before that time."""
    return Statement("DELETE FROM workers WHERE alive_until < $1", (microseconds(before),))


def worker_presence(row: Sequence[Any]) -> WorkerPresence:
    """The worker of a row of `ALL`.

    Raises:
        CorruptLogError: it is none that was written here.
    """
    try:
        return _worker_presence(row)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise CorruptLogError(
            f"worker {row[0]} in the list of workers is damaged ({error}); delete that row of the table workers"
        ) from error


def _worker_presence(row: Sequence[Any]) -> WorkerPresence:
    worker, host, pid, queues, slots, busy, draining, started_at, seen_at, alive_until = row
    return WorkerPresence(
        worker=worker,
        host=host,
        pid=pid,
        queues=msgspec.json.decode(queues, type=tuple[str, ...]),
        slots=slots,
        busy=busy,
        draining=bool(draining),
        started_at=moment(started_at),
        seen_at=moment(seen_at),
        alive_until=moment(alive_until),
    )
