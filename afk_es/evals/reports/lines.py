"""Lines of a terminal: what they are made of, and text in as many columns as there are, in no more lines than wanted. It knows nothing of runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from afk_es.views import clipped, columns, visible

Tone = Literal["plain", "quiet", "good", "bad", "mark", "strong"]
"""How something is meant; each form has a colour for it, or none."""

Piece = tuple[str, Tone]
"""A part of a line, and how it is meant. The text is harmless by now."""

StyledLine = tuple[Piece, ...]
"""A line of a terminal."""

_LONGEST = 20_000
"""Characters that are looked at; an output may be megabytes."""


def wrapped(text: str, width: int, most: int) -> list[str]:
    """The text, harmless, in lines of at most that many columns, broken between words; the last one says so where there is more.

    Args:
        text: anything.
        width: columns, at least 8.
        most: lines, at least 1.
    """
    width = max(8, width)
    lines = [line for paragraph in visible(text[:_LONGEST], multiline=True).expandtabs(4).split("\n") for line in _broken(paragraph, width)]
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], clipped(f"{lines[most - 1]}{'…' * width}", width)]


def _broken(paragraph: str, width: int) -> Iterator[str]:
    words = paragraph.lstrip().split(" ")
    # What is indented stays so, unless that is all there would be room for.
    line = " " * min(len(paragraph) - len(paragraph.lstrip()), width // 2)
    for place, word in enumerate(words):
        longer = f"{line} {word}" if place and line else f"{line}{word}"
        if columns(longer) <= width:
            line = longer
            continue
        if line:
            yield line
        *full, line = _pieces(word, width)
        yield from full
    yield line


def _pieces(word: str, width: int) -> list[str]:
    """A word that may be longer than a line, in pieces."""
    pieces = [""]
    for character in word:
        if columns(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
