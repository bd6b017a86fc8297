"""Text in lines of a terminal: as many columns as there are, and no more lines than wanted. It knows nothing of runs."""

from __future__ import annotations

from collections.abc import Iterator

from afk_es.views import clipped, columns, visible

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
    line = ""
    for word in paragraph.split(" "):
        longer = f"{line} {word}" if line else word
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
