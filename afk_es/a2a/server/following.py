"""Follows a task while it is worked on, as what a subscriber is told: first the task as it stands, then every change, without a gap between the two.

The model's text comes as chunks of the answer's artifact while it is written. Chunks are not stored: who comes in the middle of a text is told none of it
until the whole is there. A text that turns out not to be the answer is replaced by the next.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from a2a.server.events import Event
from a2a.types.a2a_pb2 import Artifact, Part, Task, TaskArtifactUpdateEvent, TaskState, TaskStatusUpdateEvent

from afk_es.a2a.server.desk import Desk
from afk_es.a2a.server.tasks import ANSWER, SETTLED, TaskFold
from afk_es.core import AttachedRun
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import stored


async def settled(desk: Desk, run: AttachedRun, note: str = "") -> Task:
    """The task, once it has ended or waits for somebody; or as it is where nobody works on it any more."""
    fold = TaskFold()
    async with aclosing(run.events) as events:  # type: ignore[type-var]
        async for event in events:
            fold.take(event)
    return await desk.task(fold, note)


async def updates(desk: Desk, run: AttachedRun, *, begun: bool = False, note: str = "") -> AsyncGenerator[Event, None]:
    """The task as it stands, and its changes until it has ended or waits for somebody.

    Args:
        begun: begin with the task as it was submitted, and not as it stands, since whoever listens has just submitted it.
        note: what is said before a question that stands.
    """
    fold = TaskFold()
    async with aclosing(run.live()) as live:  # type: ignore[type-var]
        fold.take(await anext(live))
        head = await desk.runner.log.head(run.run_id)
        while head is not None and fold.seq < head.seq and not begun:
            event = await anext(live)
            if stored(event.type):
                fold.take(event)
        teller = _Teller(fold)
        yield await desk.task(fold, note)
        if fold.state in SETTLED:
            # It may have been gone on with since the head was read; whoever asks again is told.
            return
        async for event in live:
            if stored(event.type):
                fold.take(event)
                for update in await teller.changes(desk, fold):
                    yield update
            elif chunk := teller.chunk(fold, event):
                yield chunk


async def changes(desk: Desk, run: AttachedRun, after: int) -> AsyncGenerator[tuple[int, Event], None]:
    """What the events behind this seq change, each change with the seq that brought it, until the task has ended or waits for somebody."""
    fold = TaskFold()
    teller = _Teller(fold)
    async with aclosing(run.events) as events:  # type: ignore[type-var]
        async for event in events:
            fold.take(event)
            if event.seq <= after:
                teller.pass_over(fold)
                continue
            for update in await teller.changes(desk, fold):
                yield event.seq, update


class _Teller:
    """Knows what a subscriber was told, and so what is new."""

    def __init__(self, fold: TaskFold) -> None:
        self._chunked = (0, 0)
        self.pass_over(fold)

    def pass_over(self, fold: TaskFold) -> None:
        """The subscriber knows how the task stands."""
        self._told = (fold.state, fold.said_id)

    def chunk(self, fold: TaskFold, event: AgentRunEvent) -> TaskArtifactUpdateEvent | None:
        """A piece of text as a piece of the artifact, if its call goes on and all of its text before it was told."""
        if event.type != "text_delta" or event.seq != fold.open_call:
            return None
        delta, offset = event.data["delta"], event.data["offset"]
        if offset and self._chunked != (event.seq, offset):
            return None
        self._chunked = (event.seq, offset + len(delta))
        artifact = Artifact(artifact_id=ANSWER, name=ANSWER, parts=[Part(text=delta)])
        return TaskArtifactUpdateEvent(task_id=fold.run_id, context_id=fold.context_id, artifact=artifact, append=offset > 0)

    async def changes(self, desk: Desk, fold: TaskFold) -> list[Event]:
        """What the event that the fold has just taken has changed."""
        if (fold.state, fold.said_id) == self._told:
            return []
        self.pass_over(fold)
        found: list[Event] = []
        if fold.state == TaskState.TASK_STATE_COMPLETED:
            found += [
                TaskArtifactUpdateEvent(task_id=fold.run_id, context_id=fold.context_id, artifact=artifact, last_chunk=True)
                for artifact in fold.artifacts()
            ]
        status = TaskStatusUpdateEvent(task_id=fold.run_id, context_id=fold.context_id, status=fold.status(await desk.pending(fold)))
        if fold.state in SETTLED:
            status.metadata.update(fold.metadata())
        return [*found, status]
