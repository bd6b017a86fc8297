"""How stdout is written: JSON that names its schema, tables and lines of a known width, colour where there is a terminal."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from afk_es.debugger import figures
from afk_es.debugger.figures import local as local
from afk_es.debugger.styled import STATUS_TONES as STATUS_TONES
from afk_es.debugger.styled import TICKET_TONES as TICKET_TONES
from afk_es.debugger.styled import Styled
from afk_es.log.postgres_address import without_secrets
from afk_es.machine.events import AgentRunEvent
from afk_es.views import table as table
from afk_es.views import visible, visible_json

WIDTH_WITHOUT_TERMINAL = 120

_STYLES: dict[str, dict[str, Any]] = {
    "quiet": {"dim": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red"},
    "mark": {"fg": "yellow"},
    "strong": {"bold": True},
}


def width() -> int:
    """Columns to write into: the terminal's, or a fixed number where there is none."""
    return shutil.get_terminal_size((80, 24)).columns if sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL


_STYLED = re.compile(r"(\x1b\[(?:0|1|2|3[1-3])m)")
"""What `toned` puts before and behind a text, and nothing else that a terminal obeys."""


def echo(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Write a text of ours, with whatever of others stands in it. Beside our own tones nothing in it moves a terminal; see `visible`.

    All that the command line says goes through here, but for JSON and exports, which see to it themselves.

    Args:
        err: to stderr.
        nl: end the line.
    """
    if not text.isprintable():
        parts = _STYLED.split(text)
        parts[::2] = [visible(part, multiline=True) for part in parts[::2]]
        text = "".join(parts)
    click.echo(text, err=err, nl=nl)  # noqa: TID251 - the one place


def progress(text: str, *, ended: bool) -> None:
    """How far it is, over what was said of that before, in one line of stderr. What is written next goes over the last one."""
    click.echo(f"\r{text:<40}" + ("\r" if ended else ""), nl=False, err=True)  # noqa: TID251 - it goes back by itself, and knows no text of others


def toned(text: str, tone: str) -> str:
    """The text in the colour of its tone. `click.echo` takes it out again where there is no terminal."""
    style = _STYLES.get(tone)
    return click.style(text, **style) if style is not None else text


def write_styled(lines: Iterable[Styled]) -> None:
    """Lines whose pieces have colours of their own."""
    for line in lines:
        echo("".join(toned(text, tone) for text, tone in line))


def note(text: str, tone: str = "quiet") -> None:
    """A line for people, on stderr; it may name what a log holds, and a log may be anybody's."""
    echo(toned(text, tone), err=True)


def write_json(value: dict[str, Any]) -> None:
    """One JSON value, indented for people and whole for programs."""
    click.echo(msgspec.json.format(visible_json(value), indent=2))  # noqa: TID251 - it is visible already


def write_json_line(value: dict[str, Any]) -> None:
    """One JSON value in one line."""
    click.echo(visible_json(value))  # noqa: TID251 - it is visible already


def event_json(event: AgentRunEvent) -> dict[str, Any]:
    """An event as JSON data, whole."""
    data: dict[str, Any] = msgspec.to_builtins(event)
    return data


def dollars(cost: float | None) -> str:
    """A cost for people; "-" where no answer carried a price."""
    return figures.dollars(cost) if cost is not None else "-"


def command(*words: str, db: str | None = None) -> str:
    """A command line that can be pasted, with the log that this one was called with; a password in its URL has to be typed again."""
    line = [*words, *(["--db", without_secrets(db)] if db is not None else [])]
    return f"{program()} {shlex.join(line)}"


def program() -> str:
    """How this program was called, so that what is printed can be pasted: its name where the PATH leads to it, else its path."""
    called = sys.argv[0]
    if Path(called) == Path(__file__).with_name("__main__.py"):
        return shlex.join([sys.executable, "-m", "afk_es.cli"])
    found = shutil.which("afk-es")
    if found is not None and os.path.exists(called) and os.path.samefile(found, called):
        return "afk-es"
    return shlex.quote(called) if Path(called).name.startswith("afk-es") else "afk-es"


def screen_width() -> int:
    """Columns of a screen that is made for 80, and gains a little from more."""
    return min(width(), 100) if sys.stdout.isatty() else 80
