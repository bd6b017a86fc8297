"""Goal: an agent is called as a tool is: a task, its answer, its steps as progress, and once under a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from afk_es.agents import Agent, FailSafeConfig
from afk_es.llms import LLMResponse, ToolCall
from afk_es.mcp import MCPServer
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.mcp.server.served import ERAS, Era, client_of, named, only_run, runs_of, text_of

pytestmark = pytest.mark.parametrize("era", ERAS)


def clerk(*answers: Any, heard: Callable[[], bool] = lambda: True, **fields: Any) -> Agent:
    """An agent that looks an order up first, and says how far it is until that is heard."""

    @tool(read_only=True)
    async def look_up(order: str, ctx: ToolContext) -> str:
        """Look an order up."""
        while not heard():
            ctx.report_progress(1, 2, "half of it")
            await asyncio.sleep(0)
        return f"{order} is lost"

    asks = LLMResponse(tool_calls=(ToolCall("c1", "look_up", {"order": "A1"}),))
    return Agent(name="clerk", model=ScriptedModel([asks, *answers]), tools=[look_up], **fields)


async def test_a_task_is_a_run_of_the_agent_and_its_answer_the_result(era: Era, log: Path) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    agent = clerk("It is lost.", heard=lambda: any("half of it" in (message or "") for _done, _total, message in told))
    async with client_of(MCPServer(agents=[agent], log=log), era) as client:
        result = await client.call_tool("clerk", {"task": "Where is A1?"}, progress_callback=heard)
    assert (text_of(result), result.structured_content, result.is_error) == ("It is lost.", None, False)
    events = await only_run(log)
    assert (events[0].data["agent_name"], events[0].data["user_message"]) == ("clerk", "Where is A1?")
    assert events[0].data["context"] == {"user_id": "local user", "door": "mcp"}
    assert list(dict.fromkeys(message for _done, _total, message in told)) == [
        "step 1", "look_up ...", "look_up: 1 of 2 half of it", "look_up is done", "step 2",
    ]  # fmt: skip
    assert [done for done, _total, _message in told] == list(range(1, len(told) + 1))


class Place(BaseModel):
    """The final answer."""

    city: str


async def test_an_answer_of_a_type_is_data(era: Era, log: Path) -> None:
    agent = clerk('{"city": "Bonn"}', output_type=Place)
    async with client_of(MCPServer(agents=[agent], log=log), era) as client:
        await client.list_tools()
        for _ in range(2):
            # The second time it comes from the log.
            result = await client.call_tool("clerk", {"task": "Where is A1?"}, meta=named("k"))
            assert (text_of(result), result.structured_content) == ('{"city":"Bonn"}', {"city": "Bonn"})
    await only_run(log)


async def test_a_run_that_fails_is_a_failure(era: Era, log: Path) -> None:
    agent = clerk(ValueError("no such model"), fail_safe=FailSafeConfig(llm_failure_policy="fail_fast"), output_type=Place)
    async with client_of(MCPServer(agents=[agent], log=log), era) as client:
        await client.list_tools()
        result = await client.call_tool("clerk", {"task": "Where is A1?"})
    assert result.is_error
    assert "no such model" in text_of(result)


async def test_a_degraded_answer_says_what_is_missing(era: Era, log: Path) -> None:
    agent = clerk(ValueError("no such model"), fail_safe=FailSafeConfig(llm_failure_policy="degrade"))
    async with client_of(MCPServer(agents=[agent], log=log), era) as client:
        result = await client.call_tool("clerk", {"task": "Where is A1?"})
    assert not result.is_error
    assert "Incomplete:" in text_of(result)


@pytest.mark.parametrize("arguments", [{}, {"task": ""}, {"task": " \n"}, {"task": 7}, {"task": "x", "more": 1}, None])
async def test_what_is_no_task_is_a_failure_and_no_run(era: Era, log: Path, arguments: dict[str, Any] | None) -> None:
    async with client_of(MCPServer(agents=[clerk("It is lost.")], log=log), era) as client:
        result = await client.call_tool("clerk", arguments)
    assert result.is_error
    assert "clerk takes one argument, task" in text_of(result)
    assert not await runs_of(log)
