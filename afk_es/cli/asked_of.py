"""What the verbs that look into a run have in common: the run, opened for reading, a range of it, and a line of progress."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from afk_es.cli import output
from afk_es.cli.invocation import Invocation
from afk_es.cli.places import place
from afk_es.cli.reading import parse_name, reading
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.listing import Range as Range
from afk_es.debugger.naming import named_run
from afk_es.debugger.recording import Recording

F = TypeVar("F", bound=Callable[..., Any])


def range_options(command: F) -> F:
    """Adds --from and --to, which take positions, both ends included."""
    command = click.option("--to", "last", metavar="POSITION", help="The last event that is looked at; default the run's last.")(command)
    return click.option("--from", "first", metavar="POSITION", help="The first event that is looked at; default the run's first.")(command)


@asynccontextmanager
async def recorded(invocation: Invocation, run: str) -> AsyncIterator[Recording]:
    """The run that a user named, of a log that is open for reading only."""
    name = parse_name(run, invocation)
    async with reading(name.location) as log:
        yield await Recording.open(log, await named_run(log, name.run), keyframes=KeyframeFile())


async def range_of(recording: Recording, first: str | None, last: str | None) -> Range:
    """The range between two positions. A seq may be one that a run which goes on does not have yet.

    Raises:
        PositionError: one of them is none, or the run does not have it.
    """
    after = await _seq(recording, first) - 1 if first is not None else 0
    return Range(after, await _seq(recording, last) + 1 if last is not None else None)


async def _seq(recording: Recording, text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= 18 else await place(recording, text)


def told(what: str) -> Callable[[int, int], None] | None:
    """Tells people at a terminal how far it is, in one line of stderr; None where there is nobody."""
    if not sys.stderr.isatty():
        return None

    def tell(done: int, total: int) -> None:
        ended = done >= total
        output.progress("" if ended else f"{what} {100 * done // max(total, 1):>3}%", ended=ended)

    return tell
