"""The runs of a log as a list that is read as far as it is looked at: filtered, with forks and subagents' runs below what they came from."""

from __future__ import annotations

import msgspec

from afk_es.debugger.naming import status_of
from afk_es.log import EventLog, RunRecord
from afk_es.redaction import Redaction

PAGE = 100
"""Runs read at once: a page costs a scan of the events of its runs."""

_WATCHED = 20
"""Runs without an end that `refresh` looks at again, the newest ones."""

_DEEPEST = 32
"""A log is data, perhaps somebody's that leads in a circle."""


class RunRow(msgspec.Struct, frozen=True):
    """A run in the list.

    Attributes:
        status: for people: `crashed` where it has no end and nobody drives it.
        kin: what it is to the run above it that it came from.
        depth: levels below a run that came from nothing; 0 also where the run it came from is not in the list.
    """

    record: RunRecord
    status: str
    kin: str = ""
    depth: int = 0

    @property
    def reason(self) -> str:
        """Why it did not complete, where that is known; otherwise what it was asked."""
        if self.status != "completed" and self.record.ended and self.record.message:
            return self.record.message
        return self.record.user_message or ""


class RunList:
    """The runs of an open log, the newest first.

    Args:
        log: open, and left open.
        redaction: what is kept back of the texts; None for nothing.
    """

    def __init__(self, log: EventLog, redaction: Redaction | None = None) -> None:
        self._log = log
        self._redaction = redaction
        self._rows: dict[str, RunRow] = {}
        self._order: list[str] = []
        self._sought: dict[str, str] = {}
        self.complete: bool = False
        """Whether all runs of the log have been read."""

    def __len__(self) -> int:
        return len(self._order)

    async def load(self, limit: int = PAGE) -> int:
        """Read further runs, older than those read so far; how many there were."""
        page = await self._log.runs(limit=limit, before=self._order[-1] if self._order else None)
        self.complete = len(page) < limit
        for record in page:
            await self._take(record)
            self._order.append(record.run_id)
        return len(page)

    async def refresh(self) -> bool:
        """Read what is new: runs that began since, those without an end that went on, failed ones that were reopened. Whether there was any."""
        changed = await self._new_runs()
        watched = [run_id for run_id in self._order if self._rows[run_id].status in ("running", "paused", "interrupted", "crashed")]
        # What was reopened is looked for with what is left of one look: there may be many that failed, and few of them go on.
        watched += [run_id for run_id in self._order if self._rows[run_id].status == "failed"][: _WATCHED - len(watched[:_WATCHED])]
        for run_id in watched[:_WATCHED]:
            row = self._rows[run_id]
            head = await self._log.head(run_id)
            if head is not None and head.seq != row.record.seq:
                index = self._order.index(run_id)
                (record,) = await self._log.runs(limit=1, before=self._order[index - 1] if index else None)
                # A run that began meanwhile may stand at the front now; then the next look finds this one.
                if record.run_id == run_id:
                    await self._take(record)
                    changed = True
            elif not row.record.ended and await status_of(self._log, row.record) != row.status:
                await self._take(row.record)
                changed = True
        return changed

    async def _new_runs(self) -> bool:
        before, fresh = None, []
        size = 1
        while page := await self._log.runs(limit=size, before=before):
            new = [record for record in page if record.run_id not in self._rows]
            fresh += new
            if len(new) < len(page):
                break
            before, size = page[-1].run_id, PAGE
        for record in fresh:
            await self._take(record)
        self._order[:0] = [record.run_id for record in fresh]
        return bool(fresh)

    async def _take(self, record: RunRecord) -> None:
        status = await status_of(self._log, record)
        if self._redaction is not None:
            asked = self._redaction.text(record.user_message) if record.user_message is not None else None
            record = msgspec.structs.replace(record, user_message=asked, message=self._redaction.text(record.message))
        row = RunRow(record, status)
        self._rows[record.run_id] = row
        self._sought[record.run_id] = " ".join(
            (status, record.run_id, record.thread_id, record.agent_name, record.message, record.user_message or "")
        ).casefold()

    def rows(self, words: str = "") -> list[RunRow]:
        """The runs read so far that have all of these words in their status, ids, agent, task or reason; families together.

        A family stands where its first run does. A run whose parent is not among them is indented all the same, and says what it is.
        """
        wanted = words.casefold().split()
        shown = [run_id for run_id in self._order if all(word in self._sought[run_id] for word in wanted)]
        there = set(shown)
        below: dict[str, list[str]] = {}
        roots = []
        for run_id in shown:
            origin = _origin(self._rows[run_id].record)[0]
            if origin in there and origin != run_id:
                below.setdefault(origin, []).append(run_id)
            else:
                roots.append(run_id)
        found: list[RunRow] = []
        for run_id in roots:
            self._family(run_id, 0, below, found)
        if len(found) < len(shown):
            # Origins that lead in a circle have no first run.
            placed = {row.record.run_id for row in found}
            found += [self._rows[run_id] for run_id in shown if run_id not in placed]
        return found

    def _family(self, run_id: str, depth: int, below: dict[str, list[str]], found: list[RunRow]) -> None:
        row = self._rows[run_id]
        found.append(msgspec.structs.replace(row, kin=_origin(row.record)[1], depth=depth))
        if depth < _DEEPEST:
            # Oldest first below a run: the order in which it started them.
            for child in reversed(below.get(run_id, ())):
                self._family(child, depth + 1, below, found)


def forked_from(record: RunRecord) -> str | None:
    """The run that this one is a fork of, or None."""
    # Records of logs from before there were forks have no such field.
    origin = getattr(record, "forked_from", None)
    return origin["run_id"] if origin is not None else None


def _origin(record: RunRecord) -> tuple[str, str]:
    """The run that a run came from, and what it is to it."""
    if record.parent_run_id is not None:
        return record.parent_run_id, "subagent"
    origin = forked_from(record)
    return (origin, "fork") if origin is not None else ("", "")
