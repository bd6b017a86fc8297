"""Goal: a call with a key is done once, whoever asks for it again and when, and after a crash it goes on or says that nobody knows.

Method: the same call from several clients of one server, from two servers on one log, and from a server after the process before it was killed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from afk_es.mcp import MCPServer
from afk_es.tools import Tool, ToolContext, tool
from tests.mcp.server.served import ERAS, Era, client_of, named, only_run, runs_of, text_of

both_eras = pytest.mark.parametrize("era", ERAS)


class Counted:
    """A tool that says how often it has run, and waits to be let go where it is told to."""

    def __init__(self, *, waits: bool = False, **hints: Any) -> None:
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        if not waits:
            self.go.set()

        async def pay(order: str, ctx: ToolContext) -> str:
            """Pay an order."""
            self.calls += 1
            self.begun.set()
            await self.go.wait()
            return f"{order} paid, number {self.calls}"

        self.tool: Tool[..., Any] = tool(name="pay", **hints)(pay)


@both_eras
async def test_the_same_call_with_the_same_key_has_the_recorded_result(era: Era, log: Path) -> None:
    counted = Counted()
    async with client_of(MCPServer([counted.tool], log=log), era) as client:
        first = await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
        again = await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
    assert text_of(first) == text_of(again) == "A1 paid, number 1"
    assert (first.meta or {})["afk_es/run_id"] == (again.meta or {})["afk_es/run_id"]
    await only_run(log)


async def test_another_server_on_the_same_log_has_it_too(log: Path) -> None:
    counted = Counted()
    for _ in range(2):
        async with client_of(MCPServer([counted.tool], log=log), "auto") as client:
            assert text_of(await client.call_tool("pay", {"order": "A1"}, meta=named("k"))) == "A1 paid, number 1"
    await only_run(log)


@both_eras
async def test_calls_without_a_key_are_new_each_time(era: Era, log: Path) -> None:
    counted = Counted()
    async with client_of(MCPServer([counted.tool], log=log), era) as client:
        texts = [text_of(await client.call_tool("pay", {"order": "A1"})) for _ in range(2)]
    assert texts == ["A1 paid, number 1", "A1 paid, number 2"]
    assert len(await runs_of(log)) == 2


@both_eras
async def test_the_same_call_while_the_first_goes_on_joins_it(era: Era, log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log)
    async with client_of(server, era) as one, client_of(server, era) as other:
        calls = [asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k"))) for client in (one, other, one)]
        await counted.begun.wait()
        counted.go.set()
        assert {text_of(await call) for call in calls} == {"A1 paid, number 1"}
    await only_run(log)


@both_eras
@pytest.mark.parametrize(("name", "arguments"), [("pay", {"order": "A2"}), ("refund", {"order": "A1"})])
async def test_a_key_stands_for_one_call(era: Era, log: Path, name: str, arguments: dict[str, Any]) -> None:
    counted = Counted()

    @tool
    def refund(order: str) -> None:
        """Never called."""
        raise AssertionError

    async with client_of(MCPServer([counted.tool, refund], log=log), era) as client:
        await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
        with pytest.raises(MCPError, match="'k' names another call; a key stands for one call") as caught:
            await client.call_tool(name, arguments, meta=named("k"))
    assert caught.value.code == -32602
    await only_run(log)


async def test_a_failure_is_recorded_like_any_result(log: Path) -> None:
    calls = 0

    @tool
    def fail() -> None:
        """Fail."""
        nonlocal calls
        calls += 1
        raise ValueError(calls)

    async with client_of(MCPServer([fail], log=log), "auto") as client:
        texts = [text_of(await client.call_tool("fail", meta=named("k"))) for _ in range(2)]
    assert texts == ["ValueError: 1"] * 2


async def test_a_call_that_was_begun_with_another_tool_does_not_go_on_with_this_one(log: Path) -> None:
    counted = Counted(waits=True)
    async with client_of(MCPServer([counted.tool], log=log, drain_s=0), "legacy") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
    with pytest.raises(MCPError, match="Connection closed"):
        await call
    changed = Counted(read_only=True)
    async with client_of(MCPServer([changed.tool], log=log), "legacy") as client:
        result = await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
    assert result.is_error
    assert "the call was begun with another pay than there is now" in text_of(result)
    assert changed.calls == 0


@both_eras
@pytest.mark.parametrize(
    ("hints", "text", "calls"),
    [
        ({}, "the outcome of this call is unknown", 1),
        ({"idempotent": True}, "A1 paid, number 2", 2),
        ({"read_only": True}, "A1 paid, number 2", 2),
    ],
)
async def test_what_was_cut_off_in_the_middle_is_repeated_only_where_that_does_no_harm(
    era: Era, log: Path, hints: dict[str, Any], text: str, calls: int
) -> None:
    counted = Counted(waits=True, **hints)
    server = MCPServer([counted.tool], log=log, drain_s=0)
    async with client_of(server, "legacy") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
    with pytest.raises(MCPError, match="Connection closed"):
        await call
    counted.go.set()
    async with client_of(server, era) as client:
        result = await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
    assert text in text_of(result)
    assert result.is_error == (not hints)
    assert counted.calls == calls
