"""Another caller's task, context and callback look exactly as if they were not there; so does an agent that a caller may not use."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetTaskPushNotificationConfigRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    TaskPushNotificationConfig,
)
from a2a.utils.errors import A2AError, TaskNotFoundError

from afk_es.a2a import A2AServer, ApiKeys, Principal
from afk_es.agents import Agent
from afk_es.llms import LLMRequest
from afk_es.testing import ScriptedModel
from tests.a2a.server.asking import BINDINGS, COMPLETED, URL, Asker, answer_of, asker, asker_at

KEY_OF = {name: f"the-secret-key-of-{name}" for name in ("alice", "bob")}
KEYS = ApiKeys({key: name for name, key in KEY_OF.items()})


def said(request: LLMRequest) -> str:
    return " / ".join(message.content for message in request.messages)


def server_of(log: Path | str = ":memory:", **options: object) -> A2AServer:
    agent = Agent(name="clerk", model=ScriptedModel(said))
    return A2AServer(agent, log=log, authenticator=KEYS, url=URL, push_to_private=True, **options)  # type: ignore[arg-type]


@asynccontextmanager
async def both(server: A2AServer, binding: str = "JSONRPC") -> AsyncIterator[tuple[Asker, Asker]]:
    async with AsyncExitStack() as stack:
        found = [await stack.enter_async_context(asker(server, binding, token=KEY_OF[name])) for name in ("alice", "bob")]
        yield found[0], found[1]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_nothing_tells_another_callers_task_from_one_that_is_not_there(binding: str) -> None:
    async with both(server_of(), binding) as (alice, bob):
        task = await alice.send("hello")
        callback = TaskPushNotificationConfig(task_id=task.id, id="c", url="http://127.0.0.1:1/")
        await alice.client.create_task_push_notification_config(callback)
        for method in ("get", "cancel", "send", "subscribe", "create", "config", "configs", "delete"):
            failures = [await failure(bob, method, task_id) for task_id in (task.id, "a2a-00000000000000000000000000000000")]
            assert failures[0] == failures[1], method
            assert failures[0].startswith("TaskNotFoundError"), method
        assert (await bob.client.list_tasks(ListTasksRequest())).total_size == 0
        assert (await alice.client.list_tasks(ListTasksRequest())).total_size == 1


async def failure(client: Asker, method: str, task_id: str) -> str:
    with pytest.raises(A2AError) as caught:
        await asked(client, method, task_id)
    return f"{type(caught.value).__name__}: {caught.value}"


async def asked(client: Asker, method: str, task_id: str) -> None:
    """Ask something about a task."""
    sdk = client.client
    match method:
        case "get":
            await client.get(task_id)
        case "cancel":
            await sdk.cancel_task(CancelTaskRequest(id=task_id))
        case "send":
            await client.send("hello", "m9", task_id=task_id)
        case "subscribe":
            async for _event in client.subscribe(task_id):
                pass
        case "create":
            await sdk.create_task_push_notification_config(TaskPushNotificationConfig(task_id=task_id, url="http://127.0.0.1:1/"))
        case "config":
            await sdk.get_task_push_notification_config(GetTaskPushNotificationConfigRequest(task_id=task_id, id="c"))
        case "configs":
            await sdk.list_task_push_notification_configs(ListTaskPushNotificationConfigsRequest(task_id=task_id))
        case _:
            await sdk.delete_task_push_notification_config(DeleteTaskPushNotificationConfigRequest(task_id=task_id, id="c"))


async def test_two_callers_may_use_the_same_ids() -> None:
    async with both(server_of()) as (alice, bob):
        tasks = [await client.send(f"I am {name}", context_id="talk") for name, client in (("alice", alice), ("bob", bob))]
        assert tasks[0].id != tasks[1].id
        assert [answer_of(task) for task in tasks] == ["I am alice", "I am bob"]


async def test_another_callers_context_is_a_new_one() -> None:
    async with both(server_of()) as (alice, bob):
        secret = await alice.send("the secret is 7")
        task = await bob.send("what was said?", context_id=secret.context_id)
        # As with any name that bob might have made up.
        assert (task.context_id, answer_of(task)) == (secret.context_id, "what was said?")
        own = await alice.send("and?", "m2", context_id=secret.context_id)
        assert answer_of(own) == "the secret is 7 / the secret is 7 / and?"
        assert (await bob.client.list_tasks(ListTasksRequest(context_id=secret.context_id))).total_size == 1


async def test_the_runs_of_other_doors_and_of_the_operator_are_no_tasks(tmp_path: Path) -> None:
    server = server_of(tmp_path / "runs.db")
    async with both(server) as (alice, _bob):
        for context in (None, {"user_id": "alice"}, {"user_id": "alice", "door": "mcp"}):
            result = await server.runner.run(Agent(name="clerk", model=ScriptedModel(said)), user_message="x", context=context)
            with pytest.raises(TaskNotFoundError):
                await alice.get(result.run_id)
        assert (await alice.client.list_tasks(ListTasksRequest())).total_size == 0


async def test_who_a_run_was_for_is_in_the_log() -> None:
    server = server_of()
    async with both(server) as (alice, _bob):
        task = await alice.send("hello")
        (first,) = await server.runner.log.read(task.id, limit=1)
    assert first.data["context"] | {"a2a": {}} == {"user_id": "alice", "door": "a2a", "a2a": {}}
    assert "the-secret-key-of-alice" not in str(first)


@pytest.mark.parametrize("token", [None, "key-of-eve", ""])
async def test_without_a_good_token_there_is_only_the_card(token: str | None) -> None:
    server = server_of()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL, headers=headers) as http:
        assert (await http.get("/.well-known/agent-card.json")).status_code == 200
        for method, path in (
            ("POST", "/"),
            ("GET", "/tasks"),
            ("POST", "/message:send"),
            ("GET", "/extendedAgentCard"),
            ("GET", "/nothing"),
        ):
            answer = await http.request(method, path, json={})
            assert (answer.status_code, answer.json()) == (401, {"error": "unauthorized"})


async def test_an_agent_that_a_caller_may_not_use_is_not_there() -> None:
    agents = [Agent(name=name, model=ScriptedModel(said)) for name in ("desk", "vault")]

    def may_use(principal: Principal, agent_name: str) -> bool:
        return agent_name == "desk" or principal.name == "alice"

    server = A2AServer(agents, log=":memory:", authenticator=KEYS, may_use=may_use, url=URL)
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        async with asker_at(f"{URL}/vault", http, token="the-secret-key-of-alice") as alice:
            assert (await alice.send("hello")).status.state == COMPLETED
        http.headers["Authorization"] = "Bearer the-secret-key-of-bob"
        answers = [
            await http.request(method, f"/{agent}{path}", json={}, headers={"A2A-Version": "1.0"})
            for agent in ("vault", "nowhere")
            for method, path in (("POST", ""), ("GET", "/tasks"), ("POST", "/message:send"), ("GET", "/extendedAgentCard"))
        ]
        assert {(answer.status_code, answer.text) for answer in answers} == {(404, "Not Found")}
        async with asker_at(f"{URL}/desk", http) as bob:
            assert (await bob.send("hello")).status.state == COMPLETED


async def test_the_agents_of_a_server_have_tasks_of_their_own() -> None:
    agents = [Agent(name=name, model=ScriptedModel([f"I am {name}"])) for name in ("desk", "vault")]
    server = A2AServer(agents, log=":memory:", url=URL)
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        async with asker_at(f"{URL}/desk", http) as desk, asker_at(f"{URL}/vault", http) as vault:
            first = await desk.send("hello")
            second = await vault.send("hello")
            assert [answer_of(first), answer_of(second)] == ["I am desk", "I am vault"]
            with pytest.raises(TaskNotFoundError):
                await vault.get(first.id)
            assert (await vault.client.list_tasks(ListTasksRequest())).total_size == 1
        # The SDK's routes for tenants would answer here for whichever agent came first.
        assert (await http.get("/vault/desk/tasks", headers={"A2A-Version": "1.0"})).status_code == 404
