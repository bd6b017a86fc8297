"""Goal: a server that records nothing calls its tools all the same, and takes none that changes anything."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from mcp import MCPError

from afk_es import Agent, Runner
from afk_es.agents import PolicyEngine
from afk_es.errors import ConfigurationError
from afk_es.mcp import MCPServer
from afk_es.mcp.results import RUN_ID
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolDeferredHandle, tool
from tests.mcp.server.served import ERAS, Era, client_of, text_of

eras = pytest.mark.parametrize("era", ERAS)


@tool(read_only=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@tool(read_only=True, raise_on_error=True)
async def fail() -> int:
    """Never gives anything."""
    raise ValueError("no such thing")


@tool(read_only=True)
def later() -> ToolDeferredHandle:
    """Goes on in the background."""
    return ToolDeferredHandle()


@tool
def write() -> str:
    """Change something."""
    return "done"


@eras
async def test_a_call_has_its_result_and_leaves_no_run(era: Era, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the log of the user nor anywhere else."""
    monkeypatch.setenv("AFK_ES_LOG", str(tmp_path / "log.db"))
    server = MCPServer([add, fail, later], recorded=False)
    async with client_of(server, era) as client:
        added = await client.call_tool("add", {"a": 1, "b": 2})
        assert (text_of(added), added.structured_content, added.is_error) == ("3", {"result": 3}, False)
        assert RUN_ID not in (added.meta or {})
        failed = await client.call_tool("fail", {})
        assert (failed.is_error, text_of(failed)) == (True, "ValueError: no such thing")
        wrong = await client.call_tool("add", {"a": "x"})
        assert wrong.is_error
        assert "a" in text_of(wrong)
        assert "goes on in the background" in text_of(await client.call_tool("later", {}))
        with pytest.raises(MCPError, match="no tool 'ad'"):
            await client.call_tool("ad", {})
        assert not await server.runner.log.runs()
    assert os.listdir(tmp_path) == []


@eras
async def test_progress_that_a_thread_tells_reaches_the_client(era: Era) -> None:
    @tool(read_only=True)
    def count(ctx: ToolContext) -> str:
        """Count."""
        for number in range(1, 6):
            ctx.report_progress(number, 5, "counted")
        ctx.report_progress(2)
        return "five"

    told: list[tuple[float, float | None, str | None]] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with client_of(MCPServer([count], recorded=False), era) as client:
        assert text_of(await client.call_tool("count", {}, progress_callback=on_progress)) == "five"
        # It only grows, and what was told faster than it was sent is not made up for.
        assert [progress for progress, _total, _message in told] == sorted({progress for progress, _total, _message in told})
        assert all(each[1:] == (5, "counted") for each in told)


@eras
async def test_a_call_that_is_no_longer_wanted_is_cancelled(era: Era) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @tool(read_only=True)
    async def wait() -> str:
        """Wait for good."""
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return ""

    async with client_of(MCPServer([wait], recorded=False), era) as client:
        call = asyncio.create_task(client.call_tool("wait", {}))
        await begun.wait()
        call.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)


def test_what_has_to_be_recorded_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="write does not say that it is read_only"):
        MCPServer([write], recorded=False)
    with pytest.raises(ConfigurationError, match="what helper does is recorded"):
        MCPServer([add], agents=[Agent(name="helper", model=ScriptedModel([]))], recorded=False)
    for options in ({"log": "calls.db"}, {"runner": Runner(log=":memory:")}, {"policy_engine": PolicyEngine(rules=[])}):
        with pytest.raises(ConfigurationError, match="recorded=False makes no runs"):
            MCPServer([add], recorded=False, **options)
    server = MCPServer([add], recorded=False)
    with pytest.raises(ConfigurationError, match="read_only"):
        server.add_tool(write)
