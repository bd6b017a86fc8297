"""The servers whose tools a Runner's runs may call: entered for the first run that needs one, left when no run is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from afk_es.agents import Agent
from afk_es.machine.spec import RunSpec
from afk_es.tools import Tool, ToolServer

Offered = Mapping[int, tuple[Tool[..., Any], ...]]
"""The tools of each server, by the server's id: an agent and its subagents may have two servers of one name."""


def servers_of(agent: Agent) -> Iterator[ToolServer]:
    """The servers of an agent and of its subagents, at every level."""
    yield from agent.mcp_servers
    for each in agent.subagents:
        yield from servers_of(each)


def recorded_of(server: ToolServer, spec: RunSpec) -> tuple[Tool[..., Any], ...]:
    """The tools of a server of an agent as a log has them."""
    return server.recorded(tool for tool in spec.tools if tool.server == server.name)


class Servers:
    """Those of one Runner.

    Args:
        used: whether a run goes on; asked when they are about to be left.
    """

    def __init__(self, used: Callable[[], bool]) -> None:
        self._used = used
        self._entered: dict[int, ToolServer] = {}
        self._stack = AsyncExitStack()
        self._turn: asyncio.Lock | None = None
        self._asking: set[asyncio.Task[Any]] = set()

    def waits(self, task: asyncio.Task[Any]) -> bool:
        """Whether the task is asking servers now."""
        return task in self._asking

    async def offered(self, agent: Agent) -> Offered:
        """What the servers of an agent, and of its subagents, have now. To be called while the Runner is in use.

        Raises:
            ToolError: a server cannot be reached.
        """
        servers = {id(server): server for server in servers_of(agent)}
        asking = asyncio.current_task()
        assert asking is not None
        self._asking.add(asking)
        try:
            for server in servers.values():
                await self._enter(server)
            # All at once: each may be a subprocess that takes its time to start.
            answers = await asyncio.gather(*(server.tools() for server in servers.values()), return_exceptions=True)
        finally:
            self._asking.discard(asking)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return dict(zip(servers, [answer for answer in answers if not isinstance(answer, BaseException)], strict=True))

    async def _enter(self, server: ToolServer) -> None:
        if self._turn is None:
            self._turn = asyncio.Lock()
        async with self._turn:
            if id(server) not in self._entered:
                await self._stack.enter_async_context(server)
                self._entered[id(server)] = server

    async def leave(self) -> None:
        """Leave them all, unless a run goes on by now."""
        if self._turn is None:
            return
        async with self._turn:
            if self._used():
                return
            stack, self._stack = self._stack, AsyncExitStack()
            self._entered.clear()
            await stack.aclose()
        # The next run may come in another event loop.
        self._turn = None
