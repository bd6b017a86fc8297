"""A connection lasts as long as somebody uses the client, is made again when it is lost, and all that belongs to it ends with it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner
from afk_es.errors import ToolError, ToolUnavailableError
from afk_es.mcp import MCPClient
from afk_es.serving import HttpServer
from tests.mcp.client.remote import agent_of, asks, called, over_http, shop

RAW = Path(__file__).with_name("raw_server.py")


def raw(behaviour: str, notes: Path | None = None, **options: Any) -> MCPClient:
    words = [sys.executable, str(RAW), behaviour, *([str(notes)] if notes is not None else [])]
    return MCPClient(words, **{"name": "raw", "protocol": "legacy", **options})


def told(notes: Path) -> str:
    """What the server has noted."""
    return notes.read_text() if notes.exists() else ""


def pids(notes: Path) -> list[int]:
    return [int(line.split()[1]) for line in told(notes).splitlines() if line.startswith("pid ")]


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


async def test_the_subprocess_has_ended_with_the_run_that_needed_it(notes: Path) -> None:
    result = await called(raw("", notes), ("raw_work", {}))
    assert result.tool_executions[0].output == "worked"
    assert "end of input" in told(notes)
    assert not any(lives(pid) for pid in pids(notes))


def test_a_program_that_runs_three_times_ends(notes: Path) -> None:
    """Each has an event loop of its own, and a subprocess of its own."""
    runner = Runner(log=":memory:")
    agent = agent_of(raw("", notes), script=[asks(("raw_work", {})), "done"] * 3)
    assert [runner.run_sync(agent).state for _ in range(3)] == ["completed"] * 3
    assert len(set(pids(notes))) == 3
    assert not any(lives(pid) for pid in pids(notes))


async def test_a_runner_that_is_kept_open_keeps_it(notes: Path) -> None:
    client = raw("", notes)
    agent = agent_of(client, script=[asks(("raw_work", {})), "done"] * 3)
    async with Runner(log=":memory:") as runner:
        for _ in range(3):
            assert (await runner.run(agent)).state == "completed"
        assert len(pids(notes)) == 1
        assert lives(pids(notes)[0])
    assert not lives(pids(notes)[0])


async def test_nothing_is_started_before_it_is_needed(notes: Path) -> None:
    async with raw("", notes):
        await asyncio.sleep(0)
    assert not told(notes)


async def test_a_client_may_be_entered_and_left_by_any_tasks(notes: Path) -> None:
    """The SDK's scopes must not care who comes and goes."""
    client = raw("", notes)
    inside, leave = asyncio.Event(), asyncio.Event()

    async def holder() -> None:
        async with client:
            await client.tools()
            inside.set()
            await leave.wait()

    first = asyncio.create_task(holder())
    await inside.wait()
    async with client:
        leave.set()
        await first
        assert [tool.name for tool in await client.tools()] == ["raw_work"]
    assert len(pids(notes)) == 1
    assert not lives(pids(notes)[0])


async def test_a_cancelled_start_leaves_no_process(notes: Path) -> None:
    starting = asyncio.create_task(called(raw("silent", notes), ("raw_work", {})))
    while not pids(notes):  # noqa: ASYNC110 - another process says so
        await asyncio.sleep(0.005)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert not lives(pids(notes)[0])


async def test_a_server_that_does_not_answer_is_waited_for_no_longer_than_said(notes: Path) -> None:
    with pytest.raises(ToolUnavailableError, match=r"server 'raw' \(the command .*\) cannot be reached: no answer within 0\.3 s"):
        await called(raw("silent", notes, connect_timeout_s=0.3), ("raw_work", {}))
    assert len(pids(notes)) == 1
    assert not lives(pids(notes)[0])


async def test_one_that_ends_at_once_is_tried_again_and_then_given_up(notes: Path) -> None:
    with pytest.raises(ToolUnavailableError, match=r"cannot be reached: it ended with exit code 1"):
        await called(raw("ends at once", notes), ("raw_work", {}))
    assert len(pids(notes)) == 3


async def test_why_it_went_is_told_also_where_it_takes_its_time() -> None:
    """Its output is at an end before it has an exit code; whoever was told of the one at once would never hear of the other."""
    code = "import os, sys, time; os.close(1); time.sleep(0.1); sys.exit('there is no module nomod')"
    with pytest.raises(ToolUnavailableError, match="it ended with exit code 1, and had said: there is no module nomod"):
        await called(MCPClient([sys.executable, "-c", code], name="slow"), ("x", {}))


async def test_a_command_that_there_is_not_is_said() -> None:
    with pytest.raises(ToolUnavailableError, match="there is no 'no-such-program'"):
        await called(MCPClient(["no-such-program"]), ("x", {}))


async def test_a_server_that_dies_in_a_call_is_told_and_started_again_for_the_next(notes: Path) -> None:
    client = raw("dies once", notes)
    agent = agent_of(client, script=[asks(("raw_work", {"n": 1})), asks(("raw_work", {"n": 2})), "done"])
    async with Runner(log=":memory:") as runner:
        result = await runner.run(agent)
        failed = [event for event in await runner.log.read(result.run_id) if event.type == "tool_failed"]
    assert [record.success for record in result.tool_executions] == [False, True]
    (failure,) = failed
    assert failure.data["classification"] == "retryable"
    assert "whether it did its work is not known" in failure.data["error"]
    assert len(pids(notes)) == 2


async def test_a_server_that_died_between_two_calls_is_started_again(notes: Path) -> None:
    """Nothing had been sent, so the call is as good as new."""
    async with raw("", notes) as client:
        (work,) = await client.tools()
        os.kill(pids(notes)[0], signal.SIGKILL)
        while next(iter(client._uses.values())).connection.lost is False:  # type: ignore[union-attr]  # noqa: ASYNC110 - the kernel tells when
            await asyncio.sleep(0.005)
        outcome = await work.call({})
        assert getattr(outcome, "output", None) == "worked", outcome
    assert len(pids(notes)) == 2


async def test_a_call_in_time_or_not_at_all(notes: Path) -> None:
    """The server is told that nobody waits for it any more."""
    result = await called(raw("never", notes, timeout_s=0.3), ("raw_work", {}))
    assert result.tool_executions[0].error == "raw_work did not finish within 0.3 s"
    assert "notifications/cancelled" in told(notes)


async def test_a_cancelled_run_cancels_the_call(notes: Path) -> None:
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent_of(raw("never", notes), script=[asks(("raw_work", {})), "done"]))
        while "tools/call" not in told(notes):  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(0.005)
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert "notifications/cancelled" in told(notes)


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_a_server_that_was_started_anew_behind_its_address_is_called_again(era: str) -> None:
    """By the older protocol it does not know the session any more, and has not begun with the call."""
    async with HttpServer(shop().streamable_http_app(), drain_s=0.1) as first:
        port = int(first.url.rstrip("/").rpartition(":")[2])
        client = MCPClient(f"{first.url.rstrip('/')}/mcp", name="shop", protocol=era)
        await client.__aenter__()
        find, *_others = await client.tools()
    try:
        async with HttpServer(shop().streamable_http_app(), port=port, drain_s=0.1):
            outcome = await find.call({"order": "A"})
            assert getattr(outcome, "output", None) == {"result": "A: 80 of 10"}, outcome
    finally:
        await client.__aexit__(None, None, None)


async def test_a_server_that_is_away_is_told_of_and_found_when_it_is_back() -> None:
    async with HttpServer(shop().streamable_http_app(), drain_s=0.1) as first:
        port = int(first.url.rstrip("/").rpartition(":")[2])
        client = MCPClient(f"{first.url.rstrip('/')}/mcp", name="shop")
        await client.__aenter__()
        find, *_others = await client.tools()
    try:
        away = await find.call({"order": "A"})
        assert "server 'shop'" in str(getattr(away, "error", None)), away
        async with HttpServer(shop().streamable_http_app(), port=port, drain_s=0.1):
            outcome = await find.call({"order": "A"})
            assert getattr(outcome, "output", None) == {"result": "A: 80 of 10"}, outcome
    finally:
        await client.__aexit__(None, None, None)


async def test_a_tool_outside_of_any_use_says_how() -> None:
    client = MCPClient(shop())
    async with client:
        find, *_others = await client.tools()
    with pytest.raises(ToolError, match="is not in use here"):
        await client.tools()
    assert "async with client" in str(getattr(await find.call({"order": "A"}), "error", None))


async def test_addresses_are_shared_by_any_number_of_runs_at_once() -> None:
    async with over_http(shop()) as url:
        client = MCPClient(url, name="shop")
        results = await asyncio.gather(*(called(client, *[("shop_find", {"order": str(number)})] * 4) for number in range(5)))
    assert all(record.success for result in results for record in result.tool_executions)
