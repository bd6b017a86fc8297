"""A worker as a process of its own: `python -m tests.queues.worker_program LOG FILE [option=value ...]`.

Its agent calls a tool that notes in FILE when it begins and when it ends, a line each with the run and the process, and takes `takes_s`. Where
`dies` is set the process kills itself there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from afk_es.agents import Agent
from afk_es.queues import TaskQueue, Worker
from afk_es.tools import ToolContext, tool
from tests.core.scenario import limits
from tests.queues.working import ByTheBook


def clerk(file: Path, takes_s: float = 0.0, *, calls: int = 1, dies: bool = False) -> Agent:
    """The agent."""

    def note(what: str, ctx: ToolContext) -> None:
        with file.open("a") as lines:
            lines.write(f"{what} {ctx.run_id} {os.getpid()}\n")

    @tool(idempotent=True)
    async def work(ctx: ToolContext) -> str:
        """Work."""
        note("begins", ctx)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(takes_s)
        note("ends", ctx)
        return "done"

    return Agent(name="clerk", model=ByTheBook(*[("work", {})] * calls), tools=[work], fail_safe=limits())


async def main(log: str, file: str, *options: str) -> None:
    """Work until a signal comes."""
    given = {key: float(value) for key, _, value in (option.partition("=") for option in options)}
    agent = clerk(Path(file), given.get("takes_s", 0.0), calls=int(given.get("calls", 1)), dies="dies" in given)
    worker = Worker(TaskQueue(log), agents=[agent], lease_s=given.get("lease_s", 30.0), drain_s=given.get("drain_s", 30.0))
    await worker.run(signals=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
