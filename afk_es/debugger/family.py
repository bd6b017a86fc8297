"""Which runs belong together: the parent of a subagent's run, and the tree of runs below one. Read from the logs; nothing else knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from afk_es.log import EventLog
from afk_es.machine.state import ENDED

_DEEPEST = 32
"""A log is data, perhaps somebody's that leads in a circle."""


@dataclass(frozen=True, slots=True)
class Descendant:
    """A subagent's run, and how many levels below the first."""

    name: str
    run_id: str
    status: str
    depth: int


async def parent_of(log: EventLog, run_id: str) -> str | None:
    """The run that this one was started by as a subagent, or None."""
    parent = (await _beginning(log, run_id)).get("parent")
    return parent["run_id"] if parent is not None else None


async def head_of_family(log: EventLog, run_id: str) -> str:
    """The run whose resuming goes on with this one: itself, or where it is a subagent's, the one above all."""
    head: str = (await _beginning(log, run_id)).get("parent", {}).get("root", run_id)
    return head


async def _beginning(log: EventLog, run_id: str) -> dict[str, Any]:
    """The data of the first event that is the run's own: a fork of a subagent's run is nobody's subagent."""
    head = await log.head(run_id)
    shared = head.forked_from["seq"] if head is not None and head.forked_from is not None else 0
    first = await log.read(run_id, after=shared, limit=1)
    return first[0].data if first else {}


async def descendants(log: EventLog, run_id: str, depth: int = 0) -> list[Descendant]:
    """The runs of the subagents, each before its own."""
    found: list[Descendant] = []
    if depth >= _DEEPEST:
        return found
    for event in await log.scan(run_id, types=("subagent_started",)):
        child = event.data["run_id"]
        found.append(Descendant(event.data["subagent_name"], child, await _status(log, child), depth))
        found += await descendants(log, child, depth + 1)
    return found


async def _status(log: EventLog, run_id: str) -> str:
    head = await log.head(run_id)
    if head is None:
        return "not begun"
    (last,) = await log.read(run_id, after=head.seq - 1, limit=1)
    (claim,) = await log.scan(run_id, types=("run_started",), backwards=True, limit=1)
    if last.state in ENDED or await log.alive(claim.data["owner"], run_id):
        return last.state
    return "crashed"
