"""A task is cancelled whoever works on it, or nobody; a caller's tasks are listed in pages, those that changed last first."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path

import pytest
from a2a.types.a2a_pb2 import CancelTaskRequest, GetTaskRequest, ListTasksRequest, TaskState
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError
from google.protobuf.timestamp_pb2 import Timestamp

from afk_es.a2a import A2AServer
from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.llms import LLMRequest
from afk_es.testing import ScriptedModel
from tests.a2a.server.asking import BINDINGS, CANCELED, COMPLETED, INPUT_REQUIRED, URL, WORKING, Asker, asker
from tests.a2a.server.test_questions import Shop


async def never(_request: LLMRequest) -> str:
    await asyncio.Event().wait()
    return ""


def server_of(model: ScriptedModel, log: Path | str = ":memory:") -> A2AServer:
    return A2AServer(Agent(name="clerk", model=model), log=log, url=URL)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_task_that_is_worked_on_is_cancelled(binding: str) -> None:
    async with asker(server_of(ScriptedModel(never)), binding) as client:
        waiting = asyncio.create_task(client.send("hello", "m0"))
        task = await client.send("hello", immediately=True)
        ended = await client.client.cancel_task(CancelTaskRequest(id=task.id))
        assert ended.status.state == CANCELED
        assert await client.get(task.id) == ended
        for _ in range(2):
            with pytest.raises(TaskNotCancelableError):
                await client.client.cancel_task(CancelTaskRequest(id=task.id))
        # Who waits for another task is not told of this one.
        assert not waiting.done()
        waiting.cancel()


async def test_a_client_that_waits_is_told_that_another_has_cancelled() -> None:
    async with asker(server_of(ScriptedModel(never))) as client:
        waiting = asyncio.create_task(client.send("hello"))
        task = await client.send("hello", immediately=True)
        await client.client.cancel_task(CancelTaskRequest(id=task.id))
        assert (await waiting).status.state == CANCELED


async def test_a_task_that_waits_for_its_client_is_cancelled() -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await client.send("buy tea")
        ended = await client.client.cancel_task(CancelTaskRequest(id=task.id))
    assert (task.status.state, ended.status.state, shop.paid) == (INPUT_REQUIRED, CANCELED, [])


async def test_a_task_that_nobody_works_on_is_cancelled(tmp_path: Path) -> None:
    """Its server was stopped, and the one that is asked does not go on with it: it serves another agent too, and is only just starting."""
    async with asker(server_of(ScriptedModel(never), tmp_path / "runs.db")) as client:
        task = await client.send("hello", immediately=True)
    async with Runner(log=tmp_path / "runs.db") as runner:
        # What the first server left is there to be gone on with.
        assert (await runner.log.read(task.id))[-1].type == "run_interrupted"
    async with asker(server_of(ScriptedModel(never), tmp_path / "runs.db")) as client:
        assert (await client.get(task.id)).status.state == WORKING
        assert (await client.client.cancel_task(CancelTaskRequest(id=task.id))).status.state == CANCELED


async def test_a_task_that_has_ended_is_not_cancelled() -> None:
    async with asker(server_of(ScriptedModel(["done"]))) as client:
        task = await client.send("hello")
        with pytest.raises(TaskNotCancelableError):
            await client.client.cancel_task(CancelTaskRequest(id=task.id))
        assert await client.get(task.id) == task


# ------------------------------------------------------------------------------------------------------------------------------------- list


async def filled(client: Asker, number: int) -> list[str]:
    """So many tasks; their ids, the last first."""
    return [(await client.send(f"number {index}", f"m{index}", context_id=f"c{index % 2}")).id for index in range(number)][::-1]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_tasks_are_listed_in_pages(binding: str) -> None:
    async with asker(server_of(ScriptedModel(lambda _request: "done")), binding) as client:
        ids = await filled(client, 7)
        found: list[str] = []
        token = ""
        for size in (3, 3, 1):
            page = await client.client.list_tasks(ListTasksRequest(page_size=3, page_token=token))
            assert (len(page.tasks), page.total_size) == (size, 7)
            found += [task.id for task in page.tasks]
            token = page.next_page_token
        assert (found, token) == (ids, "")


async def test_tasks_that_are_added_meanwhile_do_not_shift_the_pages() -> None:
    async with asker(server_of(ScriptedModel(lambda _request: "done"))) as client:
        ids = await filled(client, 4)
        page = await client.client.list_tasks(ListTasksRequest(page_size=2))
        await client.send("another", "m-new")
        rest = await client.client.list_tasks(ListTasksRequest(page_size=2, page_token=page.next_page_token))
    assert [task.id for task in [*page.tasks, *rest.tasks]] == ids


@pytest.mark.parametrize("binding", BINDINGS)
async def test_tasks_are_filtered(binding: str) -> None:
    shop = Shop()
    async with asker(shop.server(), binding) as client:
        waiting = await client.send("buy tea", context_id="one")
        done = await client.send("buy tea", "m2", context_id="two")
        done = await client.send("yes", "m3", task_id=done.id)
        cancelled = await client.send("buy tea", "m4", context_id="two")
        await client.client.cancel_task(CancelTaskRequest(id=cancelled.id))

        async def ids(**fields: object) -> list[str]:
            return [task.id for task in (await client.client.list_tasks(ListTasksRequest(**fields))).tasks]  # type: ignore[arg-type]

        assert await ids(status=INPUT_REQUIRED) == [waiting.id]
        assert await ids(status=COMPLETED) == [done.id]
        assert await ids(status=CANCELED) == [cancelled.id]
        assert await ids(status=TaskState.TASK_STATE_FAILED) == []
        assert await ids(context_id="two") == [cancelled.id, done.id]
        assert await ids(context_id="three") == []
        assert await ids(status_timestamp_after=done.status.timestamp) == [cancelled.id, done.id]
        late = Timestamp()
        late.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=1))
        assert await ids(status_timestamp_after=late) == []


async def test_a_list_has_artifacts_and_history_as_far_as_they_are_wanted() -> None:
    async with asker(server_of(ScriptedModel(["done"]))) as client:
        await client.send("hello")
        (bare,) = (await client.client.list_tasks(ListTasksRequest(history_length=0))).tasks
        (whole,) = (await client.client.list_tasks(ListTasksRequest(include_artifacts=True))).tasks
        assert (len(bare.artifacts), len(bare.history)) == (0, 0)
        assert (len(whole.artifacts), len(whole.history)) == (1, 1)
        assert len((await client.client.get_task(GetTaskRequest(id=whole.id, history_length=0))).history) == 0


@pytest.mark.parametrize("fields", [{"page_token": "nonsense"}, {"page_size": 101}, {"history_length": -1}])
async def test_a_list_that_cannot_be_is_refused(fields: dict[str, object]) -> None:
    async with asker(server_of(ScriptedModel(["done"]))) as client:
        with pytest.raises(InvalidParamsError):
            await client.client.list_tasks(ListTasksRequest(**fields))  # type: ignore[arg-type]
