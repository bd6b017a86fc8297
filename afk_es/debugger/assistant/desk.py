"""What the questions have in common: the log, the size of an answer, the calls that it proposes, and how a run and a place are named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Annotated, Any

from pydantic import Field

from afk_es.debugger.assistant import pages
from afk_es.debugger.assistant.pages import harmless
from afk_es.debugger.assistant.shelf import Shelf
from afk_es.debugger.recording import Progress
from afk_es.redaction import Redaction
from afk_es.tools import ToolContext

WIDTH = 240
"""Columns of a line of the layouts that cut. A model reads long lines as well as short ones; whole texts are for `show` and `state`."""

Answer = dict[str, Any]
"""Of every question: what it is about, as ids and places; `next`, the calls to go on with, the first of them the rest of this answer where there is
one; and `text`, for reading, quoted and bounded. The text comes last, so that whoever cuts an answer off loses none of the others.
"""

Run = Annotated[
    str, Field(description="The run: its id or the unique beginning of it, @last, or @last-failed (the newest that failed or crashed).")
]
Place = Annotated[
    str | int,
    Field(
        description="A place: an event's number (printed as @12), llm:2, tool:search#3, step:3, err:first, err:last, fatal, start, end, -5."
    ),
]
AfterLine = Annotated[int, Field(ge=0, description="For the next page, as `next` has it: lines to leave out.")]


class Desk:
    """Where the questions to one log are answered.

    Args:
        shelf: where the log is, and what is kept back of it.
        room: characters of the text of an answer.
        prefix: what the names of the tools begin with, for the calls that answers propose.
    """

    def __init__(self, shelf: Shelf, *, room: int, prefix: str) -> None:
        self.shelf: Shelf = shelf
        self._room = room
        self._prefix = prefix

    @property
    def redaction(self) -> Redaction | None:
        """What is kept back; None for nothing."""
        return self.shelf.redaction

    def page(self, lines: Iterable[str], after: int = 0) -> pages.Page:
        """As many of the lines as there is room for, behind the first `after`."""
        return pages.page(lines, after=after, room=self._room)

    async def page_of(self, lines: AsyncIterator[str], after: int) -> pages.Page:
        """The same of lines that are read as far as there is room for them."""
        paper = pages.Paper(after=after, room=self._room)
        async for line in lines:
            if not paper.take(line):
                break
        return paper.page()

    def call(self, tool: str, **arguments: Any) -> Answer:
        """A call to go on with; arguments that are None are left out."""
        given = {name: harmless(value) if isinstance(value, str) else value for name, value in arguments.items() if value is not None}
        return {"tool": f"{self._prefix}{tool}", "arguments": given}

    def rest(self, after_line: int | None, tool: str, **arguments: Any) -> list[Answer]:
        """The call for the next page, where there is one."""
        return [self.call(tool, **arguments, after_line=after_line)] if after_line is not None else []


def told(ctx: ToolContext, what: str) -> Progress:
    """Tells whoever waits how far it is, a hundred times at most."""
    last = -1

    def tell(done: int, total: int) -> None:
        nonlocal last
        percent = 100 * done // max(total, 1)
        if percent > last:
            last = percent
            ctx.report_progress(done, total, what)

    return tell
