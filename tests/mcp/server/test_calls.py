"""Goal: a call of a tool is a run of the log, and its result is what the tool gave, in both eras of the protocol.

Method: the SDK's own client, in this process.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from afk_es.mcp import MCPServer
from afk_es.tools import tool
from tests.mcp.server.served import ERAS, Era, client_of, runs_of, text_of

pytestmark = pytest.mark.parametrize("era", ERAS)


@tool(read_only=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "calls.db"


async def test_a_call_is_a_run_of_two_turns(era: Era, log: Path) -> None:
    async with client_of(MCPServer([add], log=log), era) as client:
        result = await client.call_tool("add", {"a": 1, "b": 2})
    assert (text_of(result), result.structured_content, result.is_error) == ("3", {"result": 3}, False)
    (events,) = await runs_of(log)
    assert events[0].run_id == (result.meta or {})["afk_es/run_id"]
    assert events[0].data["agent_name"] == "add"
    assert events[0].data["user_message"] == 'add {"a":1,"b":2}'
    assert events[0].data["context"] == {"user_id": "local user", "door": "mcp"}
    assert [event.type for event in events].count("llm_called") == 2
    assert events[-1].type == "run_completed"
