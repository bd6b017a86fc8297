"""Goal: tools are served, and assistants read, from a log that is named by its URL, and its password is shown to nobody."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from afk_es.cli.mcp_debugger import debugger_server
from afk_es.mcp import MCPServer
from tests.mcp.server.served import asking_for, named, text_of
from tests.mcp.server.test_log_for_assistants import environment

PASSWORD = "s3cret-pw"


@pytest.fixture
def log(postgres_log: str) -> str:
    """The log of the test is a schema; the server lets everybody in, so the password is there only to be hidden."""
    return postgres_log.replace("postgres@", f"postgres:{PASSWORD}@")


def refund(order: str) -> str:
    """Pay an order back."""
    REFUNDED.append(order)
    return f"paid {order} back"


REFUNDED: list[str] = []


async def test_a_key_makes_a_call_happen_once_over_all_servers_of_a_log(log: str) -> None:
    REFUNDED.clear()
    for _ in range(2):
        async with Client(MCPServer([refund], log=log)) as client:
            done = await client.call_tool("refund", {"order": "A-17"}, meta=named("k"))
            assert (done.is_error, text_of(done)) == (False, "paid A-17 back")
    assert REFUNDED == ["A-17"]


async def test_how_a_call_is_approved_elsewhere_is_told_without_the_password(log: str) -> None:
    async with Client(MCPServer([refund], log=log, policy_engine=asking_for("refund"))) as client:
        told = text_of(await client.call_tool("refund", {"order": "A-17"}))
    assert "afk-es approve" in told
    assert "--db 'postgresql://postgres@/" in told
    assert PASSWORD not in told


async def test_an_assistant_reads_it_by_the_command(log: str, tmp_path: Path) -> None:
    async with Client(MCPServer([refund], log=log)) as client:
        await client.call_tool("refund", {"order": "A-17"})
    words = ["-m", "afk_es.cli", "mcp", "serve", "--debugger", "--db", log]
    async with Client(StdioServerParameters(command=sys.executable, args=words, env=environment(tmp_path))) as client:
        told = [text_of(await client.call_tool(name, arguments)) for name, arguments in (("runs", {}), ("log", {"run": "@last"}))]
    assert "refund" in told[0]
    assert "paid A-17 back" in told[1]
    assert PASSWORD not in "".join(told)


async def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    server = debugger_server(f"postgresql://me:{PASSWORD}@/agents?host={tmp_path}", None, {})
    async with Client(server) as client:
        done = await client.call_tool("runs", {})
    assert done.is_error
    assert "the server cannot be reached" in text_of(done)
    assert PASSWORD not in text_of(done)
