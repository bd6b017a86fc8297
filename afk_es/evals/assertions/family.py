"""A run and the runs of its subagents as one: which they are, their events, and in what order things happened over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from afk_es.evals.evidence import LONGEST, Evidence
from afk_es.log import EventLog
from afk_es.machine import AgentRunEvent

DEEPEST = 16
"""Levels of subagents that are followed, as the debugger's comparison does."""

PAGE = 2_000

Order = tuple[int, ...]
"""Where an event stands over all runs of a family: the seqs of the `subagent_started` that lead to its run, then its own seq. A subagent's
events stand behind the event that started it and before the next of its parent; so the order does not depend on who was faster."""


class Member(msgspec.Struct, frozen=True):
    """A run of a family. `path` leads to it; see `Order`."""

    run_id: str
    path: Order = ()

    def place(self, seq: int) -> str:
        """An event of it as a verdict names it: the seq in the run that is checked, "RUN:SEQ" in a subagent's."""
        return f"{self.run_id}:{seq}" if self.path else str(seq)


async def members(log: EventLog, run_id: str, *, subagents: bool) -> list[Member]:
    """The run and, if `subagents`, the runs that it and they started, in order. One that was announced and never began is left out."""
    found = [Member(run_id)]
    seen = {run_id}
    for member in found:
        if not subagents or len(member.path) >= DEEPEST:
            continue
        for event in await log.scan(member.run_id, types=("subagent_started",)):
            child = event.data["run_id"]
            if child not in seen and await log.head(child) is not None:
                seen.add(child)
                found.append(Member(child, (*member.path, event.seq)))
    return sorted(found, key=lambda member: member.path)


async def events_of(log: EventLog, run_id: str) -> AsyncIterator[AgentRunEvent]:
    """All events of a run in order, read page by page."""
    after = 0
    while page := await log.read(run_id, after=after, limit=PAGE):
        for event in page:
            yield event
        if len(page) < PAGE:
            return
        after = page[-1].seq


async def events_seen(evidence: Evidence, member: Member) -> AsyncIterator[AgentRunEvent]:
    """All events of a member: those of the run itself as the evidence holds them for all its checks, unless they are too many to hold."""
    if member.run_id == evidence.run_id and evidence.result.state_snapshot.seq < LONGEST:
        for event in await evidence.events():
            yield event
        return
    async for event in events_of(evidence.log, member.run_id):
        yield event
