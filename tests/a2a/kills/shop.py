"""A shopkeeper who is served by A2A, and a clerk who hands a task to it: what each of the processes does that are killed."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from afk_es.a2a import A2AClient, A2AServer
from afk_es.agents import Agent
from afk_es.core import Runner, RunnerConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.crash.journal import Journal
from tests.support.places import Gate, GatedLog
from tests.support.zygote import Said


def shopkeeper(directory: Path, gate: Gate) -> Agent:
    """Pays once, and says what came of it."""
    journal = Journal(directory / "effects.jsonl")

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay."""
        await gate.at("before effect")
        journal.note("pay", ctx, item=item)
        await gate.at("after effect")
        return f"pay {item}"

    def answered(request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "tool":
            return LLMResponse(text=request.messages[-1].content)
        return LLMResponse(tool_calls=(ToolCall(id="c", tool_name="pay", arguments={"item": "tea"}),))

    return Agent(name="shopkeeper", model=ScriptedModel(answered), tools=[pay])


async def serve(say: Said, job: dict[str, Any]) -> None:
    """Be the shop, at a port, which is said."""
    directory = Path(job["directory"])
    say("pid", str(os.getpid()))
    gate = Gate(job.get("stop", ""), directory / "go", say)
    config = RunnerConfig(interaction_mode="external")
    server = A2AServer(shopkeeper(directory, gate), runner=Runner(log=GatedLog(directory / "shop.db", gate), config=config))
    async with server.serve(port=job.get("port", 0)) as served:
        say("url", served.url)
        await asyncio.Event().wait()


async def call(say: Said, job: dict[str, Any]) -> None:
    """Be the clerk: begin the run, or go on with it."""
    directory = Path(job["directory"])
    gate = Gate(job.get("stop", ""), directory / "go", say)
    far = A2AClient(job["url"], timeout_s=job.get("timeout_s", 5.0), task_timeout_s=30.0).agent(name="shop", description="Pays.")

    def answered(request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "tool":
            return LLMResponse(text=request.messages[-1].content)
        return LLMResponse(tool_calls=(ToolCall(id="c", tool_name="transfer_to_shop", arguments={"task": "Pay for tea"}),))

    agent = Agent(name="clerk", model=ScriptedModel(answered), subagents=[far])
    log = GatedLog(directory / "clerk.db", gate)
    try:
        async with Runner(log=log) as runner:
            say("begun")
            if job.get("resumes"):
                result = await runner.resume(agent, run_id="run")
            else:
                result = await runner.run(agent, user_message="Go", run_id="run")
    finally:
        await log.close()
    say("result", json.dumps([result.state, result.final_text]))
