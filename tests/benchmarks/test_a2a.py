"""Tasks a second over A2A, beside the SDK's own request handler, which keeps its tasks in memory and has an executor that only answers."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import Part, Task, TaskState, TaskStatus
from starlette.applications import Starlette
from starlette.types import ASGIApp

from afk_es.a2a import A2AServer
from afk_es.agents import Agent
from afk_es.testing import ScriptedModel
from tests.benchmarks.conftest import Table

URL = "http://127.0.0.1"
TASKS = 200


def server_of(log: Path | str) -> A2AServer:
    return A2AServer(Agent(name="clerk", model=ScriptedModel(lambda _request: "done")), log=log, url=URL)


class Answering(AgentExecutor):
    """Answers, and does nothing."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """A task that is done at once."""
        task_id, context_id = context.task_id or "", context.context_id or ""
        await event_queue.enqueue_event(Task(id=task_id, context_id=context_id, status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)))
        updater = TaskUpdater(event_queue, task_id, context_id)
        await updater.start_work()
        await updater.add_artifact([Part(text="done")])
        await updater.complete(new_text_message("done"))

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Nothing here lasts."""


def floor_app() -> ASGIApp:
    handler = DefaultRequestHandler(Answering(), InMemoryTaskStore(), server_of(":memory:").card())
    return Starlette(routes=create_jsonrpc_routes(handler, "/"))


async def per_task(app: ASGIApp, at_once: int) -> float:
    """Seconds a task: requests as JSON, in memory, so many at once."""
    numbers = itertools.count()

    async def send(http: httpx.AsyncClient) -> None:
        number = next(numbers)
        message = {"messageId": f"m{number}", "role": "ROLE_USER", "parts": [{"text": "hello"}]}
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": "SendMessage", "params": {"message": message}}
        answer = (await http.post("/", json=body)).json()
        assert answer["result"]["task"]["status"]["state"] == "TASK_STATE_COMPLETED"

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL, headers={"A2A-Version": "1.0"}) as http:
        await send(http)
        began = time.perf_counter()
        for _ in range(TASKS // at_once):
            await asyncio.gather(*(send(http) for _ in range(at_once)))
        return (time.perf_counter() - began) / TASKS


@pytest.mark.parametrize("at_once", [1, 100])
@pytest.mark.parametrize("place", ["memory", "file"])
def test_tasks_a_second(table: Table, tmp_path: Path, place: str, at_once: int) -> None:
    """A message is taken, worked on and answered: a model call's run, with its log in memory or durable."""
    number = itertools.count()

    async def ours() -> float:
        server = server_of(":memory:" if place == "memory" else tmp_path / f"{next(number)}.db")
        async with server:
            return await per_task(server.http_app(), at_once)

    async def floor() -> float:
        return await per_task(floor_app(), at_once)

    table.compare(
        f"A2A tasks, {at_once} at once, {place}",
        lambda: asyncio.run(ours()),
        lambda: asyncio.run(floor()),
        rate=True,
        floor_is="the SDK's DefaultRequestHandler and InMemoryTaskStore with an executor that only answers, through the same transport",
    )
