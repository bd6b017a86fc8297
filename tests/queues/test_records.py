"""The list of tasks: each change is made from the states that it may come from, by whoever has the present attempt, and by nobody else."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ClashError, ConfigurationError, RunNotFoundError
from afk_es.log import Statement
from afk_es.machine.events import Draft
from afk_es.queues import task_statements as made
from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.presence import WorkerPresence
from afk_es.queues.records import TaskRecords
from afk_es.testing.log_contract import begin
from tests.queues.conftest import TasksLog, tasks_log

NOW = SimulatedClock().now()
SECOND = dt.timedelta(seconds=1)


def a_task(name: str = "a", **changes: Any) -> TaskItem:
    """A task as it is pushed."""
    usual: dict[str, Any] = {"queue": "default", "contract": "runner.chat.v1", "payload": {"user_message": "hi"}, "state": "queued"}
    return TaskItem(**{"id": name, "created_at": NOW, "updated_at": NOW, **usual, **changes})


async def test_what_is_added_is_read_back_whole(records: TaskRecords) -> None:
    pushed = a_task(
        payload={"text": "caf\u00e9 \0 \U0001f40c", "deep": [1, None, {"x": 2.5}]},
        priority=-3,
        key="order-7",
        lane="thread_1",
        not_before=NOW + 30 * SECOND,
        max_attempts=2,
    )
    await records.add([pushed])
    assert await records.get("a") == pushed
    assert await records.get("b") is None


async def test_an_id_is_added_once(records: TaskRecords) -> None:
    await records.add([a_task()])
    with pytest.raises(ClashError):
        await records.add([a_task("b"), a_task()])
    assert [task.id for task in await records.list()] == ["a"]


async def test_it_is_added_with_other_statements_or_not_at_all(records: TaskRecords, database_log: TasksLog) -> None:
    with pytest.raises(ClashError):
        await records.add([a_task()], [records.adding(a_task("b"), sent=True), records.adding(a_task("b"), sent=True)])
    assert await records.list() == ()
    await database_log.transact([records.adding(a_task("b"), sent=True)])
    assert [task.id for task in await records.list()] == ["b"]


async def test_an_attempt_comes_to_its_result(records: TaskRecords, clock: SimulatedClock) -> None:
    await records.add([a_task()])
    clock.advance(1)
    began = await records.begin("a", "w1", clock.now())
    assert began is not None
    assert (began.attempt, began.previous, began.crashed, began.task.state, began.task.worker) == (1, None, False, "running", "w1")
    assert await records.progress("a", 1, Progress(step=2, doing="calls search", done=1, total=4))
    clock.advance(1)
    assert await records.complete("a", 1, {"text": "done", "nul": "\0"})
    task = await records.get("a")
    assert task is not None
    assert (task.state, task.result, task.ended) == ("completed", {"text": "done", "nul": "\0"}, True)
    assert task.progress == Progress(step=2, doing="calls search", done=1, total=4)
    assert task.updated_at == NOW + 2 * SECOND
    assert await records.begin("a", "w2", clock.now()) is None


async def test_a_worker_whose_task_went_to_another_changes_nothing(records: TaskRecords) -> None:
    await records.add([a_task()])
    await records.begin("a", "w1", NOW)
    second = await records.begin("a", "w2", NOW)
    assert second is not None
    assert (second.attempt, second.crashed, second.task.crashes) == (2, True, 1)
    before = await records.get("a")
    assert not await records.progress("a", 1, Progress(step=9))
    assert not await records.complete("a", 1, "late")
    assert not await records.again("a", 1, NOW, "late", "E")
    assert not await records.again("a", 1, NOW, counts=False)
    assert not await records.bury("a", 1, "late")
    assert not await records.wait("a", 1, "late", 5)
    assert not await records.end_cancelled("a", 1)
    assert await records.get("a") == before
    assert await records.complete("a", 2, "in time")


async def test_a_failure_counts_and_what_is_given_back_does_not(records: TaskRecords) -> None:
    await records.add([a_task()])
    await records.begin("a", "w", NOW)
    assert await records.again("a", 1, NOW + 5 * SECOND, "no network", "LLMTimeoutError")
    task = await records.get("a")
    assert task is not None
    assert (task.state, task.failures, task.error, task.error_type) == ("queued", 1, "no network", "LLMTimeoutError")
    assert task.not_before == NOW + 5 * SECOND
    began = await records.begin("a", "w", NOW)
    assert began is not None
    assert began.previous == "failed"
    assert await records.again("a", 2, NOW, counts=False)
    began = await records.begin("a", "w", NOW)
    assert began is not None
    assert (began.previous, began.given_back, began.task.failures, began.task.error) == ("given_back", 1, 1, "no network")


async def test_a_dead_task_is_revived_or_discarded(records: TaskRecords) -> None:
    await records.add([a_task(), a_task("b")], sent=True)
    for name in "ab":
        await records.begin(name, "w", NOW)
        assert await records.bury(name, 1, "bad request", "LLMConfigurationError")
    assert [task.id for task in await records.list(state="dead")] == ["b", "a"]
    revived = await records.revive("a", NOW + SECOND)
    assert revived is not None
    assert (revived.state, revived.failures, revived.crashes) == ("queued", 0, 0)
    assert [task.id for task in await records.unsent(NOW + SECOND)] == ["a"]
    began = await records.begin("a", "w", NOW)
    assert began is not None
    assert began.previous == "revived"
    assert await records.revive("a", NOW) is None
    assert not await records.discard("a")
    assert await records.discard("b")
    assert await records.get("b") is None


async def test_cancelling_is_at_once_before_the_first_attempt_and_asked_for_after(records: TaskRecords) -> None:
    await records.add([a_task(name) for name in "abcd"], sent=True)
    cancelled = await records.cancel("a")
    assert cancelled is not None
    assert cancelled.state == "cancelled"
    assert await records.begin("a", "w", NOW) is None

    await records.begin("b", "w", NOW)
    asked = await records.cancel("b")
    assert asked is not None
    assert (asked.state, asked.cancel_requested) == ("running", True)
    assert await records.again("b", 1, NOW + 60 * SECOND, "no")
    again = await records.cancel("b")
    assert again is not None
    assert (again.state, again.not_before) == ("queued", None)
    began = await records.begin("b", "w", NOW)
    assert began is not None
    assert began.cancel_requested
    assert await records.end_cancelled("b", 2)

    await records.begin("c", "w", NOW)
    await records.wait("c", 1, "a person", 0)
    woken = await records.cancel("c")
    assert woken is not None
    assert woken.state == "queued"
    assert [task.id for task in await records.unsent(NOW + SECOND)] == ["c"]

    await records.begin("d", "w", NOW)
    await records.complete("d", 1, None)
    late = await records.cancel("d")
    assert late is not None
    assert (late.state, late.cancel_requested) == ("completed", False)
    assert await records.cancel("e") is None


async def test_a_task_that_waits_is_awakened_when_its_time_has_come(records: TaskRecords) -> None:
    await records.add([a_task(), a_task("b")], sent=True)
    for name in "ab":
        await records.begin(name, "w", NOW)
    assert await records.wait("a", 1, "a person", 0, until=NOW + 10 * SECOND)
    assert await records.wait("b", 1, "a person", 0)
    assert await records.begin("a", "w", NOW) is None
    assert await records.awaken(NOW + 9 * SECOND) == ()
    (woken,) = await records.awaken(NOW + 10 * SECOND)
    assert (woken.id, woken.state) == ("a", "queued")
    assert [task.id for task in await records.unsent(NOW + 60 * SECOND)] == ["a"]
    await records.mark_sent(["a"])
    assert await records.unsent(NOW + 60 * SECOND) == ()


async def test_lists_are_paged_from_the_newest(records: TaskRecords) -> None:
    names = [f"t{number}" for number in range(9)]
    for number, name in enumerate(names):
        contract = "job.dispatch.v1" if number % 3 else "runner.chat.v1"
        await records.add([a_task(name, queue=f"q{number % 2}", contract=contract)])
    await records.begin("t4", "w", NOW)

    async def ids(**filters: Any) -> list[str]:
        return [task.id for task in await records.list(**filters)]

    assert await ids() == names[::-1]
    assert await ids(limit=2) == ["t8", "t7"]
    assert await ids(limit=2, before="t7") == ["t6", "t5"]
    assert await ids(queue="q0") == ["t8", "t6", "t4", "t2", "t0"]
    assert await ids(queue="q0", state="queued", before="t8") == ["t6", "t2", "t0"]
    assert await ids(queue="q0", limit=2, before="t6") == ["t4", "t2"]
    assert await ids(state="running") == ["t4"]
    assert await ids(contract="runner.chat.v1") == ["t6", "t3", "t0"]
    assert await ids(contract="runner.chat.v1", queue="q0") == ["t6", "t0"]
    assert await ids(queue="elsewhere") == []
    with pytest.raises(RunNotFoundError, match="no task t99"):
        await ids(before="t99")


async def test_stats_count_by_queue_and_state(records: TaskRecords) -> None:
    await records.add([a_task(f"a{number}") for number in range(3)])
    await records.add([a_task("b", queue="other", not_before=NOW + 60 * SECOND)])
    await records.begin("a0", "w", NOW)
    default, other = await records.stats(NOW + 5 * SECOND)
    assert (default.queue, default.queued, default.running, default.oldest_due_s) == ("default", 2, 1, 5.0)
    assert (other.queue, other.queued, other.oldest_due_s) == ("other", 1, None)


async def test_what_ended_long_ago_is_purged_and_the_dead_stay(records: TaskRecords, clock: SimulatedClock) -> None:
    await records.add([a_task(name) for name in "abc"])
    for name in "abc":
        await records.begin(name, "w", NOW)
    await records.complete("a", 1, None)
    await records.bury("b", 1, "no")
    clock.advance(10)
    await records.complete("c", 1, None)
    assert await records.purge(NOW + 10 * SECOND) == 1
    assert [task.id for task in await records.list()] == ["c", "b"]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "x" * 501},
        {"queue": "a\0b"},
        {"key": "half \ud800"},
        {"lane": ""},
        {"payload": {"x": object()}},
        {"payload": {"x": "half \ud800"}},
        {"payload": {"x": "y" * 1_000_000}},
        {"priority": 2**40},
        {"max_attempts": 0},
    ],
)
async def test_a_task_that_cannot_be_kept_is_refused(records: TaskRecords, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        await records.add([a_task(**changes)])


async def test_texts_for_people_are_cut_to_fit(records: TaskRecords) -> None:
    await records.add([a_task()])
    await records.begin("a", "w", NOW)
    assert await records.progress("a", 1, Progress(doing="\ud800" + "y" * 1_000))
    assert await records.again("a", 1, NOW, "\0" + "x" * 10_000)
    task = await records.get("a")
    assert task is not None
    assert len(task.progress.doing) == 300
    assert task.error is not None
    assert len(task.error) == 4_000
    assert task.error.startswith("\N{REPLACEMENT CHARACTER}x")
    assert task.error.endswith("x... (10,001 characters in all)")


async def test_a_result_that_is_too_large_is_left_to_the_log(records: TaskRecords) -> None:
    await records.add([a_task()])
    await records.begin("a", "w", NOW)
    assert await records.complete("a", 1, "x" * 1_000_000)
    task = await records.get("a")
    assert task is not None
    assert (task.state, task.result, task.result_in_log) == ("completed", None, True)


async def test_an_answer_to_its_run_or_to_a_subagents_awakens_it(records: TaskRecords, database_log: TasksLog) -> None:
    answer = Draft("control_requested", {"action": "pause", "reason": "", "origin": "test"})
    for name in ("a", "b", "child", "other"):
        await begin(database_log, name)
    seen = (await database_log.post("a", answer, at=NOW)).position
    await records.add([a_task("a"), a_task("b")], sent=True)
    for name in "ab":
        await records.begin(name, "w", NOW)
    assert await records.wait("a", 1, "a person", seen)
    assert await records.wait("b", 1, "a person", 0, runs={"child": seen})
    await database_log.post("other", answer, at=NOW)
    assert await records.awaken() == ()
    last = (await database_log.post("child", answer, at=NOW)).position
    assert [task.id for task in await records.awaken()] == ["b"]
    assert await records.awaken() == ()
    await database_log.post("a", answer, at=NOW)
    assert [task.id for task in await records.awaken()] == ["a"]
    began = await records.begin("b", "w", NOW)
    assert began is not None
    assert (began.attempt, began.previous) == (2, "waited")
    assert await records.wait("b", 2, "a person", 0, runs={"child": last})
    assert await records.awaken() == ()


async def test_what_a_task_waits_for_is_forgotten_with_it(records: TaskRecords, database_log: TasksLog) -> None:
    async def kept() -> list[tuple[Any, ...]]:
        return await database_log.query(Statement("SELECT task_id, run_id, letter FROM awaited ORDER BY run_id"))

    await records.add([a_task()], sent=True)
    await records.begin("a", "w", NOW)
    await records.wait("a", 1, "a person", 3, runs={"child": 4})
    assert await kept() == [("a", "a", 3), ("a", "child", 4)]
    assert not await records.wait("a", 1, "again", 9)
    assert await kept() == [("a", "a", 3), ("a", "child", 4)]
    await records.cancel("a")
    await records.begin("a", "w", NOW)
    await records.wait("a", 2, "a person", 5)
    assert await kept() == [("a", "a", 5)]
    await records.cancel("a")
    await records.begin("a", "w", NOW)
    await records.end_cancelled("a", 3)
    assert await records.purge(NOW + SECOND) == 1
    assert await kept() == []


async def test_a_revived_task_is_not_to_be_cancelled_any_more(records: TaskRecords) -> None:
    await records.add([a_task()], sent=True)
    await records.begin("a", "w", NOW)
    await records.cancel("a")
    await records.bury("a", 1, "no")
    revived = await records.revive("a", NOW)
    assert revived is not None
    assert not revived.cancel_requested


async def test_of_many_that_begin_at_once_the_last_has_the_task(database_url: str, records: TaskRecords) -> None:
    await records.add([a_task()], sent=True)
    logs = [tasks_log(database_url) for _ in range(4)]
    await asyncio.gather(*(log.open() for log in logs))
    lists = [TaskRecords(log) for log in logs]
    began = await asyncio.gather(*(each.begin("a", f"w{number}", NOW) for number, each in enumerate(lists) for _ in range(5)))
    assert sorted(each.attempt for each in began if each is not None) == list(range(1, 21))
    ended = await asyncio.gather(*(lists[0].complete("a", attempt, attempt) for attempt in range(1, 21)))
    assert ended == [False] * 19 + [True]
    task = await records.get("a")
    assert task is not None
    assert (task.result, task.crashes) == (20, 19)
    await asyncio.gather(*(log.close() for log in logs))


async def test_of_many_that_send_what_is_unsent_each_sends_others(database_url: str, records: TaskRecords) -> None:
    await records.add([a_task(f"t{number}") for number in range(20)])
    logs = [tasks_log(database_url) for _ in range(4)]
    await asyncio.gather(*(log.open() for log in logs))
    lists = [TaskRecords(log) for log in logs]
    given = await asyncio.gather(*(each.unsent(NOW + SECOND, limit=8) for each in lists for _ in range(3)))
    ids = [task.id for tasks in given for task in tasks]
    assert len(ids) == len(set(ids))
    assert await records.unsent(NOW) == ()
    await asyncio.gather(*(log.close() for log in logs))


async def test_of_many_that_are_added_at_once_only_the_one_that_is_there_is_refused(records: TaskRecords) -> None:
    await records.add([a_task("t7")])
    got = await asyncio.gather(*(records.add([a_task(f"t{number}")]) for number in range(20)), return_exceptions=True)
    assert [number for number, each in enumerate(got) if isinstance(each, ClashError)] == [7]
    assert len(await records.list()) == 20


async def test_a_thousand_are_handled_in_one_go(records: TaskRecords) -> None:
    ids = [f"t{number:04}" for number in range(1_100)]
    await records.add([a_task(name) for name in ids])
    assert [task.id for task in await records.unsent(NOW + SECOND)] == ids[:1_000]
    await records.mark_sent(ids)
    assert len(await records.get_all(ids)) == 1_100
    for name in ids[:3]:
        await records.cancel(name)
    assert await records.purge(NOW + SECOND) == 3


async def test_workers_say_that_they_are_there(records: TaskRecords, clock: SimulatedClock) -> None:
    def said(worker: str, seen_s: int, **changes: Any) -> WorkerPresence:
        seen = NOW + seen_s * SECOND
        usual: dict[str, Any] = {"queues": ("default", "mail"), "slots": 10, "busy": 0, "started_at": NOW, "seen_at": seen}
        return WorkerPresence(worker=worker, host="h", pid=7, **{**usual, "alive_until": seen + 30 * SECOND, **changes})

    await records.here(said("a", 0))
    await records.here(said("b", 1))
    latest = said("a", 10, busy=3, draining=True)
    await records.here(latest)
    await records.here(said("a", 5, busy=9))
    assert await records.workers() == (latest, said("b", 1))
    assert latest.alive(NOW + 39 * SECOND)
    assert not latest.alive(NOW + 40 * SECOND)
    await records.gone("b")
    assert await records.workers() == (latest,)
    assert await records.purge(NOW + 41 * SECOND) == 0
    assert await records.workers() == ()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (Statement(made.BEGIN, ("a", "w", 0)), "sqlite_autoindex_tasks_1"),
        (Statement(made.AWAKENED, (0, 9)), "tasks_by_state"),
        (Statement(made.UNSENT, (0, 9)), "tasks_unsent"),
        (Statement(made.ENDED, (0, 9)), "tasks_ended"),
        (Statement(made.OLDEST, ("q",)), "tasks_due"),
        (Statement(made.COUNTS), "COVERING INDEX tasks_by_queue"),
        (made.listing("q", "dead", None, 9, None), "tasks_by_queue"),
        (made.listing("q", None, None, 9, None), "tasks_by_queue"),
        (made.listing(None, "dead", None, 9, "a"), "tasks_by_state"),
        (made.listing(None, None, "c", 9, None), "tasks_by_contract"),
    ],
)
async def test_statements_find_their_rows_by_an_index(
    records: TaskRecords, database_log: TasksLog, statement: Statement, index: str
) -> None:
    plan = [row[3] for row in await database_log.query(Statement(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters))]
    assert any(index in line for line in plan), plan
    assert not [line for line in plan if line.startswith("SCAN") and "USING" not in line and "SCAN page" not in line], plan


async def test_an_attempt_that_did_not_come_to_its_run_leaves_to_the_next_what_it_was_told(
    records: TaskRecords, clock: SimulatedClock
) -> None:
    await records.add([a_task()], sent=True)
    await records.begin("a", "one that was cut", clock.now())
    for attempt, counts in ((2, False), (3, True)):
        began = await records.begin("a", "w", clock.now())
        assert began is not None
        assert (began.crashed, began.takes_over, began.task.crashes) == (True, True, 1)
        await records.again("a", attempt, clock.now(), counts=counts, previous=began.previous)
