"""Whoever may not see something at a door cannot tell it from what is not there: MCP and A2A over HTTP, on loopback.

Answers are compared whole: the status, the headers save the date, and the body, in which only the ids that the client itself has sent are left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest

from afk_es.a2a import A2AServer
from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log import EventLog
from afk_es.log.memory import MemoryEventLog
from afk_es.mcp import IDEMPOTENCY_KEY, MCPServer
from afk_es.serving import ApiKeys, JWTs, Limited, run_id_of, served_context
from afk_es.serving import Principal as Caller
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.serving.test_jwts import LONG_S, NOW

ALICE, BOB, CAROL = "alice-0123456789abcdef", "bob-0123456789abcdef", "carol-0123456789abcdef"
KEYS = ApiKeys({ALICE: "alice", BOB: "bob", CAROL: "carol"})
SECRET = "a secret that is shared with the issuer alone"
TOKENS = JWTs(key=SECRET, algorithms=("HS256",), audience="doors", issuer="https://issuer.example")
CLAIMS: dict[str, Any] = {"sub": "alice", "aud": "doors", "iss": "https://issuer.example", "exp": NOW + LONG_S}

Answer = tuple[int, tuple[tuple[str, str], ...], str]


def token(key: str = SECRET, **claims: Any) -> str:
    return jwt.encode(CLAIMS | claims, key, algorithm="HS256")


def answered(response: httpx.Response, **sent: str) -> Answer:
    """All that a client can see, with names in the place of what it has sent."""
    text = response.text
    for name, value in sent.items():
        text = text.replace(value, f"<{name}>")
    headers = [(name, value) for name, value in response.headers.multi_items() if name not in ("date", "content-length")]
    return response.status_code, tuple(headers), text


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


# ------------------------------------------------------------------------------------------------------------------------------------ the doors


def clerk(name: str = "clerk") -> Agent:
    """Delegates what it is asked, so that its tasks have subagents' runs as well."""

    def desk(request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "user":
            return LLMResponse(tool_calls=(ToolCall("c1", "transfer_to_helper", {"task": "help"}),))
        return LLMResponse(text="done")

    return Agent(name=name, model=ScriptedModel(desk), subagents=[Agent(name="helper", model=ScriptedModel(lambda request: "helped"))])


@tool
def order(item: str) -> str:
    """Order something."""
    return f"ordered {item}"


@asynccontextmanager
async def a2a(log: EventLog, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    given: dict[str, Any] = {"agents": clerk(), "authenticator": KEYS, "push_to_private": True, "runner": Runner(log=log)}
    server = A2AServer(**given | options)
    async with server.serve() as served, httpx.AsyncClient(base_url=served.url, headers={"A2A-Version": "1.0"}, timeout=60) as client:
        yield client


@asynccontextmanager
async def mcp(log: EventLog, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    given: dict[str, Any] = {"tools": [order], "authenticator": KEYS, "log": log}
    server = MCPServer(**given | options)
    async with (
        server.http_server() as served,
        httpx.AsyncClient(base_url=served.url, headers={"Accept": "application/json, text/event-stream"}, timeout=60) as client,
    ):
        yield client


DOORS: dict[str, Callable[..., Any]] = {"a2a": a2a, "mcp": mcp}


@pytest.fixture
def log() -> MemoryEventLog:
    return MemoryEventLog()


# --------------------------------------------------------------------------------------------------------------------------------- who is let in

REFUSED: dict[str, dict[str, str]] = {
    "no token": {},
    "another scheme": {"Authorization": "Basic YWxpY2U6eA=="},
    "no JWT": bearer(ALICE),
    "another's signature": bearer(token("another secret, that is as long as it has to be")),
    "another audience": bearer(token(aud="windows")),
    "another issuer": bearer(token(iss="https://evil.example")),
    "expired": bearer(token(exp=NOW - 60)),
    "not yet valid": bearer(token(nbf=NOW + LONG_S)),
    "no algorithm": bearer(jwt.encode(CLAIMS, "", algorithm="none")),
    "nobody": bearer(token(sub="")),
    "twice": bearer(token()) | {"X-API-Key": token()},
}

PLACES = {
    "a2a": [
        ("GET", "/tasks/x"),
        ("GET", "/tasks"),
        ("POST", "/"),
        ("POST", "/message:send"),
        ("GET", "/extendedAgentCard"),
        ("GET", "/absent"),
    ],
    "mcp": [("POST", "/mcp"), ("GET", "/mcp"), ("DELETE", "/mcp"), ("POST", "/absent")],
}


@pytest.mark.parametrize("door", DOORS)
async def test_who_is_not_let_in_is_told_the_same_whatever_is_wrong_and_wherever(
    door: str, log: MemoryEventLog, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with DOORS[door](log, authenticator=TOKENS) as client:
        caplog.clear()
        answers = {
            answered(await client.request(method, path, headers=headers, json={"jsonrpc": "2.0", "id": 1, "method": "ping"}))
            for method, path in PLACES[door]
            for headers in REFUSED.values()
        }
        (only,) = answers
        assert (only[0], only[2]) == (401, '{"error": "unauthorized"}')
        right = [await client.request(*place, headers=bearer(token())) for place in PLACES[door]]
        assert all(response.status_code != 401 for response in right)
    assert await log.runs() == []
    told = "\n".join(logging.Formatter().format(each) for each in caplog.records)
    for headers in (*REFUSED.values(), bearer(token())):
        for value in headers.values():
            assert value.split()[-1] not in told


# ------------------------------------------------------------------------------------------------------------------------------ what is another's


async def said(client: httpx.AsyncClient, key: str, text: str, message_id: str, **message: str) -> dict[str, Any]:
    """The task that a message began."""
    body = {"message": {"messageId": message_id, "role": "ROLE_USER", "parts": [{"text": text}], **message}}
    response = await client.post("/message:send", json=body, headers=bearer(key))
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["task"]
    return found


CONFIG = {"id": "c1", "url": "http://127.0.0.1:9/"}


def rest(task_id: str) -> list[tuple[str, str, Any]]:
    """Everything that can be asked about a task over REST."""
    configs = f"/tasks/{task_id}/pushNotificationConfigs"
    message = {"messageId": "m9", "role": "ROLE_USER", "parts": [{"text": "yes"}], "taskId": task_id}
    return [
        ("GET", f"/tasks/{task_id}", None),
        ("GET", f"/tasks/{task_id}?historyLength=1", None),
        ("POST", f"/tasks/{task_id}:cancel", {}),
        ("GET", f"/tasks/{task_id}:subscribe", None),
        ("POST", f"/tasks/{task_id}:subscribe", {}),
        ("POST", "/message:send", {"message": message}),
        ("POST", "/message:stream", {"message": message}),
        ("POST", configs, CONFIG),
        ("GET", configs, None),
        ("GET", f"{configs}/c1", None),
        ("DELETE", f"{configs}/c1", None),
    ]


def rpc(task_id: str) -> list[tuple[str, str, Any]]:
    """The same as JSON-RPC."""
    message = {"messageId": "m9", "role": "ROLE_USER", "parts": [{"text": "yes"}], "taskId": task_id}
    asked = {
        "GetTask": {"id": task_id},
        "CancelTask": {"id": task_id},
        "SubscribeToTask": {"id": task_id},
        "SendMessage": {"message": message},
        "SendStreamingMessage": {"message": message},
        "CreateTaskPushNotificationConfig": {"taskId": task_id, **CONFIG},
        "ListTaskPushNotificationConfigs": {"taskId": task_id},
        "GetTaskPushNotificationConfig": {"taskId": task_id, "id": "c1"},
        "DeleteTaskPushNotificationConfig": {"taskId": task_id, "id": "c1"},
    }
    return [("POST", "/", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) for method, params in asked.items()]


async def all_answers(client: httpx.AsyncClient, key: str, task_id: str) -> list[Answer]:
    found = []
    for method, path, body in [*rest(task_id), *rpc(task_id)]:
        response = await client.request(method, path, json=body, headers=bearer(key))
        found.append(answered(response, task=task_id))
    return found


async def recorded(log: EventLog) -> dict[str, int]:
    """How long each run is."""
    return {record.run_id: record.seq for record in await log.runs()}


async def test_a_task_of_anothers_is_not_there(log: MemoryEventLog) -> None:
    """Nor are runs of another door, of the command line, of subagents, or of another agent."""
    async with a2a(log) as client:
        alices = (await said(client, ALICE, "hello", "m1"))["id"]
        await client.post(f"/tasks/{alices}/pushNotificationConfigs", json=CONFIG, headers=bearer(ALICE))
        runner = Runner(log=log)
        other_door = await runner.run(clerk(), user_message="x", context=served_context("mcp", Caller("bob")))
        no_door = await runner.run(clerk(), user_message="x", context={"user_id": "bob"})
        other_agent = await runner.run(clerk("cook"), user_message="x", context=served_context("a2a", Caller("bob")))
        subagents = [record.run_id for record in await log.runs() if record.parent_run_id is not None]
        assert len(subagents) == 4
        before = await recorded(log)
        absent = await all_answers(client, BOB, run_id_of("a2a", "bob", "nothing"))
        assert [status for status, _headers, _text in absent] == [404] * 11 + [200] * 9
        assert all("<task>" in text or "not found" in text.lower() for _status, _headers, text in absent)
        for task_id in (alices, other_door.run_id, no_door.run_id, other_agent.run_id, *subagents):
            assert await all_answers(client, BOB, task_id) == absent
        assert await recorded(log) == before
        kept = (await client.get(f"/tasks/{alices}/pushNotificationConfigs", headers=bearer(ALICE))).json()["configs"]
        assert [config["id"] for config in kept] == ["c1"]
        assert (await client.get(f"/tasks/{alices}", headers=bearer(ALICE))).json()["id"] == alices


@pytest.mark.parametrize("key", ["id", "context", "page"])
async def test_what_another_has_named_is_free_to_be_named(key: str, log: MemoryEventLog) -> None:
    """A message id, a context or a page of another's tells nothing: it is as if nobody had ever used it."""
    async with a2a(log) as client:
        alices = await said(client, ALICE, "hello", "m1")
        await said(client, ALICE, "again", "m2", contextId=alices["contextId"])
        used = {"id": "m1", "context": alices["contextId"]}.get(key)
        if used is None:
            page = (await client.get("/tasks?pageSize=1", headers=bearer(ALICE))).json()["nextPageToken"]
            listed = [await client.get(f"/tasks?pageToken={page}", headers=bearer(whose)) for whose in (BOB, CAROL)]
            assert {response.json()["totalSize"] for response in listed} == {0}
            assert answered(listed[0]) == answered(listed[1])
            return
        fresh = "never used by anybody".replace(" ", "-")
        taken = []
        for whose, name in ((BOB, used), (CAROL, fresh)):
            named = {"message_id": name} if key == "id" else {"message_id": "m7", "contextId": name}
            task = await said(client, whose, "hello", **named)
            assert task["id"] != alices["id"]
            assert [each["id"] for each in (await client.get("/tasks", headers=bearer(whose))).json()["tasks"]] == [task["id"]]
            taken.append(shape(task, id=task["id"], context=task["contextId"], name=name))
        assert taken[0] == taken[1]


def shape(task: Mapping[str, Any], **ids: str) -> str:
    """A task without its ids and times."""
    text = json.dumps({name: value for name, value in task.items() if name != "status"})
    for name, value in ids.items():
        text = text.replace(value, f"<{name}>")
    return text


async def test_a_list_has_what_is_ones_own_and_counts_nothing_else(log: MemoryEventLog) -> None:
    async with a2a(log) as client:
        empty = answered(await client.get("/tasks", headers=bearer(BOB)))
        context = (await said(client, ALICE, "hello", "m1"))["contextId"]
        for asked in ("/tasks", f"/tasks?contextId={context}", "/tasks?status=TASK_STATE_COMPLETED"):
            assert answered(await client.get(asked, headers=bearer(BOB))) == empty


async def test_an_agent_that_one_may_not_use_is_not_there(log: MemoryEventLog) -> None:
    def may_use(caller: Caller, name: str) -> bool:
        return caller.name == "alice" or name == "clerk"

    async with a2a(log, agents=[clerk(), clerk("cook")], may_use=may_use) as client:
        message = {"message": {"messageId": "m1", "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
        asked = [
            ("POST", "", {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": message}),
            ("POST", "/message:send", message),
            ("GET", "/tasks", None),
            ("GET", "/tasks/x", None),
            ("GET", "/extendedAgentCard", None),
        ]
        for method, path, body in asked:
            there, absent = [
                answered(await client.request(method, f"/{name}{path}", json=body, headers=bearer(BOB))) for name in ("cook", "nobody")
            ]
            assert there == absent
            assert there[0] == 404
        assert (await client.post("/cook/message:send", json=message, headers=bearer(ALICE))).status_code == 200
        assert (await client.post("/clerk/message:send", json=message, headers=bearer(BOB))).status_code == 200
        assert len([record for record in await log.runs() if record.parent_run_id is None]) == 2


# ------------------------------------------------------------------------------------------------------------------------------------------- MCP

MODERN = "2026-07-28"


async def called(client: httpx.AsyncClient, key: str, item: str, meta: dict[str, Any] | None = None, **params: Any) -> httpx.Response:
    """A call of `order`, by the stateless protocol."""
    envelope = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "order", "arguments": {"item": item}, "_meta": {**envelope, **(meta or {})}, **params},
    }
    headers = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "order"}
    return await client.post("/mcp", json=body, headers=bearer(key) | headers)


async def test_a_key_of_anothers_call_names_a_call_of_ones_own(log: MemoryEventLog) -> None:
    async with mcp(log) as client:
        alices = (await called(client, ALICE, "tea", {IDEMPOTENCY_KEY: "k1"})).json()["result"]
        again = (await called(client, ALICE, "tea", {IDEMPOTENCY_KEY: "k1"})).json()["result"]
        assert alices == again
        assert len(await log.runs()) == 1
        ran = {json.dumps(alices["_meta"])}
        answers = set()
        for whose, key, item in ((BOB, "k1", "tea"), (CAROL, "never used", "tea")):
            response = await called(client, whose, item, {IDEMPOTENCY_KEY: key})
            own = response.json()["result"]["_meta"]
            ran.add(json.dumps(own))
            answers.add(answered(response, run=own["afk_es/run_id"]))
        assert len(answers) == 1
        assert len(ran) == len(await log.runs()) == 3
        # Nor does one learn that a key stands for something else.
        assert (await called(client, BOB, "coffee", {IDEMPOTENCY_KEY: "k2"})).status_code == 200
        assert "error" in (await called(client, BOB, "milk", {IDEMPOTENCY_KEY: "k2"})).json()
        assert "error" not in (await called(client, ALICE, "milk", {IDEMPOTENCY_KEY: "k2"})).json()


async def test_a_state_of_anothers_call_goes_on_with_nothing_of_theirs(log: MemoryEventLog) -> None:
    async with mcp(log) as client:
        await called(client, ALICE, "tea", {IDEMPOTENCY_KEY: "k1"})
        first = await recorded(log)
        await called(client, BOB, "tea", requestState="k1")
        assert len(await log.runs()) == 2
        assert {run_id: head for run_id, head in (await recorded(log)).items() if run_id in first} == first


async def initialized(client: httpx.AsyncClient, key: str) -> str:
    """A session by the older protocol: its id."""
    params = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
    response = await client.post("/mcp", json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}, headers=bearer(key))
    assert response.status_code == 200, response.text
    return response.headers["mcp-session-id"]


async def test_a_session_of_anothers_is_not_there(log: MemoryEventLog) -> None:
    async with mcp(log) as client:
        session = await initialized(client, ALICE)
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        asked: list[tuple[str, Any]] = [
            ("POST", body),
            ("POST", cancel),
            ("POST", {"jsonrpc": "2.0", "id": 0, "result": {}}),
            ("GET", None),
            ("DELETE", None),
        ]
        for method, sent in asked:
            there, absent = [
                answered(await client.request(method, "/mcp", json=sent, headers=bearer(BOB) | {"Mcp-Session-Id": name}))
                for name in (session, "0" * 32)
            ]
            assert there == absent
            assert there[0] == 404
        own = await client.post("/mcp", json=body, headers=bearer(ALICE) | {"Mcp-Session-Id": session})
        assert own.status_code == 200


# ------------------------------------------------------------------------------------------------------------------------------------- how often


async def test_one_caller_does_not_use_up_what_another_may(log: MemoryEventLog) -> None:
    limit = Limited(1, per_s=3600)
    async with mcp(log, rate_limit=limit) as client:
        answers = [(await called(client, key, "tea")).json()["result"]["isError"] for key in (ALICE, ALICE, BOB)]
        assert answers == [False, True, False]
    async with a2a(log, rate_limit=limit) as client:
        statuses = [(await client.get("/tasks", headers=bearer(key))).status_code for key in (ALICE, ALICE, BOB)]
        assert statuses == [200, 429, 200]
        assert (await client.get("/tasks")).status_code == 401


async def test_requests_without_a_token_cost_nobody_with_one(log: MemoryEventLog) -> None:
    async with a2a(log, rate_limit=Limited(1, per_s=3600)) as client:
        refused = await asyncio.gather(*(client.get("/tasks", headers={"X-API-Key": f"guess-{n}"}) for n in range(20)))
        assert {response.status_code for response in refused} == {401}
        assert (await client.get("/tasks", headers=bearer(ALICE))).status_code == 200
