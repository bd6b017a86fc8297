"""The list of tasks: each change is made from the states that it may come from, by whoever has the present attempt, and by nobody else."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from afk_es.clock import SimulatedClock
from afk_es.errors import ClashError, ConfigurationError, RunNotFoundError
from afk_es.log.port import DatabaseLog, Statement
from afk_es.queues.items import Progress, TaskItem
from afk_es.queues.records import TaskRecords

NOW = SimulatedClock().now()
SECOND = dt.timedelta(seconds=1)


def a_task(name: str = "a", **changes: Any) -> TaskItem:
    """A task as it is pushed."""
    made: dict[str, Any] = {"queue": "default", "contract": "runner.chat.v1", "payload": {"user_message": "hi"}, "state": "queued"}
    return TaskItem(**{"id": name, "created_at": NOW, "updated_at": NOW, **made, **changes})


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


async def test_it_is_added_with_other_statements_or_not_at_all(records: TaskRecords, database_log: DatabaseLog) -> None:
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


async def test_statements_find_their_rows_by_an_index(records: TaskRecords, database_log: DatabaseLog) -> None:
    from afk_es.queues import task_statements as made

    for sql in (made.BEGIN, made.PROGRESS, made.AWAKEN, made.PURGE, made.UNSENT, made.OLDEST, made.COUNTS):
        given = {made.BEGIN: 3, made.PROGRESS: 4, made.AWAKEN: 2, made.PURGE: 2, made.UNSENT: 2, made.OLDEST: 1, made.COUNTS: 0}[sql]
        if database_log.dialect == "sqlite":
            (plan,) = await database_log.transact([Statement(f"EXPLAIN QUERY PLAN {sql}", (0,) * given)])
            assert not [row for row in plan if row[3].startswith("SCAN") and "USING" not in row[3]], plan
