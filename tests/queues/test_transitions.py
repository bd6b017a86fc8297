"""Law: a change of a task is made from the states that the table names and from no other, and leads to where it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any, get_args

import pytest

from afk_es.queues.items import Progress, TaskState
from afk_es.queues.records import TaskRecords
from afk_es.queues.transitions import TRANSITIONS
from tests.queues.test_records import NOW, a_task

LATER = NOW + dt.timedelta(days=1)

TO: dict[TaskState, list[str]] = {
    "queued": [],
    "running": ["begin"],
    "waiting": ["begin", "wait"],
    "completed": ["begin", "complete"],
    "dead": ["begin", "bury"],
    "cancelled": ["cancel"],
}
"""How a new task comes into each state."""

SAID: dict[str, Callable[[TaskRecords, int], Awaitable[Any]]] = {
    "begin": lambda records, _: records.begin("a", "w", NOW),
    "progress": lambda records, attempt: records.progress("a", attempt, Progress(step=9)),
    "complete": lambda records, attempt: records.complete("a", attempt, "done"),
    "again": lambda records, attempt: records.again("a", attempt, NOW, "no"),
    "bury": lambda records, attempt: records.bury("a", attempt, "no"),
    "wait": lambda records, attempt: records.wait("a", attempt, "a person", 0, until=LATER),
    "end_cancelled": lambda records, attempt: records.end_cancelled("a", attempt),
    "awaken": lambda records, _: records.awaken(LATER),
    "cancel": lambda records, _: records.cancel("a"),
    "revive": lambda records, _: records.revive("a", NOW),
    "discard": lambda records, _: records.discard("a"),
    "purge": lambda records, _: records.purge(LATER),
}


def test_every_change_of_the_table_is_tried() -> None:
    assert SAID.keys() == TRANSITIONS.keys()
    assert TO.keys() == set(get_args(TaskState))


@pytest.mark.parametrize("state", TO)
async def test_a_change_comes_from_where_it_may_and_leads_to_where_it_says(records: TaskRecords, state: TaskState) -> None:
    for verb, transition in TRANSITIONS.items():
        await records.add([a_task()], sent=True)
        for step in TO[state]:
            await SAID[step](records, 1)
        before = await records.get("a")
        assert before is not None
        assert before.state == state
        if transition.fenced:
            assert not await SAID[verb](records, before.attempts + 1), "nobody has that attempt"
            assert not await SAID[verb](records, before.attempts - 1), "it is over"
            assert await records.get("a") == before
        made = await SAID[verb](records, before.attempts)
        after = await records.get("a")
        if state not in transition.of:
            assert after == before, verb
            assert not made or verb == "cancel"
        elif not transition.to:
            assert after is None
        else:
            assert made, verb
            assert after is not None
            assert after.state in transition.to, verb
        await empty(records)


async def empty(records: TaskRecords) -> None:
    """Take the task away, whatever it is."""
    await records.begin("a", "w", NOW)
    await records.cancel("a")
    began = await records.begin("a", "w", NOW)
    if began is not None:
        await records.end_cancelled("a", began.attempt)
    await records.purge(LATER)
    await records.discard("a")
    assert await records.get("a") is None
