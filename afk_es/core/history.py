"""What a thread remembers: the conversation of its earlier runs, as a fold of them."""

from __future__ import annotations

from collections import OrderedDict

from afk_es.core.merging import compacts, merged
from afk_es.errors import CorruptLogError
from afk_es.log import EventLog, RunHead
from afk_es.machine import AgentRunEvent, fold, initial_state, remembered
from afk_es.machine.events import TERMINAL, RunRef
from afk_es.machine.state import RunState
from afk_es.machine.values import Messages

_KEPT = 256


class ThreadMemory:
    """Reads the history that a run begins with, and keeps what it has read: a log is append-only, so what was read stays true.

    The order of runs on a thread, wherever and in however many processes they ran:

    * A run sees the runs on its thread that had ended when it began, and what they saw, and keeps to that: `run_started` says which in
      `history`. It never sees a run that went on at that moment, or began later.
    * The next run sees them all. Runs that overlapped stand one after the other, in the order in which they ended, each with its turns
      together: a conversation with interleaved turns would be one that nobody had.
    * A run that was followed while it lay interrupted, and then resumed, has the turns of both stretches where it first stood.
    * A run that has not ended, or whose process died, is in nobody's memory until it was resumed and has ended.
    * A compaction replaces what its run had seen, and nothing else: turns of runs that overlapped it stay, whole, behind its summary. Two
      compactions that overlapped leave two summaries, unless one stands for all that the other does.
    * The runs of subagents have threads of their own; what a caller's thread remembers of them is what the parent's tool results say.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], Messages] = OrderedDict()

    def keep(self, state: RunState) -> None:
        """Remember how a run ended, so that the next run on its thread need not fold it again."""
        self._store((state.run_id, state.seq), remembered(state))

    async def latest(self, log: EventLog, thread_id: str) -> list[RunRef]:
        """The runs that a new run on this thread follows.

        That is the one that ended last, and every other that ended after that one had begun: their turns are in nobody's history yet.
        """
        heads = [head for head in await log.thread(thread_id) if head.last_type in TERMINAL]
        if not heads:
            return []
        last = heads[-1]
        recent = [head for head in heads if head.last_position > last.first_position]
        # A run that was followed when it lay interrupted, and was resumed since, has turns that its follower has not seen.
        followed = (
            {(ref["run_id"], ref["seq"]) for head in recent for ref in await self._history_of(log, head)} if len(recent) > 1 else set()
        )
        return [{"run_id": head.run_id, "seq": head.seq} for head in recent if (head.run_id, head.seq) not in followed]

    async def read(self, log: EventLog, refs: list[RunRef]) -> Messages:
        """The messages of these runs and of all that they follow, in order.

        Raises:
            CorruptLogError: the log does not have a run that it refers to.
        """
        row: dict[tuple[str, int], list[AgentRunEvent]] = {}
        messages: Messages | None = None
        following = refs
        # Runs that follow one another one by one, as most do, are read from the last that is known, so that a thread of any length is read once.
        while following:
            key = (following[0]["run_id"], following[0]["seq"])
            if len(following) > 1 or any(key[0] == run_id for run_id, _seq in row):
                return await self._overlapped(log, refs)
            messages = self._known.get(key)
            if messages is not None:
                break
            row[key] = await self._events(log, *key)
            following = row[key][0].data.get("history", [])
        messages = messages or Messages()
        for key, events in reversed(row.items()):
            messages = _after(events, messages)
            self._store(key, messages)
        return messages

    async def _overlapped(self, log: EventLog, refs: list[RunRef]) -> Messages:
        messages = Messages()
        runs = await self._in_order(log, refs)
        if any(compacts(events) for events in runs) and not _in_a_row(runs):
            return merged({events[0].run_id: events for events in runs}, refs)
        for events in runs:
            messages = _after(events, messages)
        if len(refs) == 1:
            # Only of the last one: where runs overlapped, those before it are folded in an order that is not their own history.
            self._store((refs[0]["run_id"], refs[0]["seq"]), messages)
        return messages

    async def _in_order(self, log: EventLog, refs: list[RunRef]) -> list[list[AgentRunEvent]]:
        """The events of every run behind these references, each run after those it follows, and as far as any reference goes."""
        ordered: dict[str, list[AgentRunEvent]] = {}
        read: dict[str, list[AgentRunEvent]] = {}
        stack: list[RunRef | str] = list(reversed(refs))
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                ordered[item] = read[item]
                continue
            run_id, seq = item["run_id"], item["seq"]
            known = read.get(run_id)
            if known is None:
                read[run_id] = await self._events(log, run_id, seq)
                stack.append(run_id)
                stack.extend(reversed(read[run_id][0].data.get("history", [])))
            elif known[-1].seq < seq:
                known.extend((await self._events(log, run_id, seq))[len(known) :])
        return list(ordered.values())

    async def _events(self, log: EventLog, run_id: str, seq: int) -> list[AgentRunEvent]:
        events = await log.read(run_id, limit=seq)
        if not events:
            raise CorruptLogError(f"{log.location}: run {run_id}, which a later run on its thread follows, is missing")
        return events

    async def _history_of(self, log: EventLog, head: RunHead) -> list[RunRef]:
        first = await log.read(head.run_id, limit=1)
        refs: list[RunRef] = first[0].data.get("history", []) if first else []
        return refs

    def _store(self, key: tuple[str, int], messages: Messages) -> None:
        self._known[key] = messages
        self._known.move_to_end(key)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)


def _after(events: list[AgentRunEvent], history: Messages) -> Messages:
    """What the thread remembers after a run that began with this history."""
    return remembered(fold(initial_state(events[0].run_id, events[0].thread_id, history), events))


def _in_a_row(runs: list[list[AgentRunEvent]]) -> bool:
    """Whether each of these runs followed the one before it and nothing else, as far as it goes here."""
    follows: list[RunRef] = []
    for events in runs:
        if events[0].data.get("history", []) != follows:
            return False
        follows = [{"run_id": events[0].run_id, "seq": events[-1].seq}]
    return True
