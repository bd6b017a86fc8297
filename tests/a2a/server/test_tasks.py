"""A task is a pure fold of a run's events: total over every prefix of every run, and the same however it is taken in."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from a2a.types.a2a_pb2 import Role, TaskState
from google.protobuf.json_format import MessageToDict

from afk_es.a2a.server.tasks import FINAL, SETTLED, TaskFold, data_part, folded, left
from afk_es.core import Runner
from afk_es.machine import AgentRunEvent
from tests.support.stories import Stories
from tests.views.test_timeline import SAMPLES

STATES = {
    "failing": TaskState.TASK_STATE_FAILED,
    "looping": TaskState.TASK_STATE_FAILED,
    "complete": TaskState.TASK_STATE_COMPLETED,
    "team": TaskState.TASK_STATE_COMPLETED,
    "crashed": TaskState.TASK_STATE_WORKING,
}
"""What recorded runs came to, as tasks."""


async def events_of(stories: Stories, name: str) -> list[AgentRunEvent]:
    async with Runner(log=stories.log) as runner:
        return await runner.log.read(stories.run_ids[name])


@pytest.mark.parametrize("name", STATES)
async def test_every_prefix_of_a_run_is_a_task(stories: Stories, name: str) -> None:
    events = await events_of(stories, name)
    fold = TaskFold()
    for number, event in enumerate(events, start=1):
        fold.take(event)
        task = fold.task()
        assert task == folded(events[:number]).task() == fold.task()
        assert (task.id, task.context_id, task.history[0].role) == (event.run_id, event.thread_id, Role.ROLE_USER)
        assert task.status.timestamp.ToDatetime(dt.UTC) == event.at
        assert (task.status.state in FINAL) == (event.type in ("run_completed", "run_failed", "run_cancelled"))
        assert bool(task.artifacts) == (event.type == "run_completed")
        assert left(events[:number]) == (task.status.state not in SETTLED)
    assert fold.state == STATES[name]


@pytest.mark.parametrize("event_type", SAMPLES)
def test_whatever_an_event_holds_makes_a_task(event_type: str) -> None:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def event(seq: int, kind: str, data: dict[str, Any]) -> AgentRunEvent:
        return AgentRunEvent(kind, "r", "t", seq, at, "running", 1, "", data)

    started = event(1, "run_started", {"agent_name": "a", "resumed": False, "epoch": 1, "owner": "o", "agent": {}})
    for sample in SAMPLES[event_type]:
        task = folded([started, event(2, event_type, sample)]).task()
        assert type(task).FromString(task.SerializeToString()) == task
        MessageToDict(task)


def started_with(**data: Any) -> AgentRunEvent:
    base = {"agent_name": "clerk", "resumed": False, "epoch": 1, "owner": "o", "user_message": "hello"}
    return AgentRunEvent("run_started", "run", "thread", 1, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "running", 0, "", {**base, **data})


@pytest.mark.parametrize("context", [None, {}, {"a2a": 7}, {"a2a": {"message_id": "m1", "context_id": "talk"}}])
def test_a_run_that_no_door_began_is_a_task_as_well(context: Any) -> None:
    task = folded([started_with(context=context)]).task()
    asked = isinstance(context, dict) and isinstance(context.get("a2a"), dict)
    assert (task.history[0].message_id, task.context_id) == (("m1", "talk") if asked else ("run.1", "thread"))
    assert task.status.state == TaskState.TASK_STATE_SUBMITTED


@pytest.mark.parametrize("origin", ["event loop", "a2a server", "handle", "alice"])
def test_who_laid_a_run_down_decides_whether_it_waits_for_its_client(origin: str) -> None:
    def event(seq: int, kind: str, **data: Any) -> AgentRunEvent:
        return AgentRunEvent(kind, "run", "thread", seq, dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "running", 0, "", data)

    events = [
        started_with(),
        event(2, "control_requested", action="interrupt", reason="r", origin=origin),
        event(3, "run_interrupted", reason="r"),
    ]
    by_server = origin in ("event loop", "a2a server")
    assert (left(events), folded(events).laid_down) == (by_server, not by_server)
    assert folded(events).state == (TaskState.TASK_STATE_WORKING if by_server else TaskState.TASK_STATE_INPUT_REQUIRED)
    again = [
        *events,
        event(4, "run_started", agent_name="clerk", resumed=True, epoch=2, owner="o"),
        event(5, "run_interrupted", reason="wall time"),
    ]
    # What laid it down the first time says nothing of the second.
    assert folded(again).laid_down


@pytest.mark.parametrize("value", [None, True, 1.5, "x", [1, {"a": []}], {"big": 2**60}, {"small": -7}])
def test_data_goes_over_without_loss_or_as_text(value: Any) -> None:
    found = MessageToDict(data_part(value))["data"]
    assert found == ({"big": str(2**60)} if value == {"big": 2**60} else value)


def test_a_task_whose_failed_run_is_reopened_is_worked_on_again_and_its_failure_is_told_no_more() -> None:
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    def event(seq: int, kind: str, **data: Any) -> AgentRunEvent:
        return AgentRunEvent(kind, "r", "t", seq, at, "running", 1, "", data)

    started = {"agent_name": "a", "owner": "o"}
    events = [
        event(1, "run_started", resumed=False, epoch=1, agent={}, user_message="Hello", **started),
        event(2, "run_failed", error="away", error_type="LLMRetryableError"),
        event(3, "run_started", resumed=True, reopened=True, epoch=2, **started),
        event(4, "run_completed", state="completed"),
    ]
    states = [folded(events[:number]).state for number in (2, 3, 4)]
    assert states == [TaskState.TASK_STATE_FAILED, TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED]
    assert left(events[:3]), "it is gone on with where its process dies"
    assert not folded(events).task().status.HasField("message")
