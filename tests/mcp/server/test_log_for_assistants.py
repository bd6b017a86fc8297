"""Goal: a coding assistant that has never seen afk_es finds out by `afk-es mcp serve --debugger` why a run failed, and leaves no trace.

Method: the SDK's client, over stdio and HTTP, does what the answers propose.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from afk_es.agents import Agent
from afk_es.cli import main
from afk_es.cli.mcp_debugger import debugger_server
from afk_es.core import Runner
from afk_es.debugger.assistant.pages import NOTICE
from afk_es.llms import LLMResponse, ToolCall
from afk_es.mcp import MCPClient
from afk_es.redaction import Redaction
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolResult
from tests.mcp.server.served import ERAS, Era, text_of
from tests.support.stories import Stories

ROOT = Path(__file__).resolve().parents[3]


def command(log: Path, *more: str) -> list[str]:
    """How a client starts the server, as in the README's config."""
    return [sys.executable, "-m", "afk_es.cli", "mcp", "serve", "--debugger", "--db", str(log), *more]


def environment(tmp_path: Path) -> dict[str, str]:
    """Of a server whose default log and cache are the test's."""
    home = {"AFK_ES_LOG": str(tmp_path / "default.db"), "AFK_ES_CACHE": os.devnull, "PYTHONPATH": str(ROOT)}
    return {**home, "PATH": os.environ.get("PATH", "")}


@asynccontextmanager
async def over_stdio(log: Path, tmp_path: Path, era: Era) -> AsyncIterator[Client]:
    """The SDK's client, and the server that it has started."""
    words = command(log)
    async with Client(StdioServerParameters(command=words[0], args=words[1:], env=environment(tmp_path)), mode=era) as client:
        yield client


async def asked(client: Client, call: dict[str, Any]) -> dict[str, Any]:
    """What a call answers: a line to go on with, and the page."""
    result = await client.call_tool(call["tool"], call["arguments"])
    assert isinstance(result, CallToolResult)
    assert not result.is_error, text_of(result)
    # Clients differ in which of two they show their model, so there is one.
    assert result.structured_content is None
    head, _, page = text_of(result).partition("\n")
    return {**json.loads(head), "text": page}


@pytest.mark.parametrize("era", ERAS)
async def test_an_assistant_finds_the_cause_of_a_failed_run_in_three_calls(era: Era, stories: Stories, tmp_path: Path) -> None:
    own = stories.copied(tmp_path)
    before, files = own.log.read_bytes(), {*os.listdir(tmp_path)}
    async with over_stdio(own.log, tmp_path, era) as client:
        tools = (await client.list_tools()).tools
        first = tools[0]
        assert first.name == "triage"
        assert (first.description or "").startswith("Call this first")
        assert all(
            tool.annotations is not None and tool.annotations.read_only_hint and not tool.annotations.open_world_hint for tool in tools
        )
        # Nothing but what the answers propose, and the id of the run.
        triage = await asked(client, {"tool": "triage", "arguments": {"run": "run_failing"}})
        why = await asked(client, triage["next"][0])
        context = await asked(client, why["next"][0])
    assert "amount (845000) is greater than the refundable amount (8450)" in triage["text"]
    assert "refund_charge(amount=845000" in why["text"]
    assert "Amounts of money go to the gateway in cents" in context["text"]
    assert re.search(r'"amount":8450,.*"currency":"JPY"', context["text"])
    # Neither a run of these calls, nor a log of its own. A reader may leave SQLite's two files beside the log.
    assert own.log.read_bytes() == before
    assert {*os.listdir(tmp_path)} - {f"{own.log.name}-wal", f"{own.log.name}-shm"} == files


async def test_over_http_with_a_token(stories: Stories, tmp_path: Path) -> None:
    words = command(stories.log, "--http", "127.0.0.1:0", "--token-env", "ann=TOKEN")
    process = await asyncio.create_subprocess_exec(
        *words, env={**environment(tmp_path), "TOKEN": "a-long-enough-token-of-ann"}, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert process.stderr is not None
        line = (await asyncio.wait_for(process.stderr.readline(), 30)).decode()
        url = line.partition(" at ")[2].partition(";")[0]
        async with httpx2.AsyncClient() as nobody:
            assert (await nobody.post(url, json={})).status_code == 401
        headers = {"Authorization": "Bearer a-long-enough-token-of-ann"}
        async with httpx2.AsyncClient(headers=headers) as http, Client(streamable_http_client(url, http_client=http)) as client:
            listed = await asked(client, {"tool": "runs", "arguments": {"state": ["crashed"]}})
            assert re.findall(r"run_\w+", listed["text"]) == ["run_crashed"]
        assert listed["next"] == [{"tool": "triage", "arguments": {"run": "run_crashed"}}]
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize(("redaction", "kept_back"), [(Redaction(), True), (None, False)])
async def test_secrets_are_kept_back_unless_the_one_who_starts_it_says_otherwise(
    redaction: Redaction | None, kept_back: bool, stories: Stories
) -> None:
    """The demo has a tool output with a password."""
    async with Client(debugger_server(str(stories.log), redaction, {})) as client:
        shown = await asked(client, {"tool": "show", "arguments": {"run": "run_denied"}})
    assert ("[redacted]" in shown["text"]) == kept_back


async def test_a_log_that_is_not_there_yet_is_said_to_be_missing_and_found_once_it_is(stories: Stories, tmp_path: Path) -> None:
    log = tmp_path / "later.db"
    async with over_stdio(log, tmp_path, "auto") as client:
        refused = await client.call_tool("triage", {})
        assert isinstance(refused, CallToolResult)
        assert refused.is_error
        assert f"there is no log at {log}" in text_of(refused)
        assert not log.exists()
        shutil.copy(stories.log, log)
        assert (await asked(client, {"tool": "triage", "arguments": {"run": "failing"}}))["status"] == "failed"


async def test_our_own_client_hands_the_tools_to_an_agent(stories: Stories, tmp_path: Path) -> None:
    """By their prefix; the calls that answers propose are by the names that the server has for them."""
    async with MCPClient(command(stories.log), name="log", env=environment(tmp_path)) as client:
        tools = {tool.name: tool for tool in await client.tools()}
        assert set(tools) == {f"log_{name}" for name in ("triage", "why", "context", "runs", "log", "show", "state", "diff")}
        result = await tools["log_why"].call({"run": "failing", "at": 28}, ToolContext())
        assert isinstance(result, ToolResult)
        assert result.success
        assert "was asked for by @24" in str(result.output)


@pytest.mark.parametrize("era", ERAS)
async def test_an_agent_that_has_the_tools_by_our_own_client_is_shown_the_page_as_it_is(era: Era, stories: Stories) -> None:
    """No line end and no quotation mark of it is escaped, by either protocol."""
    call = LLMResponse(tool_calls=(ToolCall("c1", "log_context", {"run": "failing", "at": 24, "whole": True}),))
    detective = Agent(
        model=ScriptedModel([call, lambda request: request.messages[-1].content]),
        mcp_servers=[MCPClient(debugger_server(str(stories.log), Redaction(), {}), name="log", protocol=era)],
    )
    shown = (await Runner(log=":memory:").run(detective)).final_text
    assert f"\n{NOTICE}\n| " in shown
    assert '"amount":8450,' in shown
    assert "\\n|" not in shown
    assert '\\"amount' not in shown


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((), "there is nothing to serve"),
        (("--debugger", "desk.py:tools"), "--debugger serves the log alone"),
        (("--debugger", "--no-ask"), "--debugger serves the log alone"),
        (("--debugger", "--db", ":memory:"), "a log in memory is gone"),
        (("desk.py:tools", "--show-secrets"), "--show-secrets and --redact-key are for --debugger"),
        (("desk.py:tools", "--redact-key", "iban"), "--show-secrets and --redact-key are for --debugger"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], reason: str) -> None:
    done = CliRunner().invoke(main, ["mcp", "serve", *words])
    assert done.exit_code == 2
    assert reason in done.output
