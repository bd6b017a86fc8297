"""Clients are called back: at least once for each change, in order, over restarts; only at addresses that may be called, and never in a run's way."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from a2a.types.a2a_pb2 import (
    AuthenticationInfo,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    Task,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import InvalidParamsError, PushNotificationNotSupportedError, TaskNotFoundError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from afk_es.a2a import A2AServer
from afk_es.a2a.server import notifier
from afk_es.a2a.server.notification_book import Callback, NotificationBook
from afk_es.agents import Agent
from afk_es.llms import LLMRequest
from afk_es.serving import HttpServer
from afk_es.testing import ScriptedModel
from tests.a2a.server.asking import BINDINGS, COMPLETED, INPUT_REQUIRED, URL, Asker, asker
from tests.a2a.server.test_questions import Shop


class Listener:
    """A client's own server, which answers as it is told to."""

    def __init__(self) -> None:
        self.calls: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.headers: list[dict[str, str]] = []
        self.answers: list[int] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            body = await request.json()
            status = self.answers.pop(0) if self.answers else 204
            self.headers.append(dict(request.headers))
            self.calls.put_nowait({"path": scope["path"], "status": status, **body})
            await Response(status_code=status, headers={"location": "/elsewhere"} if status == 307 else None)(scope, receive, send)

    async def states(self, last: str) -> list[str]:
        """The states that were told, up to this one."""
        told: list[str] = []
        while not told or told[-1] != last:
            call = await asyncio.wait_for(self.calls.get(), 10)
            if call["status"] < 300:
                told.append(_what(call))
        return told


def _what(call: dict[str, Any]) -> str:
    if "artifactUpdate" in call:
        return f"artifact: {call['artifactUpdate']['artifact']['parts'][0]['text']}"
    return str(call["statusUpdate"]["status"]["state"]).removeprefix("TASK_STATE_")


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Listener, str]]:
    listener = Listener()
    async with HttpServer(listener) as served:
        yield listener, f"{served.url}/hook"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attempts without pauses; a server takes the default when it is made."""
    monkeypatch.setattr(notifier.Notifier.__init__, "__kwdefaults__", {"allow_private": False, "pauses_s": (0.0, 0.0, 0.0)})


def server_of(shop: Shop, log: Path | str = ":memory:") -> A2AServer:
    return A2AServer(shop.agent, log=log, url=URL, push_to_private=True)


async def sent(client: Asker, config: TaskPushNotificationConfig, text: str = "buy tea") -> Task:
    """A message with its callback."""
    message = Message(message_id="m1", role=Role.ROLE_USER, parts=[Part(text=text)])
    request = SendMessageRequest(message=message, configuration=SendMessageConfiguration(task_push_notification_config=config))
    (event,) = [event async for event in client.client.send_message(request)]
    return event.task


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_is_told_every_change_in_order_with_its_token(binding: str) -> None:
    config = {"token": "for-the-hook", "authentication": AuthenticationInfo(scheme="Bearer", credentials="secret")}
    async with listening() as (listener, url), asker(server_of(Shop()), binding) as client:
        task = await sent(client, TaskPushNotificationConfig(url=url, **config))  # type: ignore[arg-type]
        assert task.status.state == INPUT_REQUIRED
        assert await listener.states("INPUT_REQUIRED") == ["WORKING", "INPUT_REQUIRED"]
        await client.send("yes", "m2", task_id=task.id)
        assert (await listener.states("COMPLETED"))[-2:][0].startswith("artifact: so:")
    assert {(call["x-a2a-notification-token"], call["authorization"]) for call in listener.headers} == {("for-the-hook", "Bearer secret")}


async def test_what_was_not_told_is_told_by_the_next_server(tmp_path: Path) -> None:
    shop = Shop()
    async with listening() as (listener, url):
        async with asker(server_of(shop, tmp_path / "runs.db")) as client:
            task = await sent(client, TaskPushNotificationConfig(url=url))
            await listener.states("INPUT_REQUIRED")
        # It ends while no server is there that would tell.
        silent = A2AServer(shop.agent, log=tmp_path / "runs.db", url=URL, push=False)
        async with asker(silent) as client:
            assert (await client.send("yes", "m2", task_id=task.id)).status.state == COMPLETED
        async with server_of(shop, tmp_path / "runs.db"):
            assert (await listener.states("COMPLETED"))[-1] == "COMPLETED"
        async with server_of(shop, tmp_path / "runs.db"):
            # Who was told the end is left alone.
            assert listener.calls.empty()
    file = tmp_path / "runs.db-push.db"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600


async def test_a_notification_that_fails_is_tried_again_and_then_given_up() -> None:
    shop = Shop()
    async with listening() as (listener, url), asker(server_of(shop)) as client:
        listener.answers = [500, 429, 204, 503, 503, 503, 503]
        task = await sent(client, TaskPushNotificationConfig(url=url))
        await client.send("yes", "m2", task_id=task.id)
        told = await listener.states("COMPLETED")
    # The first after two attempts; the second was given up after four, and those behind it were told.
    assert (told[0], "INPUT_REQUIRED" in told, told[-1]) == ("WORKING", False, "COMPLETED")


async def test_a_listener_that_is_gone_or_sends_elsewhere_is_in_nobodys_way() -> None:
    shop = Shop("allow")
    async with listening() as (listener, url), asker(server_of(shop)) as client:
        listener.answers = [307] * 100
        task = await sent(client, TaskPushNotificationConfig(url=url, id="a"))
        assert task.status.state == COMPLETED
        gone = TaskPushNotificationConfig(task_id=task.id, id="b", url="http://127.0.0.1:9/")
        await client.client.create_task_push_notification_config(gone)
        call = await asyncio.wait_for(listener.calls.get(), 10)
        assert (call["path"], call["status"]) == ("/hook", 307)
    while not listener.calls.empty():
        assert listener.calls.get_nowait()["path"] == "/hook"


def kept(log: Path) -> list[tuple[str, str]]:
    """The callbacks that the book of this log holds."""
    with closing(sqlite3.connect(f"{log}-push.db")) as book:
        return book.execute("SELECT task_id, config_id FROM callbacks").fetchall()


async def emptied(log: Path) -> None:
    """The book holds none any more."""
    async with asyncio.timeout(10):
        while kept(log):  # noqa: ASYNC110 - it is a file
            await asyncio.sleep(0.01)


def bytes_of_book(log: Path) -> bytes:
    return Path(f"{log}-push.db").read_bytes()


@pytest.mark.parametrize("answer", [204, 503], ids=["told", "given up"])
async def test_a_callback_that_was_told_the_end_is_forgotten_with_its_secrets(answer: int, tmp_path: Path) -> None:
    """Nobody will call with this token again."""
    log = tmp_path / "runs.db"
    config: dict[str, Any] = {"token": "for-the-hook", "authentication": AuthenticationInfo(scheme="Bearer", credentials="secret")}
    async with listening() as (listener, url):
        async with asker(server_of(Shop(), log)) as client:
            task = await sent(client, TaskPushNotificationConfig(url=url, **config))
            await listener.states("INPUT_REQUIRED")
            assert [task_id for task_id, _config_id in kept(log)] == [task.id]
            assert b"for-the-hook" in bytes_of_book(log)
            listener.answers = [answer] * 100
            await client.send("no", "m2", task_id=task.id)
            await emptied(log)
        assert {listener.calls.get_nowait()["status"] for _ in range(listener.calls.qsize())} == {answer}
    assert b"for-the-hook" not in bytes_of_book(log)


async def test_the_book_forgets_what_it_is_told_of_and_no_other(tmp_path: Path) -> None:
    book = NotificationBook(tmp_path / "book.db")
    await book.open()
    try:
        callbacks = [
            Callback(task_id, config_id, "clerk", TaskPushNotificationConfig(id=config_id, url="http://a.example/"), 1)
            for task_id, config_id in (("t2", "a"), ("t1", "b"), ("t1", "a"))
        ]
        for callback in callbacks:
            await book.put(callback)
        assert [(each.task_id, each.config_id) for each in await book.unfinished(2)] == [("t1", "a"), ("t1", "b")]
        await book.done(callbacks[1])
        replaced = Callback("t1", "a", "clerk", TaskPushNotificationConfig(id="a", url="http://b.example/"), 1)
        await book.put(replaced)
        await book.done(callbacks[2])
        assert await book.unfinished(9) == [replaced, callbacks[0]]
    finally:
        await book.close()


@pytest.mark.parametrize("binding", BINDINGS)
async def test_callbacks_are_kept_listed_and_forgotten(binding: str, tmp_path: Path) -> None:
    shop = Shop()
    async with asker(server_of(shop, tmp_path / "runs.db"), binding) as client:
        task = await client.send("buy tea")
        made = await client.client.create_task_push_notification_config(
            TaskPushNotificationConfig(task_id=task.id, url="http://127.0.0.1:9/", token="t")
        )
        assert made.id == task.id
    async with asker(server_of(shop, tmp_path / "runs.db"), binding) as client:
        sdk = client.client
        assert await sdk.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(task_id=task.id, id=made.id)) == made
        listed = await sdk.list_task_push_notification_configs(ListTaskPushNotificationConfigsRequest(task_id=task.id))
        assert list(listed.configs) == [made]
        for _ in range(2):
            await sdk.delete_task_push_notification_config(DeleteTaskPushNotificationConfigRequest(task_id=task.id, id=made.id))
        with pytest.raises(TaskNotFoundError):
            await sdk.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(task_id=task.id, id=made.id))


async def test_a_task_has_so_many_callbacks_and_no_more() -> None:
    async with asker(server_of(Shop())) as client:
        task = await client.send("buy tea")
        for index in range(notifier.MOST_CALLBACKS):
            config = TaskPushNotificationConfig(task_id=task.id, id=f"c{index}", url="http://127.0.0.1:9/")
            await client.client.create_task_push_notification_config(config)
        with pytest.raises(InvalidParamsError, match="at most 8"):
            await client.client.create_task_push_notification_config(
                TaskPushNotificationConfig(task_id=task.id, id="one more", url="http://127.0.0.1:9/")
            )


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/",
        "http://localhost/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.1.2.3/",
        "http://0x7f000001/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "8.8.8.8",
        "http://",
        "http://8.8.8.8:99999/",
        "http://8.8.8.8/" + "x" * 3000,
        "http://8.8.8.8/\nnot a line of ours",
    ],
)
async def test_an_address_that_is_not_public_is_refused_and_nothing_begins(url: str, tmp_path: Path) -> None:
    server = A2AServer(Shop().agent, log=tmp_path / "runs.db", url=URL)
    async with asker(server) as client:
        with pytest.raises(InvalidParamsError, match="public host"):
            await sent(client, TaskPushNotificationConfig(url=url))
        assert await server.runner.log.runs() == []


async def test_a_name_that_stands_for_another_address_when_it_is_called_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is public when it is looked up, and the connection goes to loopback all the same, as with a name whose answer changes."""
    async with listening() as (listener, url):

        async def public(_url: str) -> bool:
            return True

        monkeypatch.setattr(notifier, "validate_push_notification_url", public)
        server = A2AServer(Shop().agent, log=":memory:", url=URL)
        async with asker(server) as client:
            await sent(client, TaskPushNotificationConfig(url=url))
            assert server._notifier is not None
            await asyncio.wait_for(asyncio.gather(*server._notifier._telling.values()), 10)
        assert listener.calls.empty()


@pytest.mark.parametrize("fields", [{"token": "a\r\nHost: b"}, {"token": "é"}, {"id": "\x00"}, {"token": "x" * 5000}])
async def test_what_cannot_be_a_header_is_refused(fields: dict[str, str]) -> None:
    async with asker(server_of(Shop())) as client:
        with pytest.raises(InvalidParamsError, match="ASCII"):
            await sent(client, TaskPushNotificationConfig(url="http://127.0.0.1:9/", **fields))  # type: ignore[arg-type]


async def test_a_server_that_calls_nobody_back_says_so() -> None:
    server = A2AServer(Agent(name="clerk", model=ScriptedModel(["done"])), log=":memory:", url=URL, push=False)
    assert not server.card().capabilities.push_notifications
    async with asker(server) as client:
        with pytest.raises(PushNotificationNotSupportedError):
            await sent(client, TaskPushNotificationConfig(url="https://example.org/"))
        task = await client.send("hello")
        with pytest.raises(PushNotificationNotSupportedError):
            await client.client.list_task_push_notification_configs(ListTaskPushNotificationConfigsRequest(task_id=task.id))


async def test_a_clients_secrets_are_not_in_the_log(tmp_path: Path) -> None:
    server = server_of(Shop(), tmp_path / "runs.db")
    async with asker(server) as client:
        task = await sent(client, TaskPushNotificationConfig(url="http://127.0.0.1:9/", token="very-secret"))
        events = await server.runner.log.read(task.id)
    assert "very-secret" not in json.dumps([event.data for event in events])
    assert b"very-secret" not in (tmp_path / "runs.db").read_bytes()


async def test_who_answered_elsewhere_is_followed_by_the_news() -> None:
    """An operator approves: the server goes on with the task, and its client is told although it has said nothing."""
    shop = Shop()
    server = server_of(shop)
    async with listening() as (listener, url), asker(server) as client:
        task = await sent(client, TaskPushNotificationConfig(url=url))
        await listener.states("INPUT_REQUIRED")
        await (await server.runner.attach(run_id=task.id, by="operator")).approve()
        assert (await listener.states("COMPLETED"))[-1] == "COMPLETED"


async def test_a_task_that_the_next_server_takes_up_is_told_of(tmp_path: Path) -> None:
    asked, stopped = asyncio.Event(), asyncio.Event()

    async def answer(_request: LLMRequest) -> str:
        if not stopped.is_set():
            asked.set()
            await asyncio.Event().wait()
        return "done"

    agent = Agent(name="clerk", model=ScriptedModel(answer))
    server = A2AServer(agent, log=tmp_path / "runs.db", url=URL, push_to_private=True)
    async with listening() as (listener, url):
        async with asker(server) as client:
            message = Message(message_id="m1", role=Role.ROLE_USER, parts=[Part(text="work")])
            configuration = SendMessageConfiguration(
                task_push_notification_config=TaskPushNotificationConfig(url=url), return_immediately=True
            )
            _ = [event async for event in client.client.send_message(SendMessageRequest(message=message, configuration=configuration))]
            await asyncio.wait_for(asked.wait(), 10)
            await listener.states("WORKING")
            stopped.set()
        async with A2AServer(agent, log=tmp_path / "runs.db", url=URL, push_to_private=True):
            assert (await listener.states("COMPLETED"))[-1] == "COMPLETED"


async def test_a_callback_that_is_replaced_is_called_at_its_new_address_at_once() -> None:
    go_on = asyncio.Event()

    async def answer(_request: LLMRequest) -> str:
        await go_on.wait()
        return "done"

    server = A2AServer(Agent(name="clerk", model=ScriptedModel(answer)), log=":memory:", url=URL, push_to_private=True)
    async with listening() as (before, old), listening() as (after, new), asker(server) as client:
        task = await client.send("work", immediately=True)
        config = TaskPushNotificationConfig(task_id=task.id, id="mine", url=old)
        await client.client.create_task_push_notification_config(config)
        config.url = new
        await client.client.create_task_push_notification_config(config)
        go_on.set()
        assert (await after.states("COMPLETED"))[-1] == "COMPLETED"
        assert all("COMPLETED" not in _what(before.calls.get_nowait()) for _ in range(before.calls.qsize()))


async def test_a_message_that_comes_again_and_again_is_followed_once() -> None:
    go_on = asyncio.Event()

    async def answer(_request: LLMRequest) -> str:
        await go_on.wait()
        return "done"

    server = A2AServer(Agent(name="clerk", model=ScriptedModel(answer)), log=":memory:", url=URL, push_to_private=True)
    async with listening() as (listener, url), asker(server) as client:
        task = await client.send("work", immediately=True)
        await client.client.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task.id, url=url))
        for _ in range(20):
            await client.send("work", immediately=True)
        telling = [each for each in asyncio.all_tasks() if each.get_name() == f"{task.id}:notify"]
        assert len(telling) == 1
        go_on.set()
        assert (await listener.states("COMPLETED"))[-1] == "COMPLETED"


async def test_a_callback_that_is_replaced_while_the_task_waits_is_told_so_at_its_new_address() -> None:
    async with listening() as (before, old), listening() as (after, new), asker(server_of(Shop())) as client:
        task = await sent(client, TaskPushNotificationConfig(url=old, id="mine"))
        await before.states("INPUT_REQUIRED")
        await client.client.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task.id, id="mine", url=new))
        assert await after.states("INPUT_REQUIRED") == ["INPUT_REQUIRED"]
