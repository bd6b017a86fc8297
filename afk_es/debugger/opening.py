"""A log by its name, open for reading only: nothing is written to it, no writer is kept waiting, and a file that is not there is not made."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from afk_es.errors import ConfigurationError
from afk_es.log import EventLog, open_log

GOLDEN = ".golden.jsonl"
"""What the name of a golden file ends with. It is read as a log in memory."""


@asynccontextmanager
async def reading(location: str) -> AsyncIterator[EventLog]:
    """The log, open for reading only: nothing is written to it, and no writer is kept waiting.

    Raises:
        LogError: there is none, or it cannot be read.
    """
    if location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    log = await opened(location)
    try:
        yield log
    finally:
        await log.close()


async def opened(location: str) -> EventLog:
    """The log, open for reading only, for whoever closes it; see `reading`."""
    if location.endswith(GOLDEN):
        # Read whole: a golden is as large as what people review.
        from afk_es.debugger.exchange.golden_runs import golden_log

        return await golden_log(location)
    log = open_log(location, read_only=True)
    await log.open()
    return log
