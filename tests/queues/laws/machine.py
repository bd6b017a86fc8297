"""Steps of a queue and its workers in any order, each done by the model and by the product; after each the two are compared whole."""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from afk_es.errors import TaskExistsError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.queues.items import TaskItem
from tests.queues.laws.bench import QUEUES, RETRY, SLOTS, Bench
from tests.queues.laws.model import LEASE_S, Hand, How, Model, Task, Try

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
_WORKERS = 3
_TASKS = 12
_ROUNDS = 40
_A_WHILE_S = 1_000.0
"""Longer than any lease and any pause between two attempts."""

KEYS = {"k1": ("a", 101), "k2": ("b", 102)}
"""Per deduplication key the queue and the payload that it is pushed with."""


class QueueMachine(RuleBasedStateMachine):
    """A queue on SQLite, with workers that come, stall, die and go."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        # Dead workers have closed stores: what their runs would still say is told to nobody.
        self.loop.set_exception_handler(lambda loop, context: None)
        self.directory = tempfile.TemporaryDirectory(prefix="afk-laws-", ignore_cleanup_errors=True)
        self.model = Model(lambda task_id, failures: RETRY.delay_s(task_id, failures))
        self.bench = self.new_bench()
        self.workers = 0
        self.pushed = 0
        self.known: set[str] = set()
        self.effects: dict[str, int] = {}

    def new_bench(self) -> Bench:
        path = Path(self.directory.name) / "runs.db"
        return Bench(lambda: SqliteEventLog(path, durability="normal"))

    def do(self, what: Awaitable[Any]) -> Any:
        """Do it, and wait until all that follows from it has."""

        async def done() -> Any:
            result = await what
            await self.bench.settled()
            return result

        return self.loop.run_until_complete(done())

    @initialize()
    def begin(self) -> None:
        self.do(self.bench.open())
        self.join()

    # --------------------------------------------------------------------------------------------------------------- whoever pushes

    @precondition(lambda self: len(self.known) < _TASKS)
    @rule(
        queue=st.sampled_from(QUEUES),
        priority=st.sampled_from([0, 0, 5]),
        delay_s=st.sampled_from([None, None, None, 20.0, 90.0]),
        lane=st.sampled_from([None, None, "l1", "l2"]),
        max_attempts=st.sampled_from([1, 2, 3]),
    )
    def push(self, queue: str, priority: int, delay_s: float | None, lane: str | None, max_attempts: int) -> None:
        self.pushed += 1
        item: TaskItem = self.do(
            self.bench.pusher.push_job(
                "work", {"n": self.pushed}, queue=queue, priority=priority, delay_s=delay_s, lane=lane, max_attempts=max_attempts
            )
        )
        self._push(item, delay_s)

    @precondition(lambda self: len(self.known) < _TASKS)
    @rule(key=st.sampled_from(sorted(KEYS)), delay_s=st.sampled_from([None, 50.0]))
    def push_with_a_key(self, key: str, delay_s: float | None) -> None:
        """The first time it makes a task; then it gives that one, whatever is asked of it."""
        queue, n = KEYS[key]
        item: TaskItem = self.do(self.bench.pusher.push_job("work", {"n": n}, queue=queue, key=key, delay_s=delay_s))
        if item.id in self.model.tasks:
            assert self.model.tasks[item.id].key == key
        else:
            assert not any(task.key == key for task in self.model.tasks.values()), "one key, one task"
            self._push(item, delay_s)

    def _push(self, item: TaskItem, delay_s: float | None) -> None:
        self.known.add(item.id)
        not_before = None if delay_s is None else self.model.now + delay_s
        task = Task(
            item.id,
            item.queue,
            item.priority,
            item.key,
            item.lane,
            item.max_attempts,
            self.model.now,
            self.model.now if not_before is None else not_before,
        )
        self.model.push(task, not_before)

    @precondition(lambda self: any(task.key for task in self.model.tasks.values()))
    @rule(data=st.data())
    def push_something_else_with_a_key(self, data: st.DataObject) -> None:
        task = self._one_of(data, [task for task in self.model.tasks.values() if task.key])
        try:
            self.do(self.bench.pusher.push_job("work", {"n": 999}, queue=task.queue, key=task.key))
        except TaskExistsError:
            return
        raise AssertionError("another payload under the same key was taken")

    @precondition(lambda self: any(task.state == "dead" for task in self.model.tasks.values()))
    @rule(data=st.data(), discards=st.booleans())
    def see_to_a_dead_letter(self, data: st.DataObject, discards: bool) -> None:
        task = self._one_of(data, [task for task in self.model.tasks.values() if task.state == "dead"])
        if discards:
            self.do(self.bench.pusher.discard(task.id))
            self.model.discard(task.id)
        else:
            self.do(self.bench.pusher.retry(task.id))
            self.model.retry(task.id)

    @precondition(lambda self: any(self._may_be_cancelled(task) for task in self.model.tasks.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task = self._one_of(data, [task for task in self.model.tasks.values() if self._may_be_cancelled(task)])
        self.do(self.bench.pusher.cancel(task.id))
        self.model.cancel(task.id)

    def _may_be_cancelled(self, task: Task) -> bool:
        # One whose run has an owner that lives ends when that one hears of it, or is gone, which is the subject of other tests.
        return task.state == "queued" and not task.cancel_requested and self.model.runs[task.id].state != "open"

    # -------------------------------------------------------------------------------------------------------------------- workers

    @precondition(lambda self: len(self._living()) < _WORKERS)
    @rule()
    def join(self) -> None:
        self.workers += 1
        name = f"w{self.workers}"
        self.do(self.bench.join(name))
        self.model.join(name)

    @precondition(lambda self: self._living())
    @rule(data=st.data())
    def work(self, data: st.DataObject) -> None:
        self._work(self._one_of(data, self._living()))

    def _work(self, hand: Hand) -> None:
        self.do(self.bench.hands[hand.name].work())
        self.model.work(hand.name, QUEUES, SLOTS)

    @rule(seconds=st.sampled_from([0.0, 3.0, 31.0]))
    def everybody_is_well(self, seconds: float) -> None:
        """Time passes, and each worker does what workers do."""
        self.time_passes(seconds)
        for hand in self._living():
            self._beat(hand)
        for hand in self._living():
            self._recover(hand)
            self._work(hand)

    @precondition(lambda self: any(not attempt.hand.dead for attempt in self.model.effects()))
    @rule(hows=st.lists(st.sampled_from(["ok", "passing", "passing", "final"]), min_size=1, max_size=6))
    def the_world_answers(self, hows: list[How]) -> None:
        for attempt, how in zip([each for each in self.model.effects() if not each.hand.dead], hows, strict=False):
            self._finish(attempt, how)

    @precondition(lambda self: any(self.model.effects()))
    @rule(data=st.data(), how=st.sampled_from(["ok", "ok", "passing", "passing", "final"]))
    def finish(self, data: st.DataObject, how: How) -> None:
        living = [attempt for attempt in self.model.effects() if not attempt.hand.dead]
        if living:
            self._finish(self._one_of(data, living), how)

    def _finish(self, attempt: Try, how: How) -> None:
        async def finish() -> None:
            self.bench.hands[attempt.hand.name].finish(attempt.task, how)

        self.do(finish())
        self.model.finish(attempt, how)

    @precondition(lambda self: self._living())
    @rule(data=st.data())
    def beat(self, data: st.DataObject) -> None:
        self._beat(self._one_of(data, self._living()))

    def _beat(self, hand: Hand) -> None:
        self.do(self.bench.hands[hand.name].beat())
        self.model.beat(hand.name)

    @precondition(lambda self: self._living())
    @rule(data=st.data())
    def recover(self, data: st.DataObject) -> None:
        self._recover(self._one_of(data, self._living()))

    def _recover(self, hand: Hand) -> None:
        self.do(self.bench.hands[hand.name].recover())
        self.model.recover()

    @precondition(lambda self: self._living())
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        hand = self._one_of(data, self._living())
        self.do(self.bench.hands[hand.name].die())
        self.model.die(hand.name)

    @precondition(lambda self: self._drainable())
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        self._drain(self._one_of(data, self._drainable()))

    def _drain(self, hand: Hand) -> None:
        drained = self.bench.hands.pop(hand.name)
        self.bench.gone.append(drained)
        self.do(drained.drain())
        self.model.drain(hand.name)

    @rule(seconds=st.sampled_from([1.0, 5.0, 26.0, 31.0, 100.0]))
    def time_passes(self, seconds: float) -> None:
        async def advance() -> None:
            self.bench.clock.advance(seconds)

        self.do(advance())
        self.model.advance(seconds)

    # ---------------------------------------------------------------------------------------------------------------- what must hold

    @invariant()
    def both_are_the_same(self) -> None:
        rows = self.loop.run_until_complete(self.bench.rows(sorted(self.known)))
        found = {task_id: _row(item) for task_id, item in rows.items()}
        expected = {task_id: _expected(task) for task_id, task in self.model.tasks.items()}
        differing = [task_id for task_id in {**found, **expected} if found.get(task_id) != expected.get(task_id)]
        assert not differing, "\n".join(f"found {rows.get(each)}\nand not {self.model.tasks.get(each)}" for each in differing)
        for hand in self._living():
            effects = sorted(attempt.task for attempt in hand.tries.values() if attempt.status == "effect")
            assert sorted(self.bench.hands[hand.name].gates.open) == effects, f"the effects of {hand.name}"
            assert sorted(self.bench.hands[hand.name].attempts()) == sorted(hand.tries), f"the attempts of {hand.name}"
        workers = [*self.bench.hands.values(), *self.bench.gone]
        assert not any(hand.gates.unleased for hand in workers), "no effect starts without a lease"
        started = [task_id for hand in workers for task_id in hand.gates.started]
        counts = {task_id: started.count(task_id) for task_id in self.model.runs}
        assert counts == {task_id: run.effects for task_id, run in self.model.runs.items()}, "how often each effect was started"

    def teardown(self) -> None:
        try:
            if self.workers:
                self._calm()
        finally:
            try:
                self.loop.run_until_complete(self.bench.close())
            finally:
                self.loop.run_until_complete(_ended_tasks())
                self.loop.run_until_complete(self.loop.shutdown_asyncgens())
                self.loop.close()
                self.directory.cleanup()

    def _calm(self) -> None:
        """Nothing fails any more, and time passes: every task comes to its end, once, or says why not."""
        if not self._living():
            self.join()
        for _ in range(_ROUNDS):
            self.time_passes(_A_WHILE_S)
            for hand in self._living():
                self._beat(hand)
                self._recover(hand)
                self._work(hand)
                self.both_are_the_same()
                while mine := [attempt for attempt in hand.tries.values() if attempt.status == "effect"]:
                    self._finish(mine[0], "ok")
                    self.both_are_the_same()
            if not self.model.engine.parcels:
                break
        self.loop.run_until_complete(self._ended())

    async def _ended(self) -> None:
        queue = self.bench.pusher
        rows = await self.bench.rows(sorted(self.known))
        assert all(item.ended for item in rows.values()), f"a task without an end: {rows}"
        assert set(rows) == set(self.model.tasks), "no task is lost but those that were discarded"
        for task_id in sorted(self.known):
            events = await queue.log.read(task_id)
            assert not events or await queue.log.verify(task_id) is None
            results = [event for event in events if event.type == "tool_completed" and event.data["success"]]
            assert len(results) <= 1, f"{task_id} was done twice"
            assert sum(event.type == "run_completed" for event in events) <= 1
            item = rows.get(task_id)
            if item is None:
                continue
            if item.state == "completed":
                assert item.result == results[0].data["output"], "what the handler returned"
                assert events[-1].type == "run_completed"
            if item.state == "dead":
                assert item.error, "a dead letter says why"
                assert item.error_type
                why = item.failures >= item.max_attempts or item.crashes > RETRY.max_crashes or item.error_type == "ToolFailed"
                assert why, f"{task_id} is dead before the bound: {item}"

    # ------------------------------------------------------------------------------------------------------------------------- choices

    def _living(self) -> list[Hand]:
        return [hand for hand in self.model.hands.values() if not hand.dead]

    def _drainable(self) -> list[Hand]:
        return [hand for hand in self._living() if not any(attempt.status == "parked" for attempt in hand.tries.values())]

    def _one_of(self, data: st.DataObject, choices: list[Any]) -> Any:
        return choices[data.draw(st.integers(0, len(choices) - 1))]


async def _ended_tasks() -> None:
    """What dead workers left waiting is cancelled, again and again: of a run, what it has begun outlives it for a moment."""
    for _ in range(100):
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if not left:
            return
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=1)


def _row(item: TaskItem) -> dict[str, Any]:
    return {
        "state": item.state,
        "attempts": item.attempts,
        "failures": item.failures,
        "crashes": item.crashes,
        "cancel_requested": item.cancel_requested,
        "due": None if item.not_before is None else (item.not_before - START) / dt.timedelta(seconds=1),
        "queue": item.queue,
        "priority": item.priority,
        "lane": item.lane,
        "key": item.key,
        "has_error": item.error is not None if item.state == "dead" else None,
    }


def _expected(task: Task) -> dict[str, Any]:
    due = round(task.due, 6) if task.due > task.created else None
    return {
        "state": task.state,
        "attempts": task.attempts,
        "failures": task.failures,
        "crashes": task.crashes,
        "cancel_requested": task.cancel_requested,
        "due": due,
        "queue": task.queue,
        "priority": task.priority,
        "lane": task.lane,
        "key": task.key,
        "has_error": True if task.state == "dead" else None,
    }


assert LEASE_S > 0
