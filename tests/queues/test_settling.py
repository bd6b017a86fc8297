"""What becomes of a task after an attempt: the table of `settling`, row by row."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import pytest

from afk_es.queues.items import TaskItem
from afk_es.queues.records import Began
from afk_es.queues.retrying import RetryPolicy
from afk_es.queues.settling import (
    UNKNOWN_FOR_S,
    UNKNOWN_LONGEST_S,
    Cancelled,
    Completed,
    Deadly,
    Dropped,
    Elsewhere,
    Ending,
    Failed,
    LaidDown,
    Refused,
    Unknown,
    Waits,
    deadly,
    settled,
)

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
RETRY = RetryPolicy(base_s=2.0, cap_s=600.0, max_crashes=3)


def began(*, failures: int = 0, crashes: int = 0, given_back: int = 0, max_attempts: int = 3) -> Began:
    task = TaskItem(
        id="t",
        queue="default",
        contract="c",
        payload={},
        state="running",
        created_at=NOW,
        updated_at=NOW,
        failures=failures,
        crashes=crashes,
        max_attempts=max_attempts,
    )
    return Began(task, 1, previous=None, given_back=given_back, cancel_requested=False)


PASSING = Failed("no answer", "LLMTimeoutError", passing=True)
FOR_GOOD = Failed("no such model", "LLMConfigurationError", passing=False)
WAITS = Waits("a person", 7, {"child": 5}, NOW)


@pytest.mark.parametrize(
    ("ending", "found", "task", "engine", "counts"),
    [
        (Completed("done"), began(), "complete", "done", False),
        (Cancelled(), began(), "cancel", "done", False),
        (PASSING, began(), "again", "again", True),
        (PASSING, began(failures=1), "again", "again", True),
        (PASSING, began(failures=2), "bury", "done", False),
        (PASSING, began(failures=7), "bury", "done", False),
        (PASSING, began(max_attempts=1), "bury", "done", False),
        (FOR_GOOD, began(), "bury", "done", False),
        (WAITS, began(), "wait", "done", False),
        (LaidDown("it stops", here=True), began(failures=2), "again", "again", False),
        (LaidDown("by a person", here=False), began(), "bury", "done", False),
        (Elsewhere("a debugger has it"), began(failures=2), "again", "again", False),
        (Unknown("no agent 'a'"), began(), "again", "again", False),
        (Unknown("no agent 'a'"), began(given_back=1_000), "bury", "done", False),
        (Unknown("no agent 'a'"), began(given_back=10**9), "bury", "done", False),
        (Refused("not a payload", "PayloadError"), began(), "bury", "done", False),
        (Deadly(), began(crashes=4), "bury", "done", False),
        (Dropped(), began(), "nothing", "nothing", False),
    ],
)
def test_what_becomes_of_a_task(ending: Ending, found: Began, task: str, engine: str, counts: bool) -> None:
    settlement = settled(ending, found, RETRY)
    assert (settlement.task, settlement.engine, settlement.counts) == (task, engine, counts)


@pytest.mark.parametrize(
    ("ending", "field", "value"),
    [
        (Completed({"n": 1}), "result", {"n": 1}),
        (PASSING, "error", "no answer"),
        (PASSING, "error_type", "LLMTimeoutError"),
        (FOR_GOOD, "error", "no such model"),
        (WAITS, "waits", WAITS),
        (WAITS, "error", "a person"),
        (Refused("not a payload", "PayloadError"), "error_type", "PayloadError"),
        (LaidDown("it stops", here=True), "after_s", 0.0),
        (Elsewhere("a debugger has it"), "after_s", 5.0),
    ],
)
def test_what_is_written_of_it(ending: Ending, field: str, value: Any) -> None:
    assert getattr(settled(ending, began(), RETRY), field) == value


def test_every_ending_has_a_row() -> None:
    rows = test_what_becomes_of_a_task.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {type(row[0]) for row in rows} == set(Ending.__args__)


def test_each_failure_waits_longer_than_the_one_before() -> None:
    waits = [settled(PASSING, began(failures=failures, max_attempts=9), RETRY).after_s for failures in range(8)]
    assert all(later > earlier for earlier, later in pairwise(waits))
    assert 1.0 <= waits[0] <= 2.0


@pytest.mark.parametrize(("asked_s", "waits_s"), [(100.0, 100.0), (0.001, None), (10_000.0, RETRY.cap_s)])
def test_a_provider_that_asks_to_wait_is_left_alone_so_long_up_to_the_longest_wait(asked_s: float, waits_s: float | None) -> None:
    failed = Failed("slow down", "LLMRetryableError", passing=True, retry_after_s=asked_s)
    assert settled(failed, began(), RETRY).after_s == (settled(PASSING, began(), RETRY).after_s if waits_s is None else waits_s)


def test_a_task_that_nobody_knows_is_handed_out_ever_more_rarely_for_an_hour() -> None:
    waits: list[float] = []
    while (settlement := settled(Unknown("no agent 'a'"), began(given_back=len(waits)), RETRY)).task == "again":
        waits.append(settlement.after_s)
    assert waits[:7] == [1, 2, 4, 8, 16, 32, UNKNOWN_LONGEST_S]
    assert max(waits) == UNKNOWN_LONGEST_S
    assert UNKNOWN_FOR_S <= sum(waits) < UNKNOWN_FOR_S + UNKNOWN_LONGEST_S
    assert settlement.error == "no agent 'a'; no worker that took it in 60 minutes knows it"


@pytest.mark.parametrize(("crashes", "is_so"), [(0, False), (3, False), (4, True)])
def test_as_many_workers_may_die_over_a_task_as_the_policy_says(crashes: int, is_so: bool) -> None:
    assert deadly(began(crashes=crashes), RETRY) is is_so
