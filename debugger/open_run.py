"""A run on the desk: its session, and what was set up to look at it with: breakpoints, watches, a search. It knows no screen."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from afk_es.debugger import Recording, Session
from afk_es.debugger.breakpoints import Breakpoint, Breakpoints, Hit
from afk_es.debugger.finding import sought
from afk_es.debugger.matching import Condition, Search
from afk_es.debugger.stopping import next_hit
from afk_es.debugger.watching import watch
from afk_es.errors import UsageError
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.redaction import Redaction

Progress = Callable[[int, int], None]

_MOST_PLACES = 100_000
"""Places of one breakpoint that are kept for ticks; beyond it they are only counted."""


class OpenRun:
    """A run that is being looked at.

    Args:
        redaction: what is kept back; searches and watches are judged without it.

    Attributes:
        session: the cursor.
        breakpoints: where to stop, by number.
        watches: paths of the state, as breakpoints that stop where they change.
        places: where each breakpoint or watch stops in the whole run, as far as that has been counted, by its text.
        counts: how often it does.
        sought: what is searched for, as it was typed; empty: nothing yet.
        forked_at: the first event that is the run's own, where it is a fork; None: it is none.
        ended, live: whether it has ended, and is being driven by a live process.
    """

    def __init__(self, session: Session, *, redaction: Redaction | None = None) -> None:
        self.session = session
        self.search = Search(session.recording, redaction=redaction)
        self.breakpoints = Breakpoints()
        self.watches: list[Breakpoint] = []
        self.places: dict[str, array[int]] = {}
        self.counts: dict[str, int] = {}
        self.sought: str = ""
        self._condition: Condition | None = None
        self._ticked: tuple[tuple[str, int], ...] = ()
        self._ticks: frozenset[int] = frozenset()
        self.forked_at: int | None = None
        self.ended: bool = False
        self.live: bool = False
        self.last: int = 0

    @property
    def recording(self) -> Recording:
        """The run."""
        return self.session.recording

    @property
    def badge(self) -> str:
        """LIVE, FORK or REPLAY."""
        return "LIVE" if self.live else "FORK" if self.forked_at is not None else "REPLAY"

    async def look(self) -> bool:
        """See how far the run has come; True if it has gone on, or is driven by somebody now, or by nobody any more."""
        log, run_id = self.recording.log, self.recording.run_id
        head = await log.head(run_id)
        if head is None or (head.seq == self.last and self.ended):
            return False
        was = (self.last, self.live)
        self.last = head.seq
        self.forked_at = head.forked_from["seq"] + 1 if head.forked_from is not None else None
        self.ended = head.last_type in TERMINAL
        self.live = not self.ended and await log.alive(await self._owner(), run_id)
        return (self.last, self.live) != was

    async def _owner(self) -> str:
        async for event in self.recording.scan(types=("run_started",), backwards=True, limit=1):
            return str(event.data["owner"])
        return ""

    async def forks(self) -> frozenset[int]:
        """Where this run left another, and where others have left it."""
        heads = await self.recording.log.forks(self.recording.run_id)
        left = {head.forked_from["seq"] for head in heads if head.forked_from is not None}
        return frozenset((*left, *([self.forked_at] if self.forked_at is not None else [])))

    # ------------------------------------------------------------------------------------------------------------------------ stops

    @property
    def stops(self) -> list[Breakpoint]:
        """Breakpoints and watches that stop."""
        return [*self.breakpoints.enabled, *(watch for watch in self.watches if watch.enabled)]

    def watch(self, path: str) -> Breakpoint:
        """Watch a path of the state, or no longer, if it is watched already.

        Raises:
            ExpressionError: it is no path of the state.
        """
        row = watch(path)
        if row.text in [each.text for each in self.watches]:
            self.watches = [each for each in self.watches if each.text != row.text]
        else:
            self.watches.append(row)
        return row

    async def continue_(self, direction: int, progress: Progress) -> Hit | None:
        """Where the next stop is, in that direction.

        Raises:
            UsageError: there is nothing to stop at.
        """
        if not self.stops:
            raise UsageError("no breakpoint is set: b sets one on events like this one, `:b error` on errors, `:watch PATH` on a change")
        return await next_hit(self.recording, self.stops, self.session.seq, backwards=direction < 0, progress=progress, search=self.search)

    async def count(self, progress: Progress) -> None:
        """Count the places of every stop that was not counted yet, in the whole run."""
        known = [*(row for _, row in self.breakpoints), *self.watches]
        for row in known:
            if row.text in self.counts:
                continue
            places: array[int] = array("Q")
            count = 0
            async for scope in self.search.hits(row.condition, progress=progress):
                count += 1
                if row.ignore < count <= _MOST_PLACES:
                    places.append(scope.event.seq)
            self.places[row.text] = places
            self.counts[row.text] = max(count - row.ignore, 0)

    def forget_counts(self) -> None:
        """The run has gone on: count anew."""
        self.counts.clear()

    def ticks(self) -> frozenset[int]:
        """Seqs at which something stops, as far as they were counted. The same set as long as nothing about it changes."""
        known = tuple((row.text, len(self.places.get(row.text, ()))) for row in self.stops)
        if known != self._ticked:
            self._ticked = known
            self._ticks = frozenset(seq for row in self.stops for seq in self.places.get(row.text, ()))
        return self._ticks

    # ----------------------------------------------------------------------------------------------------------------------- search

    def seek_for(self, text: str) -> Condition:
        """What to search for from now on: an expression, or a text.

        Raises:
            UsageError: there is nothing in it to find.
        """
        self._condition = sought(text)
        self.sought = text
        return self._condition

    async def found(self, direction: int, progress: Progress) -> int | None:
        """The next place of what is searched for, in that direction; None if there is none.

        Raises:
            UsageError: nothing is searched for.
        """
        if self._condition is None:
            raise UsageError("nothing is searched for yet; / asks what")
        here = self.session.seq
        scope = await self.search.first(
            self._condition,
            after=here if direction > 0 else 0,
            before=None if direction > 0 else here,
            backwards=direction < 0,
            progress=progress,
        )
        return scope.event.seq if scope is not None else None

    async def matching(self, condition: Condition, progress: Progress) -> array[int]:
        """The seqs of all events for which a condition holds."""
        found: array[int] = array("Q")
        async for scope in self.search.hits(condition, progress=progress):
            found.append(scope.event.seq)
        return found


def breakpoint_for(event: AgentRunEvent, error: bool) -> str:
    """The breakpoint that stops at events like this one."""
    data = event.data
    if error:
        return "error"
    if event.type.startswith("tool_") and "tool_name" in data:
        return f"tool:{data['tool_name']}"
    if event.type.startswith("llm_"):
        return "llm"
    if event.type.startswith("subagent_") and "subagent_name" in data:
        return f"subagent:{data['subagent_name']}"
    if event.type == "policy_decision":
        return f"policy:{data['action']}"
    if event.type == "step_started":
        return "step"
    if event.type.endswith("_requested") and event.type != "control_requested":
        return "approval"
    return f"type:{event.type}"
