"""Text files as a model reads them: UTF-8, in pages of whole lines. What is not text is refused rather than shown as noise."""

from __future__ import annotations

from contextlib import suppress
from typing import BinaryIO

from afk_es.errors import ToolError

PAGE_CHARS = 10_000
"""Characters of a page at most. Below the 12 000 that a runner shows of an output by default, which would cut the page's end unseen."""

MAX_SCANNED_BYTES = 67_108_864
"""How far into a file a page may lie: it is found by reading the lines before it."""

_PIECE = 65_536
_MARK_ROOM = 80
"""Characters kept free for the line that says where to go on."""


def text_of_bytes(content: bytes, path: str) -> str:
    """The content of a text file; a byte order mark stays in it.

    Raises:
        ToolError: it is not UTF-8 text.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise _no_text(path) from error
    if "\0" in text:
        raise _no_text(path)
    return text


def read_page(file: BinaryIO, path: str, offset: int, limit: int, max_chars: int = PAGE_CHARS) -> str:
    """Lines of a text file, from line `offset` (the first is 1), at most `limit` and at most `max_chars` characters.

    Where lines follow, the last line says so in brackets and where to go on. A line longer than a page is cut, and that is said too.

    Raises:
        ToolError: it is not UTF-8 text, it has fewer lines, or the page lies too far into it.
    """
    _skip_lines(file, path, offset - 1)
    room = max(max_chars - _MARK_ROOM, 1)
    # Four bytes are the longest character, so what does not end within these is longer than the page.
    longest = 4 * max_chars + 4
    page = ""
    for number in range(offset, offset + limit):
        raw = file.readline(longest)
        if not raw:
            if offset > 1 and not page:
                raise ToolError(f"{path!r} has fewer than {offset} lines")
            return page
        line = _beginning(raw, path) if len(raw) == longest else text_of_bytes(raw, path)
        if number == 1:
            line = line.removeprefix("\ufeff")
        if len(page) + len(line) > room:
            return page + _go_on(number) if page else _cut_line(file, path, raw, line[:room], number)
        page += line
    return page + _go_on(offset + limit) if file.read(1) else page


def _skip_lines(file: BinaryIO, path: str, count: int) -> None:
    scanned = 0
    while count > 0 and (piece := file.readline(_PIECE)):
        scanned += len(piece)
        if scanned > MAX_SCANNED_BYTES:
            raise ToolError(f"{path!r} is too large to be read that far in")
        count -= piece.endswith(b"\n")


def _cut_line(file: BinaryIO, path: str, raw: bytes, shown: str, number: int) -> str:
    if not raw.endswith(b"\n"):
        _skip_lines(file, path, 1)
    follows = f"; continue with offset={number + 1}" if file.read(1) else ""
    return f"{shown}\n[the end of line {number} is left out, it is too long{follows}]"


def _go_on(number: int) -> str:
    return f"[more lines follow; continue with offset={number}]"


def _beginning(raw: bytes, path: str) -> str:
    """The text of a piece of a line, which may end within a character."""
    for cut in range(3):
        with suppress(ToolError):
            return text_of_bytes(raw[: len(raw) - cut], path)
    return text_of_bytes(raw[:-3], path)


def _no_text(path: str) -> ToolError:
    return ToolError(f"{path!r} is not a text file: it is binary, or not in UTF-8")
