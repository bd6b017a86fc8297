"""Which of the recorded runs are meant: by name, by agent, state, thread, time, or by what happened in them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fnmatch import fnmatchcase

from afk_es.debugger.expression import Expression
from afk_es.debugger.matching import Search
from afk_es.debugger.naming import status_of
from afk_es.debugger.recording import Recording
from afk_es.errors import UsageError
from afk_es.log import EventLog, RunRecord


@dataclass(frozen=True)
class RunSelection:
    """Runs of a log. What is not said selects nothing away; all that is said has to hold.

    Attributes:
        agents: names of agents, or globs.
        states: what a run has to be, "crashed" included: not ended, and driven by nobody.
        thread_id: the thread it is on.
        since: when it began, or later; aware.
        where: an expression that holds at one of its events, or at more.

    Raises:
        UsageError: `since` has no time zone.
    """

    agents: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    thread_id: str | None = None
    since: dt.datetime | None = None
    where: Expression | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.since.tzinfo is None:
            raise UsageError(f"since needs a time zone: {self.since.isoformat()} may be anywhere")

    @property
    def everything(self) -> bool:
        """Whether it selects nothing away."""
        return self == RunSelection()

    async def admits(self, log: EventLog, record: RunRecord) -> bool:
        """Whether a run is one of them."""
        if self.since is not None and record.started_at < self.since:
            return False
        if self.agents and not any(fnmatchcase(record.agent_name, pattern) for pattern in self.agents):
            return False
        if self.states and await status_of(log, record) not in self.states:
            return False
        return self.where is None or await _holds_somewhere(log, record.run_id, self.where)


async def _holds_somewhere(log: EventLog, run_id: str, where: Expression) -> bool:
    return await Search(await Recording.open(log, run_id)).first(where) is not None
