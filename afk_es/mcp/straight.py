"""A client's call of a tool that only reads, done without a run: nothing of it is recorded, and so nothing of it can be gone on with."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from afk_es.errors import ConfigurationError
from afk_es.mcp.listing import Served
from afk_es.mcp.results import failure, success
from afk_es.tools import Tool, ToolContext, ToolDeferredHandle


def only_reads(tool: Tool[..., Any]) -> Tool[..., Any]:
    """The tool, which may be called without a record.

    Raises:
        ConfigurationError: it does not say that it changes nothing.
    """
    if not tool.read_only:
        raise ConfigurationError(f"{tool.name} does not say that it is read_only, so its calls are recorded; leave recorded=False out")
    return tool


async def called_straight(served: Served, arguments: dict[str, Any], ctx: ServerRequestContext[Any, Any]) -> CallToolResult:
    """Call the tool, telling the client its progress. Cancelling this cancels the tool, as far as it can be."""
    (tool,) = served.agent.tools
    progress = _Progress(ctx)
    telling = asyncio.create_task(progress.tell())
    try:
        result = await replace(tool, raise_on_error=False).call(arguments, ToolContext(progress=progress))
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling
    await progress.tell_last()
    if isinstance(result, ToolDeferredHandle):
        return failure(f"{tool.name} goes on in the background, of which nobody here is told; have its calls recorded")
    return success(result.output) if result.success else failure(result.error or f"{tool.name} failed and did not say why")


class _Progress:
    """What a tool says of its progress, perhaps in a thread of its own; where it says more than the client takes, the most of it."""

    def __init__(self, ctx: ServerRequestContext[Any, Any]) -> None:
        self._ctx = ctx
        self._loop = asyncio.get_running_loop()
        self._latest: tuple[float, float | None, str] | None = None
        self._said = asyncio.Event()
        self._told: float | None = None

    def __call__(self, progress: float, total: float | None, message: str) -> None:
        if self._latest is None or progress > self._latest[0]:
            self._latest = (progress, total, message)
        self._loop.call_soon_threadsafe(self._said.set)

    async def tell(self) -> None:
        """Tell the client, as long as this is not cancelled."""
        while True:
            await self._said.wait()
            self._said.clear()
            await self.tell_last()

    async def tell_last(self) -> None:
        """Tell the client what was said last. The protocol has it that progress only grows."""
        latest, self._latest = self._latest, None
        if latest is not None and (self._told is None or latest[0] > self._told):
            self._told = latest[0]
            with suppress(MCPError):
                await self._ctx.session.report_progress(*latest[:2], latest[2] or None)
