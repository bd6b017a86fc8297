"""A process that runs a team until somebody kills it: `python -m tests.crash.team DIRECTORY [RUN_ID]`; with a run id it resumes that run.

It prints `run ID` once the parent's run is acknowledged, and `result JSON` at the end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel, comparable
from afk_es.tools import ToolContext, tool
from tests.crash.journal import Journal
from tests.crash.scenarios import Plan, planned
from tests.crash.test_teams import delegating

PAUSE_S = 0.02


def team(directory: Path) -> Agent:
    """Three levels; every effect takes a moment, so that a kill has something to hit."""
    journal = Journal(directory / "journal.jsonl")

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay. Must not be repeated."""
        journal.note("pay", ctx, item=item)
        await asyncio.sleep(PAUSE_S)
        return f"paid {item}"

    @tool(idempotent=True)
    async def put(item: str, ctx: ToolContext) -> str:
        """Put; twice is as good as once."""
        journal.note("put", ctx, item=item)
        await asyncio.sleep(PAUSE_S)
        return f"put {item}"

    def worker(name: str, plan: Plan) -> Agent:
        async def ask(request: LLMRequest) -> LLMResponse:
            await asyncio.sleep(PAUSE_S)
            journal.note("asked", run_id=request.metadata["run_id"], messages=len(request.messages))
            return planned(plan)(request)

        return Agent(name=name, model=ScriptedModel(ask), tools=[pay, put])

    middle = Agent(name="middle", model=ScriptedModel(delegating("low")), subagents=[worker("low", [["put"], ["pay"]])])
    return Agent(
        name="top", model=ScriptedModel(delegating("middle", "side")), subagents=[middle, worker("side", [["put", "put"], ["pay"]])]
    )


async def main(directory: Path, run_id: str | None) -> None:
    """Run, or resume."""
    async with Runner(log=directory / "runs.db") as runner:
        if run_id is None:
            handle = await runner.run_handle(team(directory), user_message="Do it")
        else:
            handle = await runner.resume_handle(team(directory), run_id=run_id)
        print("run", handle.run_id, flush=True)
        print("result", json.dumps(comparable(await handle.await_result())), flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None))
