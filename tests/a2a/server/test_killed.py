"""A server is killed with SIGKILL in the middle of a task, and another goes on: the same task, and nothing that took effect happens again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client.errors import A2AClientError
from a2a.types.a2a_pb2 import ListTasksRequest, Task
from a2a.utils.errors import UnsupportedOperationError

from afk_es.a2a.server.tasks import SETTLED
from tests.a2a.server.asking import COMPLETED, INPUT_REQUIRED, Asker, answer_of, asker_at
from tests.a2a.server.serving import Job, Served, process
from tests.crash.journal import Journal


@asynccontextmanager
async def client_of(served: Served) -> AsyncIterator[Asker]:
    async with httpx.AsyncClient(timeout=30) as http, asker_at(await served.says(), http) as client:
        yield client


async def cut(client: Asker, served: Served, place: str, text: str, message_id: str, **fields: Any) -> None:
    """Send a message, and kill the server where it has come to a place."""
    sending = asyncio.create_task(client.send(text, message_id, **fields))
    assert await served.says() == place
    served.kill()
    with pytest.raises(A2AClientError):
        await sending


async def settled(client: Asker, task_id: str) -> Task:
    """The task once it has ended or waits, as somebody sees it who only looks."""
    async with asyncio.timeout(20):
        while (task := await client.get(task_id)).status.state not in SETTLED:
            # It may end between the two requests.
            with suppress(UnsupportedOperationError):
                async for _event in client.subscribe(task_id):
                    pass
    return task


def paid(directory: Path) -> list[str]:
    return [line["item"] for line in Journal(directory / "journal.jsonl").lines()]


@pytest.mark.parametrize(
    ("place", "times"), [("first answer", 1), ("before pay", 0), ("after pay", 1), ("last answer", 1)], ids=lambda value: str(value)
)
async def test_a_message_that_comes_again_to_the_next_server_finishes_the_task(place: str, times: int, tmp_path: Path) -> None:
    with process(Job(tmp_path, stop=place)) as first:
        async with client_of(first) as client:
            await cut(client, first, place, "buy tea", "m1")
    with process(Job(tmp_path)) as second:
        async with client_of(second) as client:
            task = await client.send("buy tea")
            again = await client.send("buy tea")
    assert (task.status.state, again) == (COMPLETED, task)
    # What may have taken effect is not done again, and the model is told that it may have.
    assert len(paid(tmp_path)) == times


async def test_what_a_killed_server_left_goes_on_by_itself(tmp_path: Path) -> None:
    with process(Job(tmp_path, stop="last answer")) as first:
        async with client_of(first) as client:
            await cut(client, first, "last answer", "buy tea", "m1")
    with process(Job(tmp_path)) as second:
        async with client_of(second) as client:
            (task,) = (await client.client.list_tasks(ListTasksRequest())).tasks
            done = await settled(client, task.id)
            assert done.status.state == COMPLETED
            assert "paid tea" in answer_of(done)
    assert paid(tmp_path) == ["tea"]


async def test_an_answer_that_was_cut_counts_once(tmp_path: Path) -> None:
    """The server dies with the yes taken in and the payment made; the client, which knows nothing of that, says yes again."""
    with process(Job(tmp_path, stop="last answer", asks=True)) as first:
        async with client_of(first) as client:
            task = await client.send("buy tea")
            assert task.status.state == INPUT_REQUIRED
            await cut(client, first, "last answer", "yes", "m2", task_id=task.id)
    with process(Job(tmp_path, asks=True)) as second:
        async with client_of(second) as client:
            done = await client.send("yes", "m2", task_id=task.id)
            assert done.status.state == COMPLETED
    assert paid(tmp_path) == ["tea"]


async def test_a_task_waits_over_the_death_of_its_server(tmp_path: Path) -> None:
    with process(Job(tmp_path, asks=True)) as first:
        async with client_of(first) as client:
            task = await client.send("buy tea")
            first.kill()
    with process(Job(tmp_path, asks=True)) as second:
        async with client_of(second) as client:
            assert await client.get(task.id) == task
            done = await client.send("yes", "m2", task_id=task.id)
            assert (done.status.state, paid(tmp_path)) == (COMPLETED, ["tea"])


async def test_two_servers_on_one_log_do_a_message_once(tmp_path: Path) -> None:
    with process(Job(tmp_path)) as first, process(Job(tmp_path)) as second:
        async with client_of(first) as one, client_of(second) as other:
            tasks = await asyncio.gather(*(client.send("buy tea") for client in (one, other) * 4))
    assert {(task.id, task.status.state) for task in tasks} == {(tasks[0].id, COMPLETED)}
    assert paid(tmp_path) == ["tea"]


async def test_a_server_that_is_stopped_in_order_lays_its_tasks_down_for_the_next(tmp_path: Path) -> None:
    with process(Job(tmp_path, asks=True)) as first:
        async with client_of(first) as client:
            task = await client.send("buy tea")
        assert first.stop() == 0
    with process(Job(tmp_path, asks=True)) as second:
        async with client_of(second) as client:
            assert (await client.get(task.id)).status.state == INPUT_REQUIRED
