"""Goal: where an MCPServer's log cannot be written to, the client is told that the call cannot be made, and nothing of the server's inside; what took
effect does not take effect again when the same call is made once the log is sound.

Method: the faults of `tests/faults`, at each append of a call, over the SDK's client.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent

from afk_es.core import Runner, RunnerConfig
from afk_es.mcp import IDEMPOTENCY_KEY, MCPServer
from afk_es.testing import log_problems
from afk_es.tools import ToolContext, tool
from tests.crash.journal import Journal
from tests.faults.faulted import Fault, FaultyLog
from tests.faults.test_log_that_cannot_write import FAULTS

CALLED: Any = {IDEMPOTENCY_KEY: "one"}
SHOWN = ("full, says SQLite", "locked by another program", "damaged, says SQLite")
INNER = re.compile(r"runs\.db|sqlite|Traceback|/tmp|disk", re.IGNORECASE)


@asynccontextmanager
async def served(directory: Path, at: int, fault: Fault | None) -> AsyncIterator[tuple[Client, FaultyLog]]:
    """The shop on a log that fails at one append."""
    journal = Journal(directory / "effects.jsonl")

    @tool
    def pay(item: str, ctx: ToolContext) -> str:
        """Pay."""
        journal.note("pay", ctx)
        return f"pay {item}"

    log = FaultyLog(directory / "runs.db", at, fault)
    try:
        server = MCPServer([pay], runner=Runner(log=log, config=RunnerConfig(interaction_mode="external")))
        async with Client(server) as client:
            yield client, log
    finally:
        log.ends()
        await log.close()


async def paid(client: Client) -> str:
    """What the call came to."""
    result = await client.call_tool("pay", {"item": "tea"}, meta=CALLED)
    assert isinstance(result, CallToolResult)
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


async def appends(directory: Path) -> int:
    """How often a call is appended to the log."""
    async with served(directory, 0, None) as (client, log):
        assert await paid(client) == "pay tea"
        return log.appends


@pytest.mark.parametrize("name", SHOWN)
async def test_a_call_whose_log_fails_is_made_again_and_is_the_same_call(name: str, tmp_path: Path) -> None:
    fault, _error, _words = FAULTS[name]
    last = await appends(tmp_path / "sound")
    assert last >= 5
    for at in range(1, last + 1):
        directory = tmp_path / str(at)
        async with served(directory, at, fault) as (client, log):
            with pytest.raises(MCPError) as refused:
                await paid(client)
            assert INNER.search(str(refused.value)) is None, refused.value
            log.ends()
            # Nobody has to start it anew.
            await client.list_tools()
        async with served(directory, 0, None) as (client, log):
            text = await paid(client)
            (run,) = await log.runs()
            events = await log.read(run.run_id)
            assert log_problems(events) == []
        effects = Journal(directory / "effects.jsonl").lines()
        assert len(effects) <= 1
        assert text == "pay tea" if len(effects) == 1 and "unknown" not in text else "unknown" in text
