"""Waiting for what happens in another process, and tells nobody that it has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

_PATIENCE_S = 20.0


async def until(check: Callable[[], Awaitable[object]]) -> None:
    """Return when what the check looks at is so; after twenty seconds it is taken never to be."""
    async with asyncio.timeout(_PATIENCE_S):
        while not await check():  # noqa: ASYNC110 - it is not in this process
            await asyncio.sleep(0.005)
