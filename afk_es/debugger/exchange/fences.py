"""Text of others in Markdown: as code, in which nothing is a link, a mention or markup."""

from __future__ import annotations

import re

from afk_es.debugger.exchange.markup import cut
from afk_es.views import visible

_MOST_CHARACTERS = 20_000
_TICKS = re.compile("`+")


def code(text: str, limit: int = 400) -> str:
    """The text in one line as code, with more backticks around it than are in it."""
    line = " ".join(visible(text[:limit], multiline=True).split()) + ("…" if len(text) > limit else "")
    if not line:
        return "` `"
    fence = "`" * (max(map(len, _TICKS.findall(line)), default=0) + 1)
    space = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{space}{line}{space}{fence}"


def cell(text: str) -> str:
    """For a table, in which a bar ends the cell, also within code."""
    return text.replace("|", "\\|")


def block(text: str, language: str = "text") -> str:
    """The text as a block of code, with a longer fence around it than any in it."""
    shown = visible(cut(text, _MOST_CHARACTERS), multiline=True)
    fence = "`" * max(3, max(map(len, _TICKS.findall(shown)), default=0) + 1)
    return f"{fence}{language}\n{shown}\n{fence}"
