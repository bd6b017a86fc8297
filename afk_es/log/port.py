"""The port of the event log: what the loop, the command line and the debugger need of a store, and nothing about how it stores.

A store keeps whole `AgentRunEvent`s in the order of each run, refuses to change or forget them, and lets one owner at a time extend a run.
The expected head of an append is the seq before its first event, so an append from a stale owner cannot land: whoever took the run over
has used that seq already. `afk_es.testing` has the contract suite that every store must pass.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import msgspec

from afk_es.log.codec import Row
from afk_es.machine.events import AgentRunEvent, Draft, RunRef


class RunHead(msgspec.Struct, frozen=True):
    """Where a run stands, without reading it.

    `first_position` and `last_position` order events over all runs of the log, by those that are a run's own; they mean nothing outside it.
    `forked_from` is the run whose events up to that seq are this run's as well; with seq 0, the run that it is a variation of.
    """

    run_id: str
    thread_id: str
    seq: int
    epoch: int
    last_type: str
    first_position: int
    last_position: int
    forked_from: RunRef | None = None


class RunRecord(msgspec.Struct, frozen=True):
    """A row of the list of runs. `cost_usd` is None where no answer carried a price.

    What is counted is the run's own: its subagents are rows of their own, each with the id of its parent. `tool_calls` counts transfers.
    Of a fork neither what it shares nor what it reuses is counted, in calls, tokens or cost: that was the other run's.
    """

    run_id: str
    thread_id: str
    agent_name: str
    state: str
    seq: int
    epoch: int
    owner: str
    started_at: dt.datetime
    updated_at: dt.datetime
    ended: bool
    step: int
    llm_calls: int
    tool_calls: int
    errors: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    user_message: str | None
    message: str
    parent_run_id: str | None = None
    forked_from: RunRef | None = None


class Letter(msgspec.Struct, frozen=True):
    """Something said to a run from outside: it waits in the log until the run's owner takes it in as an event.

    Attributes:
        position: orders the letters of a log, from 1. The event that a letter becomes names it as `data["letter"]`.
        draft: the event it asks for.
    """

    position: int
    run_id: str
    at: dt.datetime
    draft: Draft


class ChainFault(msgspec.Struct, frozen=True):
    """The first place where a run's stored events are not what was appended."""

    run_id: str
    seq: int
    reason: str


@runtime_checkable
class EventLog(Protocol):
    """An append-only log of runs.

    A store is opened in the event loop that uses it and closed there; opening an open store and closing a closed one do nothing.
    """

    @property
    def location(self) -> str:
        """Where the log is, as a person would name it: a path, a URL, ":memory:"."""
        ...

    @property
    def owner(self) -> str:
        """The identity under which this open store claims runs. It is alive until the store is closed or the process is gone."""
        ...

    async def open(self) -> None:
        """Make it usable. Raises a `LogError` that names the file and the way out."""
        ...

    async def close(self) -> None:
        """Finish what is queued and let go of every file, thread and lock."""
        ...

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        """Append events of one run, all or none, durable when it returns.

        The events are gap-free. A `run_started` claims the run: its epoch is one higher than any before. A cancelled call still
        appends.

        A `run_started` with `forked_from` begins a run that shares the events of another up to that seq: its own seq is the next, its
        epoch one higher than that of the last event that is shared. The other run may still go on.

        Raises:
            InvalidEventError: data not of the declared shape, a transient type, events that do not belong together, a fork from where the
                log has nothing; nothing was written.
            HeadConflictError: the run's head is not the seq before the first event, or the epoch is not the owner's.
            LogError: the file could not be written; nothing was.
        """
        ...

    async def read(self, run_id: str, *, after: int = 0, limit: int | None = None) -> list[AgentRunEvent]:
        """The run's events with a seq above `after`, at most `limit` of them; empty for an unknown run. Parts are back in place.

        A part (see `EventType.parts`) is one object for all events that carry it: nobody may change an event's data. A fork is one whole
        run: what it shares is read as its own, with its run and thread id.

        Raises:
            CorruptLogError: a row cannot be decoded; the message names run and seq.
            NewerLogError: a known type in a version of a newer afk_es.
        """
        ...

    async def scan(
        self,
        run_id: str,
        *,
        after: int = 0,
        before: int | None = None,
        types: Collection[str] = (),
        containing: Sequence[str] = (),
        backwards: bool = False,
        limit: int | None = None,
    ) -> list[AgentRunEvent]:
        """Events of the run that may be what somebody looks for: a filter in the store, ahead of an exact one.

        Args:
            after: only events with a higher seq.
            before: only events with a lower seq; None: up to the end.
            types: only events of these types; none named: of all.
            containing: texts that message and data together contain, each of them, whatever the case of ASCII letters. An event whose
                type has parts (see `EventType.parts`) passes in any case, and so may others: the caller looks again.
            backwards: the newest first.
            limit: at most so many; None: all.

        Raises:
            CorruptLogError, NewerLogError: as `read`.
        """
        ...

    async def head(self, run_id: str) -> RunHead | None:
        """Where the run stands, or None for an unknown run."""
        ...

    async def thread(self, thread_id: str) -> list[RunHead]:
        """The heads of all runs of a thread, in the order of their last events."""
        ...

    async def forks(self, run_id: str) -> list[RunHead]:
        """The heads of the runs that share a beginning with this one because they were forked from it, in the order of their last events."""
        ...

    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        """Runs, the newest first; `before` is the run id to page on from.

        Raises:
            RunNotFoundError: there is no run `before`.
        """
        ...

    async def find(self, prefix: str) -> list[str]:
        """Ids of runs that begin with the prefix, the newest first, at most 20."""
        ...

    async def verify(self, run_id: str) -> ChainFault | None:
        """Check the stored bytes of a run against its hash chain; None if every event is what was appended, in order, without a gap.

        A missing end cannot be seen: a prefix of a run is a legal run.

        Raises:
            RunNotFoundError: there is no such run.
        """
        ...

    async def link(self, run_id: str, seq: int) -> str | None:
        """The link of the run's hash chain at that event, in hexadecimal; None where there is no such event.

        Two runs of one id with the same link are the same up to there.
        """
        ...

    async def post(self, run_id: str, draft: Draft, *, at: dt.datetime) -> Letter:
        """Leave a letter for a run, durable when it returns. Whether it still fits is seen when it is taken in.

        Raises:
            InvalidEventError: not a type that can be posted (see `EventType.posted`), or data not of its shape; nothing was written.
            RunNotFoundError: there is no such run.
            LogError: the file could not be written; nothing was.
        """
        ...

    async def letters(self, *, after: int = 0, run_ids: Sequence[str] | None = None) -> list[Letter]:
        """The letters with a position above `after`, in order: of these runs, or of all."""
        ...

    async def posted(self) -> int:
        """The position of the last letter; 0 if there is none."""
        ...

    def hold(self, run_id: str) -> None:
        """Note that a loop in this process drives the run through this store, or is about to. Each `hold` needs its own `release`."""
        ...

    def release(self, run_id: str) -> None:
        """Note that it no longer does, or did not come to it."""
        ...

    async def alive(self, owner: str, run_id: str) -> bool:
        """Whether that owner still drives the run: this store by what it holds, another by whether its process still lives."""
        ...


@runtime_checkable
class TellingLog(Protocol):
    """What a log can do besides, if it can: tell that somebody has written to it, whatever process that was.

    Whoever waits for it then looks at once, and otherwise only now and then: a call may come for nothing, and one may be lost. Calls are
    made in the store's event loop, and must neither raise nor block. What both methods give back ends the calls; so does closing the store.
    """

    def on_letter(self, call: Callable[[str | None], None]) -> Callable[[], None]:
        """Call with the id of each run that a letter was posted to; with None after a gap, when it may be any."""
        ...

    def on_growth(self, run_id: str, call: Callable[[], None]) -> Callable[[], None]:
        """Call when the run has new events. Whoever appends learns of it a moment later, so what is appended meanwhile is not told."""
        ...


StoredLetter = tuple[int, str, int, str, str, str]
"""A letter as it is stored: position, run id, at (microseconds since 1970, UTC), type, message, data (JSON)."""


@runtime_checkable
class StoredLog(Protocol):
    """What a log can do besides, if it keeps rows: give runs as they are stored, to the byte, so that a copy has the same hash chain.

    What is decoded and encoded again is the same event, but need not be the same row: an older version may have written it in another
    shape, and a newer one what this one does not know.
    """

    async def heads(self, *, after: str | None = None, limit: int = 200) -> list[RunHead]:
        """The heads of runs in the order in which they came into the log, so each behind the one it was forked from.

        Args:
            after: the run behind which they begin; None: from the first.

        Raises:
            RunNotFoundError: there is no run `after`.
        """
        ...

    async def rows(self, run_id: str, *, after: int = 0, limit: int = 100) -> list[Row]:
        """Rows of events that are the run's own, with a seq above `after`; empty for an unknown run. Of a fork not what it shares."""
        ...

    async def parts(self, digests: Collection[str]) -> dict[str, str]:
        """The JSON texts of those of the parts that are there."""
        ...

    async def stored_letters(self, run_id: str) -> list[StoredLetter]:
        """The run's letters, in order."""
        ...


class Statement(NamedTuple):
    """A statement for a log's own database. It names its parameters $1, $2, ... in every dialect."""

    sql: str
    parameters: tuple[Any, ...] = ()


@runtime_checkable
class DatabaseLog(Protocol):
    """What a log can do besides, if it is in a database: let others keep tables beside its own, and write to them in one transaction with it.

    The tables of the log are nobody else's to touch. Names of tables are found in the log's schema, without naming it. A statement is one
    command. What the database has against one is a `LogError`, and no `LogUnavailableError` unless it may go better later.
    """

    @property
    def dialect(self) -> Literal["sqlite", "postgresql"]:
        """The SQL that it understands."""
        ...

    async def query(self, statement: Statement) -> list[tuple[Any, ...]]:
        """The rows of a statement that only reads. It is run again where the connection is lost, and keeps no append waiting.

        Raises:
            LogError: it could not be run.
        """
        ...

    async def transact(self, statements: Sequence[Statement]) -> list[list[tuple[Any, ...]]]:
        """Run statements in one transaction, durable when it returns, and give the rows of each. It lands even if the waiting is cancelled.

        Raises:
            ClashError: a constraint of a table refused one of them; nothing was written.
            LogUnavailableError: the log cannot be written now; or the connection was lost at the end, and whether they wrote is not known:
                the message says which.
            LogError: they could not be run; nothing was written.
        """
        ...

    async def append_with(self, events: Sequence[AgentRunEvent], *, epoch: int, statements: Sequence[Statement]) -> None:
        """As `EventLog.append`, with statements in the same transaction: all of it, or nothing. Where the connection is lost it waits until
        there is another, as an append does. Statements without an event are run as by `transact`.

        Raises:
            ClashError: a constraint of a table refused one of the statements; nothing was written.
            InvalidEventError, HeadConflictError, LogError: as for `append`; nothing was written.
        """
        ...
