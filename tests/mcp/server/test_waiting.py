"""Goal: no run of a call is left without somebody who can still have its result; and no such run is ended.

Method: calls that are cancelled, connections that are lost, and servers that end, while a tool waits.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from afk_es.core import AgentRunEvent, Runner
from afk_es.mcp import MCPServer
from afk_es.mcp.owners import Owners
from afk_es.mcp.places import Place
from tests.mcp.server.served import ERAS, Era, client_of, named, only_run, text_of
from tests.mcp.server.test_once import Counted

both_eras = pytest.mark.parametrize("era", ERAS)


async def end_of(server: MCPServer) -> AgentRunEvent:
    """The last event of the server's one run, once it has ended or was laid down."""
    (record,) = await server.runner.log.runs()
    events = [event async for event in (await server.runner.attach(run_id=record.run_id, by="test")).events]
    return events[-1]


async def cut(client: Client, begun: asyncio.Event, key: str | None = None) -> None:
    """Make a call, and cancel it while the tool waits."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: client.call_tool("pay", {"order": "A1"}, meta=named(key) if key else None))
        await begun.wait()
        tasks.cancel_scope.cancel()


@both_eras
async def test_a_call_without_a_key_that_is_cancelled_is_a_run_that_is_cancelled(era: Era, log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log)
    async with server.runner, client_of(server, era) as client:
        await cut(client, counted.begun)
        end = await end_of(server)
    assert (end.type, end.message) == ("run_cancelled", "the client cancelled the call")


async def test_a_call_with_a_key_that_its_client_says_it_cancels_is_cancelled_at_once(log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log, linger_s=3600)
    async with server.runner, client_of(server, "legacy") as client:
        await cut(client, counted.begun, "k")
        end = await end_of(server)
        again = await client.call_tool("pay", {"order": "A1"}, meta=named("k"))
    assert (end.type, end.message) == ("run_cancelled", "the client cancelled the call")
    assert (again.is_error, text_of(again)) == (True, "the call was cancelled")


async def test_a_call_with_a_key_that_is_merely_lost_goes_on_for_whoever_comes_again(log: Path) -> None:
    """In the protocol of 2026-07-28 a lost connection and a cancelled call look the same."""
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log, linger_s=3600)
    async with client_of(server, "auto") as client:
        await cut(client, counted.begun, "k")
        again = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        counted.go.set()
        assert text_of(await again) == "A1 paid, number 1"
    await only_run(log)


async def test_and_is_cancelled_where_nobody_comes_in_time(log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log, linger_s=0.01)
    async with server.runner, client_of(server, "auto") as client:
        await cut(client, counted.begun, "k")
        end = await end_of(server)
    assert (end.type, end.message) == ("run_cancelled", "the client that made the call is gone")


@both_eras
async def test_one_of_two_who_wait_may_leave(era: Era, log: Path) -> None:
    counted = Counted(waits=True)
    server = MCPServer([counted.tool], log=log, linger_s=0)
    async with client_of(server, era) as one, client_of(server, era) as other:
        left = asyncio.create_task(other.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await cut(one, counted.begun, "k")
        counted.go.set()
        assert text_of(await left) == "A1 paid, number 1"


async def closed_while(server: MCPServer, begun: asyncio.Event, key: str | None, then: Callable[[], Any] = lambda: None) -> None:
    """A connection ends in the middle of a call."""
    async with client_of(server, "legacy") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named(key) if key else None))
        await begun.wait()
        then()
    with pytest.raises(MCPError, match="Connection closed"):
        await call


@pytest.mark.parametrize(
    ("key", "end"), [("k", ("run_interrupted", "the server ends")), (None, ("run_cancelled", "the client cancelled the call"))]
)
async def test_a_server_that_ends_lays_down_what_its_caller_can_ask_for_again(log: Path, key: str | None, end: tuple[str, str]) -> None:
    counted = Counted(waits=True)
    await closed_while(MCPServer([counted.tool], log=log, drain_s=0), counted.begun, key)
    events = await only_run(log)
    assert (events[-1].type, events[-1].message) == end


async def test_a_call_that_comes_to_its_end_while_the_server_ends_is_not_cut(log: Path) -> None:
    counted = Counted(waits=True)

    def let_go() -> None:
        asyncio.get_running_loop().call_later(0.05, counted.go.set)

    await closed_while(MCPServer([counted.tool], log=log, drain_s=30), counted.begun, "k", let_go)
    assert (await only_run(log))[-1].type == "run_completed"


async def test_who_joins_a_run_of_another_process_that_dies_goes_on_with_it(log: Path) -> None:
    """The run's owner is a Runner that lays it down under our feet, as an operator may from another terminal."""
    counted = Counted(waits=True, read_only=True)
    server = MCPServer([counted.tool], log=log)
    async with Runner(log=log) as outside, client_of(server, "auto") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
        (record,) = await outside.log.runs()
        await (await outside.attach(run_id=record.run_id, by="ops")).interrupt("maintenance")
        result = await call
        assert (result.is_error, text_of(result)) == (True, "the call was laid down before its end: maintenance")
        counted.go.set()
        assert text_of(await client.call_tool("pay", {"order": "A1"}, meta=named("k"))) == "A1 paid, number 2"


@pytest.mark.parametrize("leaves", ["the connection ends", "nobody comes again"])
async def test_who_joined_a_run_of_another_process_leaves_it_to_that_one(log: Path, leaves: str) -> None:
    """Each server is a process of its own, as over stdio, where every client starts one."""
    counted = Counted(waits=True)
    first = MCPServer([counted.tool], log=log)
    other = MCPServer([counted.tool], log=log, drain_s=0, linger_s=0 if leaves == "nobody comes again" else 3600)
    arrived = asyncio.Event()

    async def seen(ctx: Any, call_next: Any) -> Any:
        if ctx.method == "tools/call":
            arrived.set()
        return await call_next(ctx)

    other.middleware.append(seen)
    async with client_of(first, "auto") as client:
        call = asyncio.create_task(client.call_tool("pay", {"order": "A1"}, meta=named("k")))
        await counted.begun.wait()
        async with client_of(other, "auto" if leaves == "nobody comes again" else "legacy") as joining:
            joined = asyncio.create_task(joining.call_tool("pay", {"order": "A1"}, meta=named("k")))
            await arrived.wait()
            if leaves == "nobody comes again":
                joined.cancel()
                await asyncio.wait([joined])
        await asyncio.wait([joined])
        assert joined.cancelled() or isinstance(joined.exception(), MCPError)
        counted.go.set()
        assert text_of(await call) == "A1 paid, number 1"
    assert [event.type for event in await only_run(log) if event.type == "control_requested"] == []


async def test_nothing_is_kept_of_a_request_that_another_takes_over_from_at_once(log: Path) -> None:
    """Whoever would see to the run of the first is stopped before it has begun."""
    async with Runner(log=log) as runner:
        owners = Owners(runner, linger_s=3600, drain_s=0)
        places: WeakSet[Place] = WeakSet()
        begun = asyncio.Event()

        async def wait() -> None:
            place = Place()
            places.add(place)
            with owners.waiting("request", place, "run", named=True):
                await begun.wait()

        first = asyncio.create_task(wait())
        await asyncio.sleep(0)
        first.cancel()
        second = asyncio.create_task(wait())
        await asyncio.wait([first])
        begun.set()
        await second
        del first, second
        await asyncio.sleep(0)
        gc.collect()
        assert list(places) == []
