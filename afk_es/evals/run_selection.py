"""Which of the recorded runs are meant: by agent, state, thread, time, or by what happened in them."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import get_args

from afk_es.core.result import ResultState
from afk_es.debugger.expression import Expression, parse
from afk_es.debugger.matching import Search
from afk_es.debugger.naming import all_runs, status_of
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.log import EventLog, RunRecord

STATES = (*get_args(ResultState), "running", "paused", "crashed")
"""What a run may be; crashed: it has no end, and nobody drives it."""


@dataclass(frozen=True, kw_only=True)
class RunSelection:
    """Which runs of a log are meant. What is not given selects nothing out; all that is given has to hold.

    Attributes:
        agent: the agent's name, or a glob.
        state: what the run is, one of `STATES`.
        thread_id: its thread.
        since: it began then or later; aware.
        where: an expression of the debugger's language that holds at one of its events.
        newest: at most so many, the newest; default all.
        subagents: runs of subagents by themselves too; default False, since whoever looks at the run that started them may look at them.
        replays: replays too; default False, since nothing was asked or done in one, and the run that it repeats would count twice.

    Raises:
        UsageError: a state that there is not, fewer than one run, a time without a zone.
        ExpressionError: `where` is no expression.
    """

    agent: str | None = None
    state: str | None = None
    thread_id: str | None = None
    since: dt.datetime | None = None
    where: str | None = None
    newest: int | None = None
    subagents: bool = False
    replays: bool = False

    def __post_init__(self) -> None:
        if self.state is not None and self.state not in STATES:
            raise UsageError(f"state={self.state!r} is none of: {', '.join(STATES)}")
        if self.newest is not None and self.newest < 1:
            raise UsageError(f"newest is a number from 1, not {self.newest!r}")
        if self.since is not None and self.since.tzinfo is None:
            raise UsageError(f"since needs a time zone: {self.since.isoformat()} may be anywhere")
        if self.where is not None:
            parse(self.where)

    @cached_property
    def _condition(self) -> Expression | None:
        return parse(self.where) if self.where is not None else None

    async def records(self, log: EventLog) -> AsyncIterator[RunRecord]:
        """The records of these runs, the newest first."""
        left = self.newest
        async for record in all_runs(log, thread_id=self.thread_id):
            if left == 0:
                return
            if await self.admits(log, record):
                left = left - 1 if left is not None else None
                yield record

    async def admits(self, log: EventLog, record: RunRecord) -> bool:
        """Whether a run is one of them, however many there are."""
        if record.parent_run_id is not None and not self.subagents:
            return False
        if self.thread_id not in (None, record.thread_id) or (self.since is not None and record.started_at < self.since):
            return False
        if self.agent is not None and not fnmatchcase(record.agent_name, self.agent):
            return False
        if self.state is not None and await status_of(log, record) != self.state:
            return False
        if not self.replays and await _is_replay(log, record):
            return False
        return self._condition is None or await Search(await Recording.open(log, record.run_id)).first(self._condition) is not None


async def _is_replay(log: EventLog, record: RunRecord) -> bool:
    if record.forked_from is not None:
        # It shares its first event, and went on by itself.
        return False
    first = await log.read(record.run_id, limit=1)
    return bool(first) and "replay_of" in first[0].data
