"""The table of who met whom, how, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from afk_es.views import table

Result = Literal["passed", "FAILED", "left out"]
HEADER = ("ours", "theirs", "transport", "era", "what was done", "result", "note")

LEGACY, MODERN = "2025-11-25", "2026-07-28"


class Meeting(NamedTuple):
    """One thing that was tried.

    Attributes:
        ours, theirs: who met.
        era: the protocol's version that both spoke.
        what: that was done.
        note: why something was left out, or what failed.
    """

    ours: str
    theirs: str
    transport: str
    era: str
    what: str
    result: Result
    note: str = ""


def lines(meetings: Iterable[Meeting]) -> Iterator[str]:
    """The table, and a line that counts."""
    rows = list(meetings)
    yield from table(HEADER, rows, total=200)
    counts = {result: sum(row.result == result for row in rows) for result in ("passed", "FAILED", "left out")}
    yield f"{counts['passed']} passed, {counts['FAILED']} failed, {counts['left out']} left out"
