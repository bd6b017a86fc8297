"""The log that is asked about, opened for one question at a time, and what is meant by the names in a question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from difflib import get_close_matches

from afk_es.debugger.assistant.pages import harmless
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.naming import named_run
from afk_es.debugger.opening import reading
from afk_es.debugger.positions import resolve
from afk_es.debugger.recording import Recording
from afk_es.errors import AfkError, RunNotFoundError, ToolError
from afk_es.log import EventLog
from afk_es.redaction import Redaction

NAMED_AT_MOST = 5
"""Runs that an error names where the one that was asked for is not there."""

LONGEST_ERROR = 1_500


class Shelf:
    """Where the runs are.

    A path is opened read-only for each question and closed after it: between two of them nothing is held, and a log that is made, moved or
    grown meanwhile is seen as it is.

    Args:
        log: a path, a URL, or an EventLog that is open and stays so.
        redaction: what is kept back; None for nothing.
    """

    def __init__(self, log: str | EventLog, redaction: Redaction | None) -> None:
        self._log = log
        self.redaction: Redaction | None = redaction

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[EventLog]:
        """The log, for reading.

        Raises:
            ToolError: whatever was asked for cannot be told, as a sentence in which nothing of the log's acts.
        """
        try:
            if isinstance(self._log, str):
                async with reading(self._log) as log:
                    yield log
            else:
                yield self._log
        except AfkError as error:
            raise ToolError(self._sentence(str(error))) from None

    @asynccontextmanager
    async def recorded(self, run: str) -> AsyncIterator[Recording]:
        """The run that is meant, for reading.

        Args:
            run: an id, the unique beginning of one, "@last" or "@last-failed".

        Raises:
            ToolError: there is none, and the message names those that may have been meant; or it cannot be read.
        """
        async with self.opened() as log:
            yield await self.recording(log, run)

    async def recording(self, log: EventLog, run: str) -> Recording:
        """The run that is meant, of the open log."""
        try:
            return await Recording.open(log, await named_run(log, run), keyframes=KeyframeFile())
        except RunNotFoundError as error:
            raise RunNotFoundError(f"{error}{await _meant(log, run)}") from None

    def _sentence(self, text: str) -> str:
        text = self.redaction.text(text) if self.redaction is not None else text
        return harmless(text if len(text) <= LONGEST_ERROR else f"{text[:LONGEST_ERROR]}...")


async def _meant(log: EventLog, run: str) -> str:
    """The runs that may have been meant, as an end of a sentence."""
    if run.startswith("@"):
        return ""
    newest = await log.find("")
    close = get_close_matches(run, newest, n=NAMED_AT_MOST) or [run_id for run_id in newest if run.casefold() in run_id.casefold()]
    for size in range(len(run) - 1, 3, -1):
        # Of a log with many runs only the newest are known by name; the others can be found by how they begin.
        if close:
            break
        close = await log.find(run[:size])
    if close:
        return f". Did you mean {', '.join(close[:NAMED_AT_MOST])}?"
    return f". The newest are {', '.join(newest[:NAMED_AT_MOST])}" if newest else ". It has no run yet"


async def place(rec: Recording, at: str | int) -> int:
    """The seq of a position, seen from the end of the run; `@12`, as it is printed, is 12.

    Raises:
        PositionError: it is none, or the run does not have it.
    """
    text = str(at).strip()
    return await resolve(rec, text[1:] if text[:1] == "@" else text, await rec.last_seq())
