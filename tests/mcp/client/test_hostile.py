"""Servers that err, lie and flood: each is a clear failure of one call, or of the start of a run; nothing hangs, and nothing is believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from afk_es.core import Runner
from afk_es.errors import ToolError
from afk_es.mcp import MCPClient
from afk_es.serving import HttpServer
from tests.mcp.client.remote import agent_of, asks, called
from tests.mcp.client.test_lifetime import raw, told

FAILING = {
    "large": "the result of raw_work has 3000002 bytes, and max_result_bytes of server 'raw' is 1000000; the call was made",
    "other id": "raw_work did not finish within 0.5 s",
    "never": "raw_work did not finish within 0.5 s",
    "wrong types": "is no result of a call; whether it did its work is not known",
    "dies": "whether it did its work is not known",
}


@pytest.mark.parametrize("behaviour", FAILING)
async def test_a_call_fails_with_what_is_wrong_and_the_run_goes_on(behaviour: str) -> None:
    result = await called(raw(behaviour, timeout_s=5.0 if behaviour == "large" else 0.5), ("raw_work", {}))
    assert result.state == "completed"
    (record,) = result.tool_executions
    assert not record.success
    assert FAILING[behaviour] in str(record.error)


LISTING = {
    "pages without end": "its list has more than 64 pages",
    "too many tools": "it lists more than 1000 tools",
    "no list": "could not say what tools it has",
}


@pytest.mark.parametrize("behaviour", LISTING)
async def test_a_list_that_is_none_is_told_before_anything_is_written(behaviour: str) -> None:
    async with Runner(log=":memory:") as runner:
        with pytest.raises(ToolError, match=LISTING[behaviour]):
            await runner.run(agent_of(raw(behaviour), script=[]))
        assert not await runner.log.runs()


async def test_all_pages_of_a_list_are_read() -> None:
    async with raw("two pages") as client:
        assert [tool.name for tool in await client.tools()] == ["raw_work", "raw_more"]


async def test_a_tool_that_is_listed_twice_is_left_out() -> None:
    async with raw("listed twice") as client:
        listing = await client.listing()
    assert (listing.tools, listing.left_out) == ((), {"work": "the server lists it more than once"})


async def test_what_is_no_message_is_passed_over() -> None:
    result = await called(raw("garbage first"), ("raw_work", {}))
    assert result.tool_executions[0].output == "all the same"


async def test_a_server_that_asks_is_refused(tmp_path: Path) -> None:
    """No model, no files and no person answers a server: nothing of that was offered to it."""
    notes = tmp_path / "notes"
    result = await called(raw("asks", notes), ("raw_work", {}))
    assert result.tool_executions[0].output == "asked"
    answers = [json.loads(line.removeprefix("answered ")) for line in told(notes).splitlines() if line.startswith("answered ")]
    assert len(answers) == 3
    assert all("error" in answer for answer in answers)
    initialize = next(line for line in told(notes).splitlines() if line.startswith("initialize "))
    assert json.loads(initialize.removeprefix("initialize "))["capabilities"] == {}


async def test_a_flood_of_progress_is_passed_on_at_a_pace() -> None:
    async with Runner(log=":memory:") as runner:
        run = await runner.run_once(agent_of(raw("floods"), script=[asks(("raw_work", {})), "done"]), run_id="r", by="test")
        told = [event async for event in run.live() if event.type == "tool_progress"]
        assert (await run.await_result()).tool_executions[0].output == "flooded"
    assert 1 <= len(told) < 200
    assert max(len(event.message) for event in told) <= 300


# ----------------------------------------------------------------------------------------------------------------------------- over HTTP


def web(answer: Any) -> Starlette:
    """A server that takes a handshake, has a tool, and answers a call by a function of the request's id."""

    async def endpoint(request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405)
        message = await request.json()
        method = message.get("method")
        if "id" not in message:
            return Response(status_code=202)
        if method == "initialize":
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {}, "serverInfo": {"name": "web", "version": "1"}}
        elif method == "tools/list":
            result = {"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}
        else:
            response = answer(message["id"])
            assert isinstance(response, Response)
            return response
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result})

    return Starlette(routes=[Route("/mcp", endpoint, methods=["GET", "POST", "DELETE"])])


def large(number: int) -> Response:
    async def body() -> Any:
        for _ in range(400):
            yield b"x" * 100_000

    return StreamingResponse(body(), media_type="application/json")


def a_bomb(number: int) -> Response:
    return Response(b"\x1f\x8b\x08\x00", media_type="application/json", headers={"content-encoding": "gzip"})


ANSWERS: dict[str, tuple[Any, str]] = {
    "large": (large, "the answer has more than"),
    "compressed": (a_bomb, "the answer is compressed, which was not asked for"),
    "no JSON": (lambda number: Response("<html>", media_type="application/json"), "refused the call of web_work"),
    "a page": (lambda number: Response("<html>", media_type="text/html"), "Unexpected content type: text/html"),
    "elsewhere": (lambda number: RedirectResponse("http://127.0.0.2:1/secrets", 307), "not followed"),
    "an error": (lambda number: Response(status_code=500), "refused the call of web_work: Server returned an error response"),
    "accepted": (lambda number: Response(status_code=202), "server answered a request with 202 Accepted"),
    "an end": (lambda number: Response("", media_type="text/event-stream"), "whether it did its work is not known"),
    "no result": (lambda number: JSONResponse({"jsonrpc": "2.0", "id": number, "result": []}), "refused the call of web_work"),
}


@pytest.mark.parametrize("behaviour", ANSWERS)
async def test_an_answer_over_http_that_is_none(behaviour: str) -> None:
    answer, expected = ANSWERS[behaviour]
    async with HttpServer(web(answer), drain_s=0.1) as served:
        client = MCPClient(f"{served.url.rstrip('/')}/mcp", name="web", protocol="legacy", timeout_s=5)
        result = await called(client, ("web_work", {}))
    (record,) = result.tool_executions
    assert (result.state, record.success) == ("completed", False)
    assert expected in str(record.error)


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_not_taken_is_said_and_not_shown(status: int) -> None:
    async def refuse(request: Request) -> Response:
        return Response(status_code=status)

    app = Starlette(routes=[Route("/mcp", refuse, methods=["GET", "POST"])])
    async with HttpServer(app, drain_s=0.1) as served:
        client = MCPClient(f"{served.url.rstrip('/')}/mcp", name="web", headers={"Authorization": "Bearer s3cret"})
        with pytest.raises(ToolError, match=f"it answers {status}: the token is missing, wrong or worn out") as caught:
            await called(client, ("web_work", {}))
    assert "s3cret" not in f"{caught.value} {client!r}"
