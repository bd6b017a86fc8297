"""Law: whatever is said of tasks, in whatever order and by whatever stale worker, the list is as the model in `task_model` has it."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afk_es.clock import SimulatedClock
from afk_es.errors import ClashError
from afk_es.log import Statement
from afk_es.machine.events import Draft
from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.records import TaskRecords
from afk_es.testing.log_contract import begin
from tests.queues.conftest import TasksLog, tasks_log
from tests.queues.task_model import TaskModel

TASKS = ("t0", "t1")

name = st.sampled_from(TASKS)
LENGTH = 50
"""Of a story, at most: a task has to come far before what it was matters."""

seconds = st.integers(0, 5)
lag = st.sampled_from([0, 0, 0, 1])
"""How many attempts behind the present one the worker is that says something."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), name, st.booleans(), seconds),
        st.tuples(st.just("begin"), name),
        st.tuples(st.just("begin"), name),
        st.tuples(st.sampled_from(["progress", "complete", "end_cancelled", "bury"]), name, lag),
        st.tuples(st.just("again"), name, lag, seconds, st.booleans(), st.booleans()),
        st.tuples(st.just("wait"), name, lag, name, st.none() | seconds),
        st.tuples(st.just("wait"), name, st.just(0), name, st.none()),
        st.tuples(st.sampled_from(["revive", "discard", "cancel", "mark_sent"]), name),
        st.tuples(st.just("post"), name),
        st.tuples(st.sampled_from(["awaken", "awaken", "unsent", "purge", "pass"]), seconds),
    ),
    min_size=LENGTH // 2,
    max_size=LENGTH,
)


class Comparison:
    """The list of tasks in a log beside the model, step by step."""

    def __init__(self, log: TasksLog) -> None:
        self.log = log
        self.clock = SimulatedClock()
        self.real = TaskRecords(log, clock=self.clock)
        self.model = TaskModel()

    async def follow(self, steps: list[tuple[Any, ...]]) -> None:
        """Do all that to both."""
        await self.log.transact([Statement(f"DELETE FROM {table}") for table in ("tasks", "awaited")])
        for task in TASKS:
            await self._add(task, sent=True, later=0)
        for verb, *arguments in steps:
            self.clock.advance(1)
            await getattr(self, f"_{verb}")(*arguments)
            assert list(await self.real.list()) == [self.model.seen(task) for task in reversed(self.model.rows)]
        now = self.clock.now()
        assert list(await self.real.stats(now)) == self.model.stats(now)
        assert {task.id for task in await self.real.list(queue="q0")} == {task for task in self.model.rows if task == "t0"}

    def _attempt(self, task: str, behind: int) -> int:
        row = self.model.rows.get(task)
        return (1 if row is None else row.item.attempts) - behind

    async def _add(self, task: str, sent: bool, later: int) -> None:
        now = self.clock.now()
        due = now + dt.timedelta(seconds=later) if later else None
        item = TaskItem(
            id=task,
            queue=f"q{task[1]}",
            contract="c",
            payload={"n": later},
            state="queued",
            created_at=now,
            updated_at=now,
            not_before=due,
        )
        try:
            await self.real.add([item], sent=sent)
        except ClashError:
            assert not self.model.add(item, sent=sent)
        else:
            assert self.model.add(item, sent=sent)

    async def _begin(self, task: str) -> None:
        now = self.clock.now()
        assert await self.real.begin(task, "w", now) == self.model.begin(task, "w", now)

    async def _progress(self, task: str, behind: int) -> None:
        attempt, said = self._attempt(task, behind), Progress(step=behind + 1, doing="it")
        assert await self.real.progress(task, attempt, said) == self.model.progress(task, attempt, said, self.clock.now())

    async def _complete(self, task: str, behind: int) -> None:
        attempt = self._attempt(task, behind)
        assert await self.real.complete(task, attempt, {"x": behind}) == self.model.complete(task, attempt, {"x": behind}, self.clock.now())

    async def _end_cancelled(self, task: str, behind: int) -> None:
        attempt = self._attempt(task, behind)
        assert await self.real.end_cancelled(task, attempt) == self.model.end_cancelled(task, attempt, self.clock.now())

    async def _bury(self, task: str, behind: int) -> None:
        attempt = self._attempt(task, behind)
        assert await self.real.bury(task, attempt, "no", "E") == self.model.bury(task, attempt, "no", self.clock.now())

    async def _again(self, task: str, behind: int, later: int, counts: bool, said: bool) -> None:
        attempt, now = self._attempt(task, behind), self.clock.now()
        at, error = now + dt.timedelta(seconds=later), "why" if said else None
        made = await self.real.again(task, attempt, at, error, counts=counts)
        assert made == self.model.again(task, attempt, at, error, now, counts=counts)

    async def _wait(self, task: str, behind: int, other: str, later: int | None) -> None:
        attempt, now = self._attempt(task, behind), self.clock.now()
        until = None if later is None else now + dt.timedelta(seconds=later)
        letter = await self.log.posted()
        made = await self.real.wait(task, attempt, "a person", letter, runs={other: letter}, until=until)
        assert made == self.model.wait(task, attempt, letter, until, now, other)

    async def _revive(self, task: str) -> None:
        now = self.clock.now()
        assert await self.real.revive(task, now) == self.model.revive(task, now, now)

    async def _discard(self, task: str) -> None:
        assert await self.real.discard(task) == self.model.discard(task)

    async def _cancel(self, task: str) -> None:
        assert await self.real.cancel(task) == self.model.cancel(task, self.clock.now())

    async def _mark_sent(self, task: str) -> None:
        await self.real.mark_sent([task])
        self.model.mark_sent(task)

    async def _post(self, task: str) -> None:
        draft = Draft("control_requested", {"action": "pause", "reason": "", "origin": "test"})
        letter = await self.log.post(task, draft, at=self.clock.now())
        self.model.letters.append((letter.position, task))

    async def _awaken(self, _: int) -> None:
        assert [task.id for task in await self.real.awaken()] == self.model.awaken(self.clock.now())

    async def _unsent(self, ago: int) -> None:
        before = self.clock.now() - dt.timedelta(seconds=ago)
        assert [task.id for task in await self.real.unsent(before)] == self.model.unsent(before, self.clock.now())

    async def _purge(self, ago: int) -> None:
        before = self.clock.now() - dt.timedelta(seconds=ago)
        assert await self.real.purge(before) == self.model.purge(before)

    async def _pass(self, time_s: int) -> None:
        self.clock.advance(time_s)


@pytest.fixture
def followed(database_url: str) -> Iterator[tuple[asyncio.Runner, TasksLog]]:
    """An open log with the runs of the tasks, and the event loop that it is open in, for a test that is no coroutine."""
    with asyncio.Runner() as runner:
        log = tasks_log(database_url)

        async def made() -> None:
            await log.open()
            await TaskRecords(log).open()
            for task in TASKS:
                await begin(log, task)

        runner.run(made())
        yield runner, log
        runner.run(log.close())


def test_it_is_as_the_model_says(followed: tuple[asyncio.Runner, TasksLog], database_url: str) -> None:
    runner, log = followed

    @settings(max_examples=int(os.environ.get("AFK_ES_TASK_STORIES", "60")), deadline=None)
    @given(STEPS)
    def law(steps: list[tuple[Any, ...]]) -> None:
        runner.run(Comparison(log).follow(steps))

    law()
