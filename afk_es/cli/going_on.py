"""How a run that nobody drives is gone on with, in words: by its user, or by the server through which it came in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from afk_es.cli import output


def how_to_go_on(context: Mapping[str, Any], run_id: str, db: str | None) -> str:
    """What to do, for the end of a sentence.

    Args:
        context: of the run. A run that came in over a protocol says so there, and has an owner who goes on with it: to resume it by hand would at
            best be in that one's way, and a served tool is no agent that could be named.
        run_id: the run, the head of its family.
        db: the log as the user named it.
    """
    match context.get("door"):
        case "mcp":
            return "it came in over MCP, and goes on when its client makes the same call again"
        case "a2a":
            return "it came in over A2A, and goes on by its server, which is `afk-es a2a serve` on this log, now or when it starts"
        case _:
            return f"go on with it: {output.command('resume', run_id, 'MODULE:AGENT', db=db)}"
