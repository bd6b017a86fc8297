"""Goal: whatever bytes an MCPServer is sent, it answers in its protocol or closes, tells nothing of its inside, begins no run, and goes on.

Method: the requests of the SDK's client, of both eras, with seeded mistakes in them, byte for byte over HTTP and over stdio.
`AFK_ES_EXAMPLES=5000` tries more of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from afk_es.core import Runner, RunnerConfig
from afk_es.log.memory import MemoryEventLog
from afk_es.mcp import MCPServer
from afk_es.tools import tool
from tests.crash.journal import Journal
from tests.support.garbage import Request, Server, garbled, no_http
from tests.support.near_misses import near_misses
from tests.support.zygote import ROOT

NUMBER = int(os.environ.get("AFK_ES_EXAMPLES", "120"))


@tool
def echo(text: str) -> str:
    """Say it again."""
    return text


@pytest.mark.parametrize("era", ["legacy", "auto"])
async def test_near_misses_over_http(era: str) -> None:
    log = MemoryEventLog()
    requests: list[Request] = []

    async def noted(request: httpx2.Request) -> None:
        body = await request.aread()
        requests.append(Request(request.method, request.url.path, dict(request.headers), body))

    served = MCPServer([echo], runner=Runner(log=log, config=RunnerConfig(interaction_mode="external")))
    async with served.http_server() as http, httpx2.AsyncClient(event_hooks={"request": [noted]}) as sending:
        url = f"{http.url}/mcp"
        async with Client(streamable_http_client(url, http_client=sending), mode=era) as client:
            await client.list_tools()
            await client.call_tool("echo", {"text": "hi"})
            right = [request for request in requests if request.method == "POST" and b'"id"' in request.body]
            assert len(right) >= 3
            server = Server(url)
            runs = len(await log.runs(limit=10_000))
            for request in garbled(right, 7, NUMBER):
                answer = await server.judged(request.on_the_wire())
                now = len(await log.runs(limit=10_000))
                if answer.refused and now > runs:
                    server.problems.append(f"a run began, and it was refused: {request.body[:300]!r}")
                runs = now
            for sent in no_http(url.split("/")[2], "/mcp"):
                await server.judged(sent, ends=True)
            assert len(await log.runs(limit=10_000)) == runs
            assert not server.problems, "\n".join(server.problems)
            assert "again" in str((await client.call_tool("echo", {"text": "again"})).content)


async def test_another_host_and_another_origin_are_refused() -> None:
    """As a page has it whose name was made to stand for this machine's address."""
    served = MCPServer([echo], runner=Runner(log=MemoryEventLog(), config=RunnerConfig(interaction_mode="external")))
    async with served.http_server() as http:
        server = Server(http.url)
        host = http.url.split("/")[2]
        body = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
        said = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        for heads in ({"host": "evil.example"}, {"host": host, "origin": "https://evil.example"}, {"host": "127.0.0.1.evil.example"}):
            answer = await server.judged(Request("POST", "/mcp", {**said, **heads}, body).on_the_wire())
            assert answer.status in (400, 403, 421)
        assert server.problems == []


async def test_near_misses_over_stdio(tmp_path: Path) -> None:
    """A process of its own: each line that is none is answered or passed over, and the last one is answered."""
    job = json.dumps({"directory": str(tmp_path), "over": "stdio"})
    command = [sys.executable, "-W", "error", "-m", "tests.mcp.kills.shop", job, str(tmp_path / "said")]
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment, limit=2**26)
    assert process.stdin is not None
    assert process.stdout is not None
    information = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
    call = {"name": "pay", "arguments": {"item": "tea"}, "_meta": {"afk_es/idempotency_key": "k"}}
    right = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": information},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {**call, "name": "no_such_tool"}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}},
    ]
    try:
        lines = [body.replace(b"\n", b" ") for body in near_misses(right, 11, NUMBER)]
        closing = [
            json.dumps({"jsonrpc": "2.0", "id": "last-1", "method": "initialize", "params": information}).encode(),
            b'{"jsonrpc": "2.0", "method": "notifications/initialized"}',
            json.dumps({"jsonrpc": "2.0", "id": "last-2", "method": "tools/call", "params": call}).encode(),
        ]

        async def said() -> bytes:
            assert process.stdout is not None
            heard = b""
            async for line in process.stdout:
                heard += line
                if b'"last-2"' in line:
                    break
            return heard

        hearing = asyncio.create_task(said())
        for line in [*lines, *closing]:
            process.stdin.write(line + b"\n")
            await process.stdin.drain()
        async with asyncio.timeout(20):
            heard = await hearing
        assert b"pay tea" in heard.splitlines()[-1]
        assert [line for line in heard.splitlines() if not line.startswith(b"{")] == []
        assert [word for word in (b"Traceback", b"site-packages", b"pydantic") if word in heard] == []
        assert len(Journal(tmp_path / "effects.jsonl").lines()) == 1
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
