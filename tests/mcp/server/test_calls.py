"""Goal: a call of a tool is a run of the log, and its result is what the tool gave, in both eras of the protocol.

Method: the SDK's own client, in this process.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import ConfigurationError, LogFullError, ToolError
from afk_es.log.memory import MemoryEventLog
from afk_es.mcp import MCPServer
from afk_es.serving import Limited
from afk_es.tools import ToolContext, ToolDeferredHandle, ToolRegistry, tool
from tests.mcp.server.served import ERAS, Era, client_of, named, only_run, runs_of, text_of

both_eras = pytest.mark.parametrize("era", ERAS)


@tool(read_only=True)
def add(a: int, b: int = 1) -> int:
    """Add two numbers."""
    return a + b


@both_eras
async def test_a_call_is_a_run_of_two_turns(era: Era, log: Path) -> None:
    async with client_of(MCPServer([add], log=log), era) as client:
        result = await client.call_tool("add", {"a": 1, "b": 2})
    assert (text_of(result), result.structured_content, result.is_error) == ("3", {"result": 3}, False)
    events = await only_run(log)
    assert events[0].run_id == (result.meta or {})["afk_es/run_id"]
    assert events[0].data["agent_name"] == "add"
    assert events[0].data["user_message"] == 'add {"a":1,"b":2}'
    assert events[0].data["context"] == {"user_id": "local user", "door": "mcp"}
    assert [event.type for event in events].count("llm_called") == 2
    assert events[-1].type == "run_completed"


@tool
def give(what: str) -> Any:
    """Give something back."""
    return {
        "text": "a text",
        "nothing": None,
        "object": {"a": [1, 2]},
        "list": [1, {"b": None}],
        "bytes": b"\x00\xff",
        "date": dt.date(2026, 1, 2),
        "empty": "",
    }[what]


@both_eras
@pytest.mark.parametrize(
    ("what", "text", "data"),
    [
        ("text", "a text", None),
        ("nothing", "", None),
        ("object", '{"a":[1,2]}', {"a": [1, 2]}),
        ("list", '[1,{"b":null}]', {"result": [1, {"b": None}]}),
        ("bytes", "AP8=", None),
        ("date", "2026-01-02", None),
        ("empty", "", None),
    ],
)
async def test_what_a_tool_gives_is_text_and_data_where_it_is_data(era: Era, what: str, text: str, data: Any) -> None:
    async with client_of(MCPServer([give], log=":memory:"), era) as client:
        result = await client.call_tool("give", {"what": what})
    assert (text_of(result), result.structured_content, result.is_error) == (text, data, False)


@tool
def refuse() -> None:
    """Always say no."""
    raise ToolError("there is no such order")


@tool
def break_() -> None:
    """Break."""
    raise ValueError("7")


@tool(raise_on_error=True)
def insist() -> None:
    """Fail the run."""
    raise ValueError("8")


@tool(timeout=0.01)
async def hang() -> None:
    """Never end."""
    await asyncio.Event().wait()


@both_eras
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("refuse", {}, "there is no such order"),
        ("break_", {}, "ValueError: 7"),
        ("insist", {}, "ValueError: 8"),
        ("hang", {}, "hang did not finish within 0.01 s"),
        ("add", {"a": "x"}, "a: Input should be a valid integer"),
        ("add", {}, "a: Field required"),
        ("add", {"a": 1, "c": 2}, "c: "),
    ],
)
async def test_a_failure_is_told_to_the_model_behind_the_client(era: Era, name: str, arguments: dict[str, Any], told: str) -> None:
    async with client_of(MCPServer([refuse, break_, insist, hang, add], log=":memory:"), era) as client:
        result = await client.call_tool(name, arguments)
    assert result.is_error
    assert told in text_of(result)


@both_eras
async def test_a_tool_that_is_not_there_is_the_client_s_mistake_and_no_run(era: Era, log: Path) -> None:
    async with client_of(MCPServer([add], log=log), era) as client:
        with pytest.raises(MCPError, match=r"there is no tool 'ad'; did you mean add\?") as caught:
            await client.call_tool("ad", {})
    assert caught.value.code == -32602
    assert not await runs_of(log)


async def test_a_tool_without_a_timeout_of_its_own_has_the_server_s(log: Path) -> None:
    @tool
    async def hang_on() -> None:
        """Never end."""
        await asyncio.Event().wait()

    async with client_of(MCPServer([hang_on], log=log, timeout_s=0.01), "auto") as client:
        assert "hang_on did not finish within 0.01 s" in text_of(await client.call_tool("hang_on"))


@both_eras
async def test_a_tool_knows_who_calls_and_has_a_key_for_services_of_its_own(era: Era, log: Path) -> None:
    @tool
    def who(ctx: ToolContext) -> dict[str, Any]:
        """Say who calls."""
        return {"user": ctx.user_id, "key": ctx.idempotency_key, "agent": ctx.agent_name, "door": ctx.metadata["door"]}

    async with client_of(MCPServer([who], log=log), era) as client:
        data = (await client.call_tool("who")).structured_content
    key = data.pop("key")
    assert data == {"user": "local user", "agent": "who", "door": "mcp"}
    assert key


@both_eras
async def test_progress_only_grows(era: Era) -> None:
    told: list[tuple[float, float | None, str | None]] = []

    @tool
    async def count(ctx: ToolContext) -> None:
        """Count."""
        # What nobody watches yet is told to nobody.
        while not told:
            ctx.report_progress(1, 4, "1 done")
            await asyncio.sleep(0)
        for done in (3, 2, 4):
            ctx.report_progress(done, 4, f"{done} done")

    async def heard(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with client_of(MCPServer([count], log=":memory:"), era) as client:
        await client.call_tool("count", progress_callback=heard)
    assert told == [(1, 4, "1 done"), (3, 4, "3 done"), (4, 4, "4 done")]


async def test_what_a_policy_denies_is_not_run_and_the_reason_is_told(log: Path) -> None:
    rule = PolicyRule(rule_id="no-sums", action="deny", condition=lambda event: event.tool_name == "add", reason="no sums today")
    async with client_of(MCPServer([add], log=log, policy_engine=PolicyEngine(rules=[rule])), "auto") as client:
        result = await client.call_tool("add", {"a": 1})
    assert result.is_error
    assert "no sums today" in text_of(result)
    assert "tool_started" not in {event.type for event in await only_run(log)}


async def test_a_runner_of_the_user_s_is_used_as_it_is(log: Path) -> None:
    rule = PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "add")
    runner = Runner(log=log, policy_engine=PolicyEngine(rules=[rule]), config=RunnerConfig(approval_fallback="allow"))
    async with client_of(MCPServer([add], runner=runner), "auto") as client:
        # Headless, so nobody is asked, and the fallback of that Runner lets it run.
        assert text_of(await client.call_tool("add", {"a": 1})) == "2"


async def test_what_comes_later_from_the_background_is_the_result(log: Path) -> None:
    runner = Runner(log=log)
    resolving: list[asyncio.Task[Any]] = []

    @tool
    async def order(ctx: ToolContext) -> ToolDeferredHandle:
        """Order something."""

        async def deliver() -> None:
            async for event in (await runner.attach(run_id=ctx.run_id, by="test")).events:
                if event.type == "tool_deferred":
                    break
            await runner.resolve_background_tool(thread_id=ctx.thread_id, run_id=ctx.run_id, ticket_id="t1", output={"parcel": 7})

        resolving.append(asyncio.ensure_future(deliver()))
        return ToolDeferredHandle(ticket_id="t1", summary="ordered")

    async with client_of(MCPServer([order], runner=runner), "auto") as client:
        assert (await client.call_tool("order")).structured_content == {"parcel": 7}
        await asyncio.gather(*resolving)


@both_eras
async def test_texts_that_no_file_could_hold_are_repaired_and_not_fatal(era: Era, log: Path) -> None:
    @tool
    def echo(text: str) -> str:
        """Say it again."""
        return text

    async with client_of(MCPServer([echo], log=log), era) as client:
        assert text_of(await client.call_tool("echo", {"text": 'a "quoted"\n\x00 ü \U0001f600'})) == 'a "quoted"\n\x00 ü \U0001f600'


async def test_a_client_may_call_so_often_and_is_told_when_again() -> None:
    server = MCPServer([add], log=":memory:", rate_limit=Limited(2, per_s=3600))
    async with client_of(server, "auto") as client:
        results = [await client.call_tool("add", {"a": 1}) for _ in range(3)]
    assert [result.is_error for result in results] == [False, False, True]
    assert "too many calls; the next is let in after 1" in text_of(results[2])
    assert 1000 < (results[2].meta or {})["afk_es/retry_after_s"] <= 1800


@pytest.mark.parametrize("key", ["", "x" * 257, 7, ["a"]])
async def test_a_key_that_is_none_is_refused_and_no_run(log: Path, key: Any) -> None:
    async with client_of(MCPServer([add], log=log), "auto") as client:
        with pytest.raises(MCPError, match="idempotency_key is a text of 1 to 256 characters"):
            await client.call_tool("add", {"a": 1}, meta=named(key))
    assert not await runs_of(log)


class FullLog(MemoryEventLog):
    """A log without room."""

    async def append(self, *args: Any, **options: Any) -> Any:
        """Fail."""
        raise LogFullError("/home/ada/runs.db: the disk is full")


@both_eras
async def test_a_log_that_cannot_be_used_is_told_here_and_not_to_the_client(era: Era, caplog: pytest.LogCaptureFixture) -> None:
    async with client_of(MCPServer([add], log=FullLog()), era) as client:
        with pytest.raises(MCPError, match="add cannot be run now; the server's own log says why") as caught:
            await client.call_tool("add", {"a": 1})
    assert "ada" not in str(caught.value)
    assert "/home/ada/runs.db: the disk is full" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tools": [add, add]}, "two of what is served are named 'add'"),
        ({"tools": ["add"]}, "is no tool"),
        ({"tools": [add], "log": ":memory:", "runner": Runner(log=":memory:")}, "runner= has a log and policies of its own"),
        ({"tools": [add], "page_size": 0}, "page_size is at least 1"),
    ],
)
def test_what_cannot_be_served_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        MCPServer(**arguments)


def test_a_registry_is_served_with_its_middlewares_and_plain_functions_as_tools() -> None:
    def plain(a: int) -> int:
        """Give it back."""
        return a

    assert MCPServer(ToolRegistry([add, plain]), log=":memory:").names() == ("add", "plain")
    assert MCPServer([plain], log=":memory:").names() == ("plain",)
