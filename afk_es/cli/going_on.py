"""How a run that nobody drives is gone on with, in words: by its user, by a worker, or by the server through which it came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afk_es.cli import output
from afk_es.log import DatabaseLog, EventLog


async def how_to_go_on(log: EventLog, context: Mapping[str, Any], run_id: str, db: str | None) -> str:
    """What to do, for the end of a sentence.

    Args:
        log: where the run is. One that is an open task there has workers, which know its agent and its policies; whoever resumed it by hand might
            not.
        context: of the run. A run that came in over a protocol says so there, and has an owner who goes on with it: to resume it by hand would at
            best be in that one's way, and a served tool is no agent that could be named.
        run_id: the run, the head of its family.
        db: the log as the user named it.
    """
    if await _is_open_task(log, run_id):
        return "it is a task of the queue, and goes on by a worker, which is `afk-es worker` on this log, now or when it starts"
    match context.get("door"):
        case "mcp":
            return "it came in over MCP, and goes on when its client makes the same call again"
        case "a2a":
            return "it came in over A2A, and goes on by its server, which is `afk-es a2a serve` on this log, now or when it starts"
        case _:
            return f"go on with it: {output.command('resume', run_id, 'MODULE:AGENT', db=db)}"


async def _is_open_task(log: EventLog, run_id: str) -> bool:
    if not isinstance(log, DatabaseLog):
        return False
    from afk_es.queues.records import TaskRecords

    records = TaskRecords(log)
    task = await records.get(run_id) if await records.open(make=False) else None
    return task is not None and not task.ended
