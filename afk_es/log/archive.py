"""Whole runs of a log in a SQLite file of their own: copied to the byte, so with the same hash chains, and compared again before the log goes.

A log forgets nothing, so what gets smaller is how many logs there are: one for a month, archived to a file and dropped as a whole. A run is
archived when it has ended for good; one that may go on is left where it is, and so is a fork of it. What was archived before is compared and
left alone, so whoever is killed is called again, and two may do it at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, cast

import msgspec

from afk_es.errors import CorruptLogError, HeadConflictError, InvalidEventError, RunNotFoundError, UsageError
from afk_es.log.codec import microseconds
from afk_es.log.port import EventLog, RunHead, StoredLetter, StoredLog
from afk_es.log.soundness import Pages, RowLog, UnsoundError, start
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine.events import TERMINAL

LISTED = 100
"""Runs that a report names, of those that are not in the archive; it counts all."""

_ENDED = TERMINAL - {"run_interrupted"}
_HEADS_AT_ONCE = 200
_AT_ONCE = 16
"""Threads that are copied together: they share the file's transactions."""
_TRIES = 10
_KNOWN = 100_000
"""Threads and runs that are remembered, to be looked at once."""
_MOST_KIN = 10_000

Fate = Literal["copied", "grown", "there", "open", "waits", "missing", "differs", "damaged"]
"""What became of a run: copied whole; what had come since was added; it was there; it may go on; what it shares is not archived; the archive
has none of it, or less; the archive has another run, or another letter, in its place; what is stored of it is not what was appended."""


class RunFate(msgspec.Struct, frozen=True):
    """What became of a run.

    Attributes:
        reason: in words, where it is not (whole) in the archive.
        events: that were written, or, of a check, that are the same in both.
        bytes: of their data.
    """

    run_id: str
    fate: Fate
    reason: str = ""
    events: int = 0
    letters: int = 0
    bytes: int = 0


class ArchiveReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an archiving did, or a check found.

    Attributes:
        log: which log.
        archive: the file.
        runs: how many were looked at.
        fates: how many there are of each `Fate`; those that there are none of are left out.
        events: that were written, or compared.
        letters: that were written, or compared.
        bytes: of the data of these events.
        left: runs that are not in the archive as they are in the log, the first `LISTED` of them.
    """

    log: str
    archive: str
    runs: int = 0
    fates: dict[Fate, int] = {}
    events: int = 0
    letters: int = 0
    bytes: int = 0
    left: tuple[RunFate, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every run that was looked at is in the archive, whole: of a check of all, whether the log may go."""
        return not self.fates.keys() - {"copied", "grown", "there"}

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged, and nothing in the place of something else."""
        return not self.fates.keys() & {"differs", "damaged"}


async def archive_runs(
    log: EventLog,
    archive: SqliteEventLog,
    *,
    ended_before: dt.datetime | None = None,
    threads: Sequence[str] = (),
    tell: Callable[[RunFate], None] | None = None,
) -> ArchiveReport:
    """Copy runs that have ended for good into a log file, with all that they build on, and read back what was written.

    Args:
        log: open; it is only read.
        archive: open for writing. What is there is gone on with.
        ended_before: only runs whose last event is older; None: all. A run that one of these builds on comes along in any case: the runs
            of its subagents, what it was forked from, the runs of its thread that its memory is of.
        threads: only runs of these threads, and what they build on; none named: of all.
        tell: called with each run's fate.

    Returns:
        What was done. A run that is open is left out and in the report; so is one that is damaged, up to where it is sound.

    Raises:
        UsageError: a log that does not give its rows, or the archive itself. Nothing was written.
        RunNotFoundError: no such thread. Nothing was written.
        LogError: one of the two could not be read or written, as where the disk is full. What was archived before is: go on from there.
    """
    source = _rows_of(log)
    if log.location == archive.location:
        raise UsageError(f"{archive.location} is the log itself; name another file")
    archiver = _Archiver(source, archive, ended_before, tell)
    return await archiver.run([await _heads_of(source, thread_id) for thread_id in threads] if threads else None)


async def check_archive(log: EventLog, archive: EventLog, *, tell: Callable[[RunFate], None] | None = None) -> ArchiveReport:
    """Whether all of a log is in an archive, to the byte: each run of it has ended and has the same links there, and what the archive has
    stored of it follows from them. Only then `complete`: the log may go, if nobody writes to it any more.

    Raises:
        UsageError: a log that does not give its rows, or the archive itself.
        LogError: one of the two could not be read.
    """
    source, target = _rows_of(log), _rows_of(archive)
    if log.location == archive.location:
        raise UsageError(f"{archive.location} is the log itself; name another file")
    tally = _Tally(tell)
    pages = Pages(target)
    async for head in _all_heads(source):
        tally.add(await _compared(source, target, pages, head))
    return tally.report(log, archive)


class _Tally:
    """Adds up what became of runs."""

    def __init__(self, tell: Callable[[RunFate], None] | None) -> None:
        self._tell = tell
        self._fates: Counter[Fate] = Counter()
        self._sums: Counter[str] = Counter()
        self._left: list[RunFate] = []

    def add(self, found: RunFate) -> None:
        self._fates[found.fate] += 1
        self._sums.update(runs=1, events=found.events, letters=found.letters, bytes=found.bytes)
        if found.fate not in ("copied", "grown", "there") and len(self._left) < LISTED:
            self._left.append(found)
        if self._tell is not None:
            self._tell(found)

    def report(self, log: EventLog, archive: EventLog) -> ArchiveReport:
        sums: dict[str, Any] = dict(self._sums)
        return ArchiveReport(log=log.location, archive=archive.location, fates=dict(self._fates), left=tuple(self._left), **sums)


class _Archiver:
    """One archiving."""

    def __init__(
        self, source: RowLog, target: SqliteEventLog, ended_before: dt.datetime | None, tell: Callable[[RunFate], None] | None
    ) -> None:
        self._source = source
        self._target = target
        self._before = microseconds(ended_before) if ended_before is not None else None
        self._out = Pages(source)
        self._back = Pages(target)
        self._tally = _Tally(tell)
        self._threads: OrderedDict[str, None] = OrderedDict()
        self._done: OrderedDict[str, asyncio.Event | None] = OrderedDict()
        self._all = ended_before is None

    async def run(self, named: list[list[RunHead]] | None) -> ArchiveReport:
        group: list[list[RunHead]] = []
        self._all = self._all and named is None
        async for heads in self._every_thread() if named is None else _listed(named):
            group.append(heads)
            if len(group) == _AT_ONCE:
                await self._together(group)
                group = []
        await self._together(group)
        return self._tally.report(self._source, self._target)

    async def _every_thread(self) -> AsyncIterator[list[RunHead]]:
        """The runs of each thread, in the order in which they ended: a thread keeps its order elsewhere."""
        async for head in _all_heads(self._source):
            if head.thread_id in self._threads:
                continue
            heads = await self._source.thread(head.thread_id)
            # A thread that was forgotten again is known by this: its first run came by before.
            if min(heads, key=lambda each: each.first_position).run_id == head.run_id:
                self._threads[head.thread_id] = None
                _shrink(self._threads)
                yield heads

    async def _together(self, group: list[list[RunHead]]) -> None:
        for found in await asyncio.gather(*map(self._thread, group), return_exceptions=True):
            # Raised when the others have come to their end: nothing may still read from a log that is being closed.
            if isinstance(found, BaseException):
                raise found

    async def _thread(self, heads: list[RunHead]) -> None:
        for head in heads:
            if await self._is_chosen(head):
                for each in await self._belonging(head):
                    await self._once(each)

    async def _once(self, head: RunHead) -> None:
        """Bring a run into the archive, or wait for whoever is just doing it: a fork can follow only then."""
        if head.run_id in self._done:
            if (under_way := self._done[head.run_id]) is not None:
                await under_way.wait()
            return
        done = self._done[head.run_id] = asyncio.Event()
        try:
            self._tally.add(await self._settled(head))
        finally:
            done.set()
            self._done[head.run_id] = None
            _shrink(self._done)

    async def _is_chosen(self, head: RunHead) -> bool:
        if self._before is None:
            return True
        last = await self._source.rows(head.run_id, after=head.seq - 1, limit=1)
        return not last or last[0][2] < self._before

    async def _belonging(self, head: RunHead) -> list[RunHead]:
        """The run and what has to come with it, each behind the one it was forked from."""
        found: dict[str, RunHead] = {}
        left = [head.run_id]
        while left and len(found) < _MOST_KIN:
            name = left.pop()
            if name in found:
                continue
            each = head if name == head.run_id else await self._source.head(name)
            if each is None:
                continue  # Such as a subagent's run that never began.
            found[name] = each
            if name in self._done:
                continue
            if each.forked_from is not None:
                left.append(each.forked_from["run_id"])
            if not self._all:
                left += await _builds_on(self._source, each)
        return sorted(found.values(), key=lambda each: each.first_position)

    async def _settled(self, head: RunHead) -> RunFate:
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._brought(head)
            except (HeadConflictError, InvalidEventError):
                # Another archiving was faster with this run; what it has not written is left to do.
                if attempt == _TRIES:
                    raise
        raise AssertionError("unreachable")

    async def _brought(self, head: RunHead) -> RunFate:
        there = await self._target.head(head.run_id)
        if (left := await _unfit(self._source, self._target, head, there)) is not None:
            return left
        begun = await start(self._target, head)
        if begun is None:
            return RunFate(head.run_id, "waits", f"it was forked from {_base(head)}, which is not archived")
        if there is not None:
            begun = there.seq, bytes.fromhex(cast(str, await self._target.link(head.run_id, there.seq)))
        after, link = begun
        last = link
        events = size = 0
        try:
            async for page in self._out.of(head, after=after, link=link):
                await self._target.append_rows(head, page.rows, page.parts)
                events += len(page.rows)
                size += sum(len(row[8]) for row in page.rows)
                last = page.rows[-1][-1]
            async for page in self._back.of(head, after=after, link=link):
                link = page.rows[-1][-1]
        except UnsoundError as error:
            return RunFate(head.run_id, "damaged", str(error), events=events, bytes=size)
        if link != last:
            raise CorruptLogError(f"{self._target.location}: the copy of run {head.run_id} is not what was written; name another file")
        letters = await self._letters(head)
        if letters is None:
            reason = "the archive has letters of another log at the positions of its own; archive each log to a file of its own"
            return RunFate(head.run_id, "differs", reason, events=events, bytes=size)
        fate: Fate = "copied" if there is None else "grown" if events or letters else "there"
        return RunFate(head.run_id, fate, events=events, letters=letters, bytes=size)

    async def _letters(self, head: RunHead) -> int | None:
        """How many were written; None where not all can be."""
        wanted = await self._source.stored_letters(head.run_id)
        missing = await self._missing(wanted, head.run_id) if wanted else []
        if missing:
            await self._target.keep_letters(missing)
            if await self._missing(wanted, head.run_id):
                return None
        return len(missing)

    async def _missing(self, wanted: list[StoredLetter], run_id: str) -> list[StoredLetter]:
        there = set(await self._target.stored_letters(run_id))
        return [letter for letter in wanted if letter not in there]


async def _unfit(source: RowLog, target: RowLog, head: RunHead, there: RunHead | None) -> RunFate | None:
    """Why a run cannot come into the archive, where it has that head, if any; or None."""
    if head.last_type not in _ENDED:
        how = "it was interrupted" if head.last_type == "run_interrupted" else "it has not ended"
        return RunFate(head.run_id, "open", f"{how}, and may go on: resume it, or end it with `afk-es cancel`")
    if there is None:
        return None
    seq = min(head.seq, there.seq)
    same = there.thread_id == head.thread_id and there.forked_from == head.forked_from
    if not same or await source.link(head.run_id, seq) != await target.link(head.run_id, seq):
        return RunFate(head.run_id, "differs", "the archive has another run of this id; archive this log to another file")
    return None


async def _compared(source: RowLog, target: RowLog, pages: Pages, head: RunHead) -> RunFate:
    there = await target.head(head.run_id)
    if (left := await _unfit(source, target, head, there)) is not None:
        return left
    begun = await start(target, head)
    if there is None or begun is None or there.seq < head.seq:
        what = f"it has {there.seq} of {head.seq} events" if there is not None else "it has none of it"
        return RunFate(head.run_id, "missing", f"{what}; archive it with --to")
    events = size = 0
    link, after = begun[1], begun[0]
    try:
        async for page in pages.of(head, after=after, link=link):
            events += len(page.rows)
            size += sum(len(row[8]) for row in page.rows)
            link = page.rows[-1][-1]
    except UnsoundError as error:
        return RunFate(head.run_id, "damaged", f"in the archive: {error}")
    if link.hex() != await source.link(head.run_id, head.seq):
        return RunFate(head.run_id, "differs", "the archive has another run of this id; archive this log to another file")
    letters = await source.stored_letters(head.run_id)
    if letters and set(letters) - set(await target.stored_letters(head.run_id)):
        return RunFate(head.run_id, "missing", "letters of it are not in the archive; archive it with --to")
    return RunFate(head.run_id, "there", events=events, letters=len(letters), bytes=size)


async def _builds_on(log: RowLog, head: RunHead) -> list[str]:
    """The runs that its thread's memory is of when it begins, and those of its subagents."""
    found: list[str] = []
    for event in await log.scan(head.run_id, types=("run_started",), limit=1):
        found += [ref["run_id"] for ref in event.data.get("history", [])]
    after = 0
    while page := await log.scan(head.run_id, after=after, types=("subagent_started",), limit=250):
        found += [event.data["run_id"] for event in page]
        after = page[-1].seq
    return found


async def _all_heads(log: RowLog) -> AsyncIterator[RunHead]:
    after = None
    while page := await log.heads(after=after, limit=_HEADS_AT_ONCE):
        for head in page:
            yield head
        after = page[-1].run_id


async def _heads_of(log: RowLog, thread_id: str) -> list[RunHead]:
    heads = await log.thread(thread_id)
    if not heads:
        raise RunNotFoundError(f"{log.location} has no thread {thread_id!r}")
    return heads


async def _listed(named: list[list[RunHead]]) -> AsyncIterator[list[RunHead]]:
    for heads in named:
        yield heads


def _rows_of(log: EventLog) -> RowLog:
    if not isinstance(log, StoredLog):
        raise UsageError(f"{log.location} keeps no rows that could be copied; archive a log on SQLite or PostgreSQL")
    return cast(RowLog, log)


def _base(head: RunHead) -> str:
    assert head.forked_from is not None, "a run without a base waits for nothing"
    return f"run {head.forked_from['run_id']}"


def _shrink(known: OrderedDict[str, Any]) -> None:
    while len(known) > _KNOWN:
        known.popitem(last=False)
