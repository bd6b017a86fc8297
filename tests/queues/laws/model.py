"""What a queue is, in plain Python: an engine that lends parcels, a list of tasks, the runs behind them, and workers that come, stall and go.

It is the specification that the product is held against, so it says everything in the simplest way there is: no index, no statement, no
transaction. Time is a number of seconds that somebody else moves. Where the product says the same in SQL or in the order of its appends, it
has to come to the same. The laws themselves are assertions in it (`_begin_effect`), so a model that breaks one is found as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

LEASE_S = 30.0
OWN_LEASE_S = 27.0
"""For so long after a beat a worker itself takes its lease for held."""
MAX_CRASHES = 2
ELSEWHERE_S = 5.0

How = Literal["ok", "passing", "final"]
"""What the world does with an effect: it succeeds, fails in a way that may pass, or fails for good."""

OPEN = ("queued", "running", "waiting")


@dataclass
class Parcel:
    """What the engine carries. `due`: not before then; `holder`: the consumer that has it."""

    seq: int
    task: str
    queue: str
    priority: int
    lane: str | None
    due: float | None
    holder: int | None = None


class Engine:
    """Lends parcels, in their order, for the length of a lease."""

    def __init__(self) -> None:
        self.now = 0.0
        self.parcels: dict[int, Parcel] = {}
        self._until: dict[int, float] = {}
        self._sent = 0
        self._joined = 0

    def send(self, task: str, queue: str, priority: int, lane: str | None, due: float | None) -> None:
        self._sent += 1
        self.parcels[self._sent] = Parcel(self._sent, task, queue, priority, lane, due)

    def hasten(self, tasks: Collection[str]) -> None:
        """What of them waits for its time does so no longer."""
        for parcel in self.parcels.values():
            if parcel.task in tasks:
                parcel.due = None

    def join(self) -> int:
        self._joined += 1
        self._until[self._joined] = self.now + LEASE_S
        return self._joined

    def lends(self, consumer: int) -> bool:
        """Whether its lease lasts."""
        return self._until.get(consumer, 0.0) > self.now

    def take(self, consumer: int, queues: Sequence[str], limit: int) -> list[Parcel]:
        """Up to so many that are due, by priority and then by age; of a lane its first, and only when none of it is held."""
        if not self.lends(consumer):
            return []
        for parcel in self.parcels.values():
            if parcel.due is not None and parcel.due <= self.now:
                parcel.due = None
        ready = [each for each in self.parcels.values() if each.queue in queues and self._is_ready(each)]
        taken = sorted(ready, key=_order)[:limit]
        for parcel in taken:
            parcel.holder = consumer
        return taken

    def _is_ready(self, parcel: Parcel) -> bool:
        if parcel.due is not None or parcel.holder is not None:
            return False
        lane = [each for each in self.parcels.values() if each.lane == parcel.lane is not None]
        return not lane or (min(lane, key=_order) is parcel and all(each.holder is None for each in lane))

    def has(self, consumer: int, seq: int) -> bool:
        return self.lends(consumer) and seq in self.parcels and self.parcels[seq].holder == consumer

    def done(self, consumer: int, seq: int) -> None:
        if self.has(consumer, seq):
            del self.parcels[seq]

    def again(self, consumer: int, seq: int, due: float | None) -> None:
        if self.has(consumer, seq):
            self.parcels[seq].holder = None
            self.parcels[seq].due = due

    def beat(self, consumer: int) -> bool:
        if self.lends(consumer):
            self._until[consumer] = self.now + LEASE_S
            return True
        return False

    def recover(self) -> int:
        over = [consumer for consumer, until in self._until.items() if until <= self.now]
        return sum(self.leave(consumer) for consumer in over)

    def leave(self, consumer: int) -> int:
        """Give back what it holds, and be gone."""
        self._until.pop(consumer, None)
        held = [parcel for parcel in self.parcels.values() if parcel.holder == consumer]
        for parcel in held:
            parcel.holder = None
        return len(held)


def _order(parcel: Parcel) -> tuple[int, int]:
    return -parcel.priority, parcel.seq


@dataclass
class Task:
    """A row of the list of tasks."""

    id: str
    queue: str
    priority: int
    key: str | None
    lane: str | None
    max_attempts: int
    created: float
    due: float
    state: str = "queued"
    attempts: int = 0
    failures: int = 0
    crashes: int = 0
    given_back: int = 0
    previous: str | None = None
    cancel_requested: bool = False
    not_before: float = 0.0


@dataclass
class Run:
    """The run behind a task. `driver`: the attempt whose process has it; `has_failure`: what its effect came to is there, and nothing was
    decided from it; `passing`: whether what it failed by may pass."""

    state: Literal["open", "laid", "failed", "completed", "cancelled"] = "laid"
    driver: Try | None = None
    has_result: bool = False
    has_failure: bool = False
    passing: bool = True
    effects: int = 0


@dataclass
class Lease:
    """A worker's lease by its own clock."""

    since: float
    ended: bool = False


@dataclass(eq=False)
class Try:
    """An attempt. `status`: in an effect, waiting for its lease, or over."""

    hand: Hand
    task: str
    consumer: int
    seq: int
    lease: Lease
    number: int = 0
    takes_over: bool = False
    status: Literal["effect", "parked", "over"] = "over"


@dataclass(eq=False)
class Hand:
    """A worker. `dead`: its process is gone."""

    name: str
    consumer: int
    lease: Lease
    tries: dict[str, Try] = field(default_factory=dict)
    dead: bool = False


class Model:
    """The whole queue.

    Args:
        delay_s: seconds from the failure with a number of a task to the next attempt.
    """

    def __init__(self, delay_s: Callable[[str, int], float]) -> None:
        self.engine = Engine()
        self.tasks: dict[str, Task] = {}
        self.runs: dict[str, Run] = {}
        self.hands: dict[str, Hand] = {}
        self._delay_s = delay_s

    @property
    def now(self) -> float:
        return self.engine.now

    def advance(self, seconds: float) -> None:
        self.engine.now += seconds

    # ---------------------------------------------------------------------------------------------------------------- whoever pushes

    def push(self, task: Task, not_before: float | None) -> None:
        assert task.id not in self.tasks, "a key stands for one task"
        self.tasks[task.id] = task
        self.runs.setdefault(task.id, Run())
        task.not_before = not_before or 0.0
        self.engine.send(task.id, task.queue, task.priority, task.lane, not_before)

    def _resend(self, task: Task) -> None:
        self.engine.send(task.id, task.queue, task.priority, task.lane, None)

    def retry(self, task_id: str) -> None:
        task = self.tasks[task_id]
        assert task.state == "dead"
        task.state, task.previous, task.due = "queued", "revived", self.now
        task.failures = task.crashes = task.given_back = 0
        task.cancel_requested = False
        self._resend(task)

    def discard(self, task_id: str) -> None:
        assert self.tasks.pop(task_id).state == "dead"

    def cancel(self, task_id: str) -> None:
        """Of a task that is queued."""
        task = self.tasks[task_id]
        task.cancel_requested = True
        if task.attempts:
            task.due = self.now
            self._resend(task)
            self.engine.hasten([task_id])
            return
        task.state = "cancelled"
        self.engine.hasten([task_id])
        run = self.runs[task_id]
        if run.state == "laid":
            run.state = "cancelled"

    # --------------------------------------------------------------------------------------------------------------------- workers

    def join(self, name: str) -> None:
        self.hands[name] = Hand(name, self.engine.join(), Lease(self.now))

    def holds(self, lease: Lease) -> bool:
        return not lease.ended and self.now < lease.since + OWN_LEASE_S

    def work(self, name: str, queues: Sequence[str], slots: int) -> None:
        """Take what is free for it, and begin an attempt at each."""
        hand = self.hands[name]
        if not self.holds(hand.lease):
            return
        for parcel in self.engine.take(hand.consumer, queues, slots - len(hand.tries)):
            under_way = hand.tries.get(parcel.task)
            if under_way is not None:
                assert under_way.lease is hand.lease, "what was lost has come to its end"
                self.engine.done(hand.consumer, parcel.seq)
                continue
            attempt = Try(hand, parcel.task, hand.consumer, parcel.seq, hand.lease)
            hand.tries[parcel.task] = attempt
            self._begin(attempt)

    def beat(self, name: str) -> None:
        hand = self.hands[name]
        if self.engine.beat(hand.consumer):
            hand.lease.since = self.now
            for attempt in [each for each in hand.tries.values() if each.status == "parked"]:
                self._drive(attempt, reopen=False)
            return
        lost, hand.lease = hand.lease, Lease(self.now)
        lost.ended = True
        for attempt in list(hand.tries.values()):
            # Its run is left as it is: a worker without a lease writes nothing.
            self._over(attempt)
        self.engine.leave(hand.consumer)
        hand.consumer = self.engine.join()

    def recover(self) -> None:
        self.engine.recover()

    def die(self, name: str) -> None:
        self.hands[name].dead = True

    def drain(self, name: str) -> None:
        """Lay down what is under way, give it back, and be gone."""
        hand = self.hands.pop(name)
        for attempt in list(hand.tries.values()):
            run = self.runs[attempt.task]
            if run.driver is attempt and not self.holds(attempt.lease):
                # A worker without a lease writes nothing.
                self._over(attempt)
            elif run.driver is attempt:
                run.state = "laid"
                self._settle(attempt, "again", counts=False, due=None)
            else:
                self._settle(attempt, "again", counts=False, due=self.now + ELSEWHERE_S)
        self.engine.leave(hand.consumer)

    def effects(self) -> Iterator[Try]:
        """The attempts that are in an effect, also of dead workers."""
        for hand in self.hands.values():
            yield from (attempt for attempt in hand.tries.values() if attempt.status == "effect")

    def finish(self, attempt: Try, how: How) -> None:
        """The effect of an attempt comes to its end."""
        run = self.runs[attempt.task]
        if run.driver is not attempt:
            # Another has taken the run over: the result does not land, and nothing that it says does.
            self._settle(attempt, "again", counts=False, due=self.now + ELSEWHERE_S)
        else:
            run.has_result = how == "ok"
            run.has_failure = how != "ok"
            run.passing = how != "final"
            self._go_on(attempt)

    # -------------------------------------------------------------------------------------------------------------------- an attempt

    def _begin(self, attempt: Try) -> None:
        task = self.tasks.get(attempt.task)
        if task is None or task.state not in ("queued", "running"):
            self.engine.done(attempt.consumer, attempt.seq)
            self._over(attempt)
            return
        crashed = task.state == "running"
        if crashed:
            task.crashes += 1
            task.previous = "cut"
        attempt.takes_over = crashed or task.previous == "revived"
        task.state = "running"
        task.attempts += 1
        attempt.number = task.attempts
        run = self.runs[task.id]
        if task.cancel_requested and run.state != "completed":
            if run.state != "failed":
                run.state = "cancelled"
            run.driver = None
            self._settle(attempt, "cancelled")
        elif task.crashes > MAX_CRASHES and run.state not in ("completed", "failed", "cancelled"):
            self._settle(attempt, "dead")
        else:
            self._drive(attempt, reopen=not crashed)

    def _drive(self, attempt: Try, *, reopen: bool) -> None:
        run = self.runs[attempt.task]
        if run.state == "completed":
            self._settle(attempt, "completed")
        elif run.state == "cancelled":
            self._settle(attempt, "cancelled")
        elif run.state == "failed" and not reopen:
            self._fail(attempt)
        elif (other := run.driver) is not None and other is not attempt and not other.hand.dead and not attempt.takes_over:
            self._settle(attempt, "again", counts=False, due=self.now + ELSEWHERE_S)
        else:
            run.state, run.driver = "open", attempt
            self._go_on(attempt)

    def _go_on(self, attempt: Try) -> None:
        run = self.runs[attempt.task]
        if not self.holds(attempt.lease):
            run.driver = None
            attempt.status = "parked"
        elif run.has_failure:
            # What the effect came to was kept when the lease was over; what follows from it is decided by whoever goes on.
            run.state, run.has_failure = "failed", False
            self._fail(attempt)
        elif run.has_result:
            run.state = "completed"
            self._settle(attempt, "completed")
        else:
            self._begin_effect(attempt)

    def _begin_effect(self, attempt: Try) -> None:
        """The laws of what may start, and when."""
        task, run = self.tasks[attempt.task], self.runs[attempt.task]
        assert self.holds(attempt.lease), "no effect starts without a lease"
        assert self.engine.has(attempt.consumer, attempt.seq), "no effect starts at what the engine has not lent"
        assert self.now >= task.not_before, "never before its time"
        assert task.state == "running" and task.attempts == attempt.number, "no effect of an attempt that is not the task's last"  # noqa: PT018
        assert not run.has_result, "what has a result is not done again"
        for other in self.effects():
            if other.task != attempt.task and task.lane is not None and self.tasks.get(other.task, task).lane == task.lane:
                assert not self.engine.has(other.consumer, other.seq), "one at a time in a lane"
        run.effects += 1
        attempt.status = "effect"

    def _fail(self, attempt: Try) -> None:
        task, run = self.tasks.get(attempt.task), self.runs[attempt.task]
        run.driver = None
        if task is None:
            self._settle(attempt, "again", counts=True, due=None)
        elif not run.passing or task.failures + 1 >= task.max_attempts:
            self._settle(attempt, "dead")
        else:
            self._settle(attempt, "again", counts=True, due=self.now + self._delay_s(task.id, task.failures + 1))

    def _settle(self, attempt: Try, end: str, *, counts: bool = False, due: float | None = None) -> None:
        """What an attempt says of its task, if that is still its own, and then says to the engine."""
        task = self.tasks.get(attempt.task)
        own = task is not None and task.state == "running" and task.attempts == attempt.number
        if own and task is not None:
            if end == "again":
                task.state, task.due = "queued", self.now if due is None else due
                task.previous = "failed" if counts else "given_back"
                task.failures += counts
                task.given_back = 0 if counts else task.given_back + 1
            else:
                task.state = end
                if end == "dead":
                    task.failures += 1
                    task.previous = "failed"
        if own and end == "again":
            self.engine.again(attempt.consumer, attempt.seq, due)
        else:
            self.engine.done(attempt.consumer, attempt.seq)
        self._over(attempt)

    def _over(self, attempt: Try) -> None:
        run = self.runs[attempt.task]
        if run.driver is attempt:
            run.driver = None
        attempt.status = "over"
        attempt.hand.tries.pop(attempt.task, None)
