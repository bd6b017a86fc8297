"""Goal: over HTTP the server is reached from where it should be, by whom it knows, and nobody has what is another's.

Method: real sockets on loopback; the SDK's client in both eras, and raw requests where a client would not send them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from starlette.types import ASGIApp, Receive, Scope, Send

from afk_es.errors import ConfigurationError
from afk_es.mcp import MCPServer
from afk_es.serving import ApiKeys, HttpServer, Limited
from afk_es.tools import ToolContext, tool
from tests.mcp.server.served import ERAS, Era, asking_for, named, only_run, runs_of, text_of
from tests.mcp.server.test_once import Counted
from tests.mcp.server.test_questions import Person
from tests.mcp.server.test_waiting import end_of

both_eras = pytest.mark.parametrize("era", ERAS)

KEYS = {"alice-" + "a" * 20: "alice", "bob-" + "b" * 20: "bob"}
ALICE, BOB = KEYS


@tool
def who(ctx: ToolContext) -> str:
    """Say who calls."""
    return f"{ctx.user_id} as {ctx.run_id}"


@asynccontextmanager
async def caller(served: HttpServer, era: Era, token: str | None = None, **callbacks: Any) -> AsyncIterator[Client]:
    """The SDK's client, with a token."""
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{served.url}/mcp", http_client=http)
        async with Client(transport, mode=era, **callbacks) as client:
            yield client


@both_eras
async def test_a_client_calls_and_hears_how_far_it_is(era: Era, log: Path) -> None:
    told: list[object] = []

    @tool
    async def count(ctx: ToolContext) -> str:
        """Count."""
        while not told:
            ctx.report_progress(1, 2, "half of it")
            await asyncio.sleep(0)
        return "done"

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with MCPServer([count], log=log).http_server() as served, Client(f"{served.url}/mcp", mode=era) as client:
        assert text_of(await client.call_tool("count", progress_callback=heard)) == "done"
    assert told == [(1, 2, "half of it")]


@both_eras
async def test_a_person_at_the_client_is_asked(era: Era, log: Path) -> None:
    person = Person(decision="approve")
    server = MCPServer([who], log=log, policy_engine=asking_for("who"), authenticator=ApiKeys(KEYS))
    async with server.http_server() as served, caller(served, era, ALICE, elicitation_callback=person) as client:
        assert text_of(await client.call_tool("who")).startswith("alice as mcp-")
    assert person.shown[0].message.startswith("Let who run?")
    (resolved,) = [event.data for event in await only_run(log) if event.type == "approval_resolved"]
    assert resolved["by"] == "alice (MCP client)"


@both_eras
async def test_each_caller_is_known_and_has_calls_and_limits_of_its_own(era: Era, log: Path) -> None:
    server = MCPServer([who], log=log, authenticator=ApiKeys(KEYS), rate_limit=Limited(2, per_s=3600))
    async with server.http_server() as served, caller(served, era, ALICE) as alice, caller(served, era, BOB) as bob:
        first = text_of(await alice.call_tool("who", meta=named("k")))
        again = text_of(await alice.call_tool("who", meta=named("k")))
        other = text_of(await bob.call_tool("who", meta=named("k")))
        refused = await alice.call_tool("who", meta=named("k"))
    assert first == again
    assert first.startswith("alice as mcp-")
    assert other.startswith("bob as mcp-")
    assert other.split()[-1] != first.split()[-1]
    assert "too many calls" in text_of(refused)
    assert [events[0].data["context"]["user_id"] for events in await runs_of(log)] == ["alice", "bob"]


async def post(served: HttpServer, headers: dict[str, str], body: object = None) -> httpx2.Response:
    """One raw request of the newer protocol."""
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    request = body if body is not None else {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": envelope}}
    said = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
    async with httpx2.AsyncClient() as http:
        return await http.post(f"{served.url}/mcp", json=request, headers={**said, **headers})


async def test_whoever_is_not_known_is_told_nothing_about_why(log: Path) -> None:
    server = MCPServer([who], log=log, authenticator=ApiKeys(KEYS))
    async with server.http_server() as served:
        answers = [
            await post(served, headers)
            for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {ALICE}"}, {"X-API-Key": ALICE[:-1]})
        ]
        known = await post(served, {"Authorization": f"Bearer {ALICE}"})
    assert {(answer.status_code, answer.content, answer.headers["www-authenticate"]) for answer in answers} == {
        (401, b'{"error": "unauthorized"}', 'Bearer realm="mcp"')
    }
    assert known.status_code == 200


async def test_a_page_of_somebody_s_cannot_call_through_a_browser(log: Path) -> None:
    async with MCPServer([who], log=log).http_server() as served:
        assert (await post(served, {})).status_code == 200
        foreign = await post(served, {"Origin": "https://evil.example"})
        rebound = await post(served, {"Host": "evil.example"})
    assert foreign.status_code == 403
    assert rebound.status_code in (400, 403, 421)
    assert not any(name.startswith("access-control") for answer in (foreign, rebound) for name in answer.headers)


async def test_a_page_that_is_allowed_can_call_and_gets_no_more_than_that(log: Path) -> None:
    server = MCPServer([who], log=log)
    async with server.http_server(allow_origins=["https://app.example"]) as served:
        answer = await post(served, {"Origin": "https://app.example"})
    assert answer.status_code == 200
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize(
    ("allowed", "host", "origin", "status"),
    [
        ((), "localhost:80", None, 200),
        ((), "[::1]:80", "https://[::1]:80", 200),
        ((), "mcp.example", None, 421),
        (("mcp.example",), "MCP.example", "https://mcp.example", 200),
        (("fd00::1",), "[fd00::1]:80", None, 200),
        (("*",), "any.example", None, 200),
        (("*",), "any.example", "https://evil.example", 403),
    ],
)
async def test_the_application_checks_who_is_meant_and_whose_page_asks_wherever_it_is_mounted(
    log: Path, allowed: tuple[str, ...], host: str, origin: str | None, status: int
) -> None:
    """It is served here by something that checks neither."""
    app = MCPServer([who], log=log).http_app(allow_hosts=allowed)
    async with HttpServer(open_to_pages(app), allow_hosts=("*",)) as served:
        assert (await post(served, {"Host": host, **({"X-Origin": origin} if origin is not None else {})})).status_code == status


def open_to_pages(app: ASGIApp) -> ASGIApp:
    """The application behind a server that has let every page in: it has the `Origin` that the test says."""

    async def opened(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"origin" if name == b"x-origin" else name, value) for name, value in scope.get("headers", ())]
        await app({**scope, "headers": headers}, receive, send)

    return opened


START: Any = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}
OLD = {"MCP-Protocol-Version": "2025-11-25"}


async def test_a_client_is_told_once_of_a_change_however_often_it_says_that_it_is_there(log: Path) -> None:
    """Otherwise one client could have the others forgotten, of whom so many are kept."""
    server = MCPServer([who], log=log)
    async with server.http_server() as served, httpx2.AsyncClient(timeout=30) as http:
        opened = await post(served, OLD, START)
        session = {**OLD, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
        for _ in range(3):
            await post(served, session, {"jsonrpc": "2.0", "method": "notifications/initialized"})
        async with http.stream("GET", f"{served.url}/mcp", headers={**session, "Accept": "text/event-stream"}) as news:
            lines = news.aiter_lines()
            server.remove_tool("who")
            while "list_changed" not in await anext(lines):
                pass
            # All that is told of the change is on its way by the time that the server has another answer; when it ends, so does the stream.
            await post(served, session, {"jsonrpc": "2.0", "id": 2, "method": "tools/list"})
            ending = asyncio.create_task(served.stop())
            more = [line async for line in lines if "list_changed" in line]
            await ending
    assert more == []


async def test_a_session_of_another_s_looks_absent(log: Path) -> None:
    """Sessions are of the older protocol: their ids are all that a client shows beside its token."""
    ask = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    server = MCPServer([who], log=log, authenticator=ApiKeys(KEYS))
    async with server.http_server() as served:
        opened = await post(served, {**OLD, "Authorization": f"Bearer {ALICE}"}, START)
        session = {**OLD, "Mcp-Session-Id": opened.headers["mcp-session-id"]}
        foreign = await post(served, {**session, "Authorization": f"Bearer {BOB}"}, ask)
        absent = await post(served, {**session, "Mcp-Session-Id": "0" * 32, "Authorization": f"Bearer {BOB}"}, ask)
        own = await post(served, {**session, "Authorization": f"Bearer {ALICE}"}, ask)
    assert (foreign.status_code, foreign.content) == (absent.status_code, absent.content) == (404, absent.content)
    assert own.status_code == 200


def test_an_address_that_others_reach_needs_an_authenticator(log: Path) -> None:
    with pytest.raises(ConfigurationError, match="can be reached from elsewhere"):
        MCPServer([who], log=log).http_server("192.0.2.1")
    MCPServer([who], log=log, authenticator=ApiKeys(KEYS)).http_server("192.0.2.1")


async def test_the_application_without_its_guard_serves_nobody(log: Path) -> None:
    """Whoever takes the SDK's application of a server that has an authenticator has no guard before it."""
    server = MCPServer([who], log=log, authenticator=ApiKeys(KEYS))
    async with HttpServer(server.streamable_http_app()) as served, Client(f"{served.url}/mcp") as client:
        with pytest.raises(MCPError, match="serves nobody whom it does not know"):
            await client.call_tool("who")


async def test_a_connection_that_is_cut_leaves_the_named_call_to_whoever_comes_again(log: Path) -> None:
    counted = Counted(waits=True)
    async with MCPServer([counted.tool], log=log).http_server() as served:
        async with Client(f"{served.url}/mcp") as first:
            lost = asyncio.create_task(first.call_tool("pay", {"order": "A1"}, meta=named("k")))
            await counted.begun.wait()
            lost.cancel()
            await asyncio.wait([lost])
        async with Client(f"{served.url}/mcp") as second:
            again = asyncio.create_task(second.call_tool("pay", {"order": "A1"}, meta=named("k")))
            counted.go.set()
            assert text_of(await again) == "A1 paid, number 1"


@both_eras
async def test_and_a_call_that_nobody_has_named_is_cancelled(era: Era, log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log)
    async with server.http_server() as served, Client(f"{served.url}/mcp", mode=era) as client:
        lost = asyncio.create_task(client.call_tool("pay", {"order": "A1"}))
        await counted.begun.wait()
        lost.cancel()
        await asyncio.wait([lost])
        assert (await end_of(server)).type == "run_cancelled"


async def test_a_body_that_is_no_request_is_an_answer_and_no_end(log: Path) -> None:
    async with MCPServer([who], log=log).http_server() as served:
        bodies: list[Any] = [[], 7, {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}]
        for body in bodies:
            answer = await post(served, {}, body)
            assert 400 <= answer.status_code < 500, (body, answer.content)
            assert "error" in json.loads(answer.content)
        assert (await post(served, {})).status_code == 200


async def test_a_call_has_the_time_to_drain_once_when_the_server_ends(log: Path) -> None:
    """Once in all: not once for its request, and then again for its run."""
    counted = Counted(waits=True)
    loop = asyncio.get_running_loop()
    async with MCPServer([counted.tool], log=log, drain_s=1.5).http_server() as served, caller(served, "auto") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
        begun = loop.time()
        await served.stop()
        assert 1.4 < loop.time() - begun < 2.7
        assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], MCPError)
    assert (await only_run(log))[-1].type == "run_interrupted"


async def test_a_second_signal_does_not_wait(log: Path) -> None:
    counted = Counted(waits=True)
    async with MCPServer([counted.tool], log=log, drain_s=60).http_server() as served, caller(served, "auto") as client:
        serving = asyncio.create_task(served.until_stopped(lambda: None))
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await served.stopping.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(20):
            await serving
            assert isinstance((await asyncio.gather(call, return_exceptions=True))[0], MCPError)
    assert (await only_run(log))[-1].type == "run_interrupted"
