"""A run's rows page by page, each checked before it is given out: the chain recomputed, the parts there and what their digest says.

For whoever reads a run whole and cannot hold it: a copy, and the check of one. It gives rows of a run's own; what a fork shares is another's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, Protocol

from afk_es.errors import CorruptLogError
from afk_es.log.codec import Codec, Row, chain_fork, chain_link, chain_start, pack
from afk_es.log.port import EventLog, RunHead, StoredLog
from afk_es.machine.events import EVENT_TYPES
from afk_es.machine.values import digest

PAGE = 100
"""Rows that are held at once, of one run."""
_PARTS_KNOWN = 4_096

_MAY_BE_PART = re.compile(r'\{"\$part":"([0-9a-f]{32})"\}')
"""What refers to a part in the data of a type that this version does not know. It may also be somebody's own text."""


class RowLog(EventLog, StoredLog, Protocol):
    """A log that gives its rows."""


class UnsoundError(Exception):
    """A row is not what was appended, or something of it is missing; the message says which."""


class Page(NamedTuple):
    """Rows that follow each other, and the parts they refer to that were not given out yet: JSON texts by digest."""

    rows: Sequence[Row]
    parts: dict[str, str]


class Pages:
    """Gives the runs of one log page by page. It remembers which parts it has checked.

    Args:
        log: where they are read.
    """

    def __init__(self, log: RowLog) -> None:
        self._log = log
        self._known: OrderedDict[str, None] = OrderedDict()
        self._codec = Codec()

    async def of(self, head: RunHead, *, after: int, link: bytes) -> AsyncIterator[Page]:
        """The rows of a run behind that seq, up to its head.

        Args:
            link: what the first of them is chained to: of the row at `after`, or see `start`.

        Raises:
            UnsoundError: here is one that is not what was appended. What was given out before is.
        """
        while after < head.seq:
            rows = await self._log.rows(head.run_id, after=after, limit=min(PAGE, head.seq - after))
            link = _checked(rows, after, link)
            try:
                yield Page(rows, await self._parts(rows))
            except CorruptLogError as error:
                raise UnsoundError(str(error)) from error
            after = rows[-1][0]

    async def _parts(self, rows: Sequence[Row]) -> dict[str, str]:
        needed = self._codec.references(rows)
        wanted = (needed | _guessed(rows)) - self._known.keys()
        found = await self._log.parts(wanted) if wanted else {}
        for key in sorted(wanted):
            if key not in found:
                if key in needed:
                    raise UnsoundError(f"the part {key} is missing")
            elif digest(found[key].encode("utf-8", "surrogatepass")) != key:
                raise UnsoundError(f"the part {key} was changed")
        self._remember(found)
        return found

    def _remember(self, keys: Iterable[str]) -> None:
        self._known.update(dict.fromkeys(keys))
        while len(self._known) > _PARTS_KNOWN:
            self._known.popitem(last=False)


async def start(log: RowLog, head: RunHead) -> tuple[int, bytes] | None:
    """The seq before the run's first own row, and what that row is chained to; None where it is a fork and what it shares is not here."""
    origin = head.forked_from
    if origin is None or not origin["seq"]:
        return 0, chain_start(head.run_id, head.thread_id)
    shared = await log.link(origin["run_id"], origin["seq"])
    return None if shared is None else (origin["seq"], chain_fork(bytes.fromhex(shared), head.run_id, head.thread_id))


def _checked(rows: Sequence[Row], after: int, link: bytes) -> bytes:
    """The link of the last row."""
    if not rows:
        raise UnsoundError(f"event {after + 1} is missing")
    for place, row in enumerate(rows, start=after + 1):
        if row[0] != place:
            raise UnsoundError(f"event {place} is missing: the next one stored is {row[0]}")
        link = chain_link(link, pack(row[:-1]))
        if link != row[-1]:
            raise UnsoundError(f"event {place} ({row[3]}) was changed: its hash does not follow from what is stored")
    return link


def _guessed(rows: Sequence[Row]) -> set[str]:
    """Digests that a newer version's events may refer to."""
    return {key for row in rows if row[3] not in EVENT_TYPES and '"$part"' in row[8] for key in _MAY_BE_PART.findall(row[8])}
