"""A process whose run has tools in the background: `python -m tests.crash.background_child JOB`, where JOB is JSON.

It speaks as `tests.crash.child` does. It stops when one of its events is durable, such as "tool_deferred 1" for the first of that type,
and goes on when a line comes on stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from afk_es.core import AgentRunHandle, Runner, RunnerConfig
from afk_es.testing import comparable
from tests.crash.child import released, say
from tests.crash.scenarios import background

CLERK = background("A", "B")


async def main(job: dict[str, Any]) -> None:
    """Do the job."""
    directory = Path(job["directory"])
    clerk = CLERK(directory)
    config = RunnerConfig(background_tool_poll_interval_s=0.01, background_tool_at_end=job["plan"])
    async with Runner(log=directory / "runs.db", config=config) as runner:
        if job["do"] == "run":
            handle = await runner.run_handle(clerk, user_message="Do it")
        else:
            handle = await runner.resume_handle(clerk, run_id=job["run_ids"][0])
        say("run", handle.run_id)
        await _stop(handle, job.get("stops", []))
        result = await handle.await_result()
        say("result", json.dumps({"run_id": result.run_id, **comparable(result)}))


async def _stop(handle: AgentRunHandle, stops: list[str]) -> None:
    seen: Counter[str] = Counter()
    async for event in handle.events:
        seen[event.type] += 1
        place = f"{event.type} {seen[event.type]}"
        if place in stops:
            say("at", place)
            released()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
