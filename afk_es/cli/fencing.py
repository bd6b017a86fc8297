"""`--format md`: the text of a verb as a block of Markdown, to be pasted into an issue or a review. It knows no verb."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

FENCE = "`" * 4
"""One more than texts of models are used to have at the beginning of a line."""

_CLOSING = re.compile(r" {0,3}`{4,}[ \t]*\r?$")
"""A line that would end the block (CommonMark 4.5). Further in than three spaces it does not."""


class _Fenced:
    """Stdout, with a fence before the first thing that is written. What writes nothing gets none."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._line = ""
        self.begun = False

    def write(self, text: str) -> int:
        if text and not self.begun:
            self.begun = True
            self._stream.write(f"{FENCE}text\n")
        *lines, self._line = (self._line + text).split("\n")
        self._stream.write("".join(f"{_inside(line)}\n" for line in lines))
        return len(text)

    def end(self) -> None:
        """Write what has no end of line yet, and the fence."""
        if self.begun:
            self._stream.write(f"{_inside(self._line)}\n{FENCE}\n" if self._line else f"{FENCE}\n")
            self._stream.flush()

    def isatty(self) -> bool:
        """No: a block has no colours and a width that is known."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def fenced() -> Iterator[None]:
    """What is written to stdout meanwhile stands in a fence."""
    before = sys.stdout
    block = _Fenced(before)
    sys.stdout = block
    try:
        yield
    finally:
        sys.stdout = before
        block.end()


def _inside(line: str) -> str:
    return f"    {line}" if _CLOSING.match(line) else line
