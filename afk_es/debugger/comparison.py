"""Two runs side by side: what they share, where they part first, and where they meet again.

Both are read once, in step as long as they are equal, and then by windows in which equal entries are looked for, so memory does not grow
with the runs. Runs that were forked from one another, or from the same one, begin behind what they share by construction.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator, Sequence
from difflib import SequenceMatcher
from itertools import islice
from typing import Any, Literal

import msgspec

from afk_es.debugger.changes import Change, changes
from afk_es.debugger.entries import Entry, Hear, entries
from afk_es.debugger.recording import Progress, Recording
from afk_es.debugger.state_diff import StateDiff, diff_runs
from afk_es.views.timeline import Timeline

WINDOW = 400
"""Entries of each side in which equal ones are looked for."""

AHEAD = 64
"""Entries of each side that are read at once while both are equal."""

PAIRS_KEPT = 2_000
CHANGES_KEPT = 8

_ACTS = ("tool_calls", "plan.")
"""Paths in what an event says by which a run acts: other calls asked for are another act, other words are not."""

Kind = Literal["same", "changed", "only_a", "only_b"]


class Place(msgspec.Struct, frozen=True):
    """An event of one side. `text` may hold anything; a renderer has to make it harmless."""

    run_id: str
    seq: int
    agent_path: tuple[str, ...]
    type: str
    tool: str
    text: str


class Pair(msgspec.Struct, frozen=True):
    """Entries that stand side by side.

    Attributes:
        count: of a row of equal entries, or of entries that one side alone has, how many; `a` and `b` are the first of them.
        changes: what differs, the first `CHANGES_KEPT` places.
    """

    kind: Kind
    a: Place | None
    b: Place | None
    count: int = 1
    changes: tuple[Change, ...] = ()


class Divergence(msgspec.Struct, frozen=True):
    """Where two runs part.

    Attributes:
        field: what differs: "agent_path", "type", "tool", "arguments", or a path in what the events say; "end" where one side is over, "missing"
            where it has no such event there.
        before, after: the values of that field, of the first and of the second run.
        a, b: the events; None where that side is over.
    """

    field: str
    before: Any
    after: Any
    a: Place | None
    b: Place | None
    changes: tuple[Change, ...] = ()


class Comparison(msgspec.Struct, frozen=True):
    """Two runs, or two threads of runs, aligned.

    Attributes:
        first: where they part first, in anything that is compared.
        first_act: where they first do something else, and not only say it in other words: other calls are asked for, another kind of event
            comes, one side is over.
        same, changed, only_a, only_b: entries, counted.
        pairs: side by side, in order; rows of equal ones as one.
        truncated: there are more pairs than were kept; they are counted.
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    first: Divergence | None
    first_act: Divergence | None
    same: int
    changed: int
    only_a: int
    only_b: int
    pairs: tuple[Pair, ...]
    truncated: bool = False

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return self.first is None


async def compare(a: Sequence[Recording], b: Sequence[Recording], *, progress: Progress | None = None) -> Comparison:
    """Align two runs, or two threads of runs, each in order.

    Args:
        progress: told how many entries were read; the total is not known before the end and is an estimate.
    """
    total = sum([await rec.last_seq() for rec in (*a, *b)])
    shared = await shared_prefix(a[0], b[0]) if len(a) == len(b) == 1 else 0
    record = _Record()
    if shared:
        record.skip(shared, a[0], b[0])
    left, right = Side(a, shared), Side(b, shared)
    async for kind, one, other in aligned(left, right):
        record.take(kind, one, other)
        if progress is not None and record.taken % 250 == 0:
            progress(min(left.read + right.read + 2 * shared, total), total)
    return Comparison(
        a=tuple(rec.run_id for rec in a),
        b=tuple(rec.run_id for rec in b),
        first=record.first,
        first_act=record.first_act,
        same=record.counts["same"],
        changed=record.counts["changed"],
        only_a=record.counts["only_a"],
        only_b=record.counts["only_b"],
        pairs=tuple(record.pairs),
        truncated=record.truncated,
    )


async def first_divergence(a: Sequence[Recording], b: Sequence[Recording]) -> Divergence | None:
    """Where two runs, or threads of runs, part first; None where they are equal. Reads no further than that."""
    shared = await shared_prefix(a[0], b[0]) if len(a) == len(b) == 1 else 0
    left, right = Side(a, shared), Side(b, shared)
    while True:
        await left.fill(1)
        await right.fill(1)
        one, other = left.head(), right.head()
        if one is None and other is None:
            return None
        if one is None or other is None or not one.same_as(other):
            return parted(one, other)
        left.held.popleft()
        right.held.popleft()


async def states_at(a: Recording, b: Recording, where: Divergence) -> StateDiff | None:
    """What differs between the states of both sides after the events where they part; None where one side is over, whose end then says it."""
    if where.a is None or where.b is None:
        return None
    first = a if where.a.run_id == a.run_id else await Recording.open(a.log, where.a.run_id)
    second = b if where.b.run_id == b.run_id else await Recording.open(b.log, where.b.run_id)
    return await diff_runs(first, where.a.seq, second, where.b.seq)


async def thread_of(rec: Recording) -> tuple[Recording, ...]:
    """The runs on the thread of this one, in the order in which they began; a conversation is often several runs."""
    heads = sorted(await rec.log.thread(rec.thread_id), key=lambda head: head.first_position)
    return tuple([rec if head.run_id == rec.run_id else await Recording.open(rec.log, head.run_id) for head in heads])


async def shared_prefix(a: Recording, b: Recording) -> int:
    """How many first events two runs share because one was forked from the other, or both from a third, down to the end of a step."""
    if a.run_id == b.run_id or a.log is not b.log:
        return 0
    lines = [await _lineage(a), await _lineage(b)]
    shared = max((min(seq, lines[1][run_id]) for run_id, seq in lines[0].items() if run_id in lines[1]), default=0)
    if not shared:
        return 0
    # From the beginning of a step on, nothing that went before is needed to read the entries.
    async for event in a.scan(before=shared + 1, types=("step_started",), backwards=True, limit=1):
        return event.seq - 1
    return 0


async def _lineage(rec: Recording) -> dict[str, int]:
    """The run and those that it was forked from, each with how far this one has its events."""
    found = {rec.run_id: await rec.last_seq()}
    async for event in rec.scan(types=("run_started",), backwards=True):
        origin = event.data.get("forked_from")
        if origin is not None:
            found.setdefault(origin["run_id"], min(origin["seq"], event.seq - 1))
    return found


# ------------------------------------------------------------------------------------------------------------------------- alignment


class Side:
    """One side's entries, of which as many are held as are looked at.

    Args:
        recordings: the runs, in order.
        after: begin behind this seq of the first.
        hear: is told every event when it is read, which may be before its entry's turn.
        root: what the outermost agent is called here; default: its name.
    """

    def __init__(self, recordings: Sequence[Recording], after: int = 0, *, hear: Hear | None = None, root: str | None = None) -> None:
        self.held: deque[Entry] = deque()
        self.read: int = 0
        one = recordings[0] if len(recordings) == 1 else None
        self._stream = _joined(recordings, after, hear, root) if one is None else entries(one, after=after, hear=hear, root=root)
        self._over = False

    async def fill(self, size: int) -> None:
        """Hold at least that many, as far as there are any."""
        while len(self.held) < size and not self._over:
            try:
                self.held.append(await anext(self._stream))
                self.read += 1
            except StopAsyncIteration:
                self._over = True

    def head(self) -> Entry | None:
        """The next one."""
        return self.held[0] if self.held else None

    def take(self, count: int) -> list[Entry]:
        """The next ones."""
        return [self.held.popleft() for _ in range(count)]


async def _joined(recordings: Sequence[Recording], after: int, hear: Hear | None, root: str | None) -> AsyncIterator[Entry]:
    for rec in recordings:
        async for entry in entries(rec, after=after, hear=hear, root=root):
            yield entry


async def aligned(left: Side, right: Side) -> AsyncIterator[tuple[Kind, Entry | None, Entry | None]]:
    """The entries of both sides in pairs, in order: the one alignment that comparisons of runs and checks of goldens go by.

    Of an entry that one side alone has, the other is the one that stands in its place there, if any.
    """
    while True:
        if not left.held:
            await left.fill(AHEAD)
        if not right.held:
            await right.fill(AHEAD)
        one, other = left.head(), right.head()
        if one is None and other is None:
            return
        if one is not None and other is not None and one.same_as(other):
            yield "same", left.held.popleft(), right.held.popleft()
            continue
        await left.fill(WINDOW)
        await right.fill(WINDOW)
        for pair in _resynchronised(left, right):
            yield pair


def _resynchronised(left: Side, right: Side) -> Iterator[tuple[Kind, Entry | None, Entry | None]]:
    """The pairs up to the last place in the two windows where both sides meet; where they do not, half of each window."""
    ones, others = list(islice(left.held, WINDOW)), list(islice(right.held, WINDOW))
    blocks = SequenceMatcher(None, [each.content for each in ones], [each.content for each in others], autojunk=False).get_matching_blocks()
    met = [block for block in blocks if block.size]
    if met:
        end_a, end_b = met[-1].a + met[-1].size, met[-1].b + met[-1].size
    else:
        over = len(ones) < WINDOW and len(others) < WINDOW
        end_a = len(ones) if over or len(ones) < WINDOW // 2 else WINDOW // 2
        end_b = len(others) if over or len(others) < WINDOW // 2 else WINDOW // 2
    ones, others = left.take(end_a), right.take(end_b)
    at_a = at_b = 0
    for block in met:
        yield from _between(ones[at_a : block.a], others[at_b : block.b])
        for index in range(block.size):
            yield "same", ones[block.a + index], others[block.b + index]
        at_a, at_b = block.a + block.size, block.b + block.size
    yield from _between(ones[at_a:], others[at_b:])


def _between(ones: list[Entry], others: list[Entry]) -> Iterator[tuple[Kind, Entry | None, Entry | None]]:
    """What stands between two places where both sides meet: entries of one key side by side, the others each alone.

    An entry that stands alone comes with the one that the other side has in its place, where it has one.
    """
    matcher = SequenceMatcher(None, [each.key for each in ones], [each.key for each in others], autojunk=False)
    for tag, a, a_end, b, b_end in matcher.get_opcodes():
        if tag == "equal":
            for one, other in zip(ones[a:a_end], others[b:b_end], strict=True):
                yield "changed", one, other
            continue
        facing = others[b] if b < b_end else None
        for one in ones[a:a_end]:
            yield "only_a", one, facing
        for other in others[b:b_end]:
            yield "only_b", ones[a] if a < a_end else None, other


class _Record:
    """What an alignment came to, with rows of the same kind as one pair."""

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.counts: Counter[str] = Counter()
        self.first: Divergence | None = None
        self.first_act: Divergence | None = None
        self.truncated = False
        self.taken = 0
        self._alone: dict[str, Entry] = {}

    def skip(self, shared: int, a: Recording, b: Recording) -> None:
        """Events that both sides share by construction."""
        self.counts["same"] += shared
        self.pairs.append(Pair("same", _started(a), _started(b), shared))

    def take(self, kind: Kind, one: Entry | None, other: Entry | None) -> None:
        """The next pair."""
        self.taken += 1
        self.counts[kind] += 1
        if kind != "same":
            self._note(kind, one, other)
        last = self.pairs[-1] if self.pairs else None
        if last is not None and last.kind == kind and kind != "changed":
            self.pairs[-1] = msgspec.structs.replace(last, count=last.count + 1)
        elif len(self.pairs) >= PAIRS_KEPT:
            self.truncated = True
        else:
            differences = tuple(islice(_differences(one, other), CHANGES_KEPT)) if kind == "changed" else ()
            a, b = _place(one if kind != "only_b" else None), _place(other if kind != "only_a" else None)
            self.pairs.append(Pair(kind, a, b, 1, differences))

    def _note(self, kind: Kind, one: Entry | None, other: Entry | None) -> None:
        if kind == "changed":
            found = parted(one, other)
            self.first = self.first or found
            act = next((change for change in found.changes if change.path.startswith(_ACTS)), None)
            if act is not None and self.first_act is None:
                self.first_act = msgspec.structs.replace(found, field=act.path, before=act.before, after=act.after)
            return
        self.first = self.first or parted(one, other, gone="missing")
        self.first_act = self.first_act or parted(one, other, gone="missing")


def parted(one: Entry | None, other: Entry | None, gone: str = "end") -> Divergence:
    """In what two entries differ that should be the same; `gone` is the field where one is not there."""
    places = _place(one), _place(other)
    if one is None or other is None:
        return Divergence(gone, None if one is None else one.event.type, None if other is None else other.event.type, *places)
    differences = tuple(islice(_differences(one, other), CHANGES_KEPT))
    for field, before, after in (
        ("agent_path", list(one.path), list(other.path)),
        ("type", one.event.type, other.event.type),
        ("tool", one.tool, other.tool),
    ):
        if before != after:
            return Divergence(field, before, after, *places, differences)
    if one.arguments != other.arguments:
        return Divergence("arguments", one.arguments, other.arguments, *places, differences)
    change = differences[0]
    return Divergence(change.path, change.before, change.after, *places, differences)


def _differences(one: Entry | None, other: Entry | None) -> Iterator[Change]:
    if one is not None and other is not None and one.event.type == other.event.type:
        yield from changes(one.facts, other.facts)


def _place(entry: Entry | None) -> Place | None:
    if entry is None:
        return None
    event = entry.event
    return Place(event.run_id, event.seq, entry.path, event.type, entry.tool, Timeline().line(event).text)


def _started(rec: Recording) -> Place:
    agent = rec.first.data["agent"]
    path = (*agent.get("agent_path", ()), agent["agent_name"])
    return Place(rec.run_id, 1, path, rec.first.type, "", Timeline().line(rec.first).text)
