"""A shop that is served by MCP, and a clerk who calls its tools: what each of the processes does that are killed.

The shop's effects are lines of a journal of its own. Nothing else is believed of what it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import Runner, RunnerConfig
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.mcp import MCPClient, MCPServer
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.crash.journal import Journal
from tests.support.places import Gate, GatedLog
from tests.support.zygote import ROOT, Said


def shop(directory: Path, log: GatedLog, gate: Gate) -> MCPServer:
    """The server. Any number of processes may be it, on one log."""
    journal = Journal(directory / "effects.jsonl")

    async def effect(name: str, item: str, ctx: ToolContext) -> str:
        await gate.at("before effect")
        journal.note(name, ctx, item=item)
        await gate.at("after effect")
        return f"{name} {item}"

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay."""
        return await effect("pay", item, ctx)

    @tool(idempotent=True)
    async def put(item: str, ctx: ToolContext) -> str:
        """Put."""
        return await effect("put", item, ctx)

    config = RunnerConfig(interaction_mode="external")
    return MCPServer([pay, put], name="shop", runner=Runner(log=log, config=config))


async def serve(say: Said, job: dict[str, Any]) -> None:
    """Be the shop: over HTTP at a port, which is said, or over this process's stdin and stdout."""
    directory = Path(job["directory"])
    say("pid", str(os.getpid()))
    gate = Gate(job.get("stop", ""), directory / "go", say)
    log = GatedLog(directory / "shop.db", gate)
    server = shop(directory, log, gate)
    try:
        if job.get("over") == "stdio":
            await server.serve_stdio()
            return
        async with server.http_server(port=job.get("port", 0)) as served:
            say("url", f"{served.url}/mcp")
            await asyncio.Event().wait()
    finally:
        # Whoever hands a log in closes it; its threads would keep the process.
        await log.close()


async def call(say: Said, job: dict[str, Any]) -> None:
    """Be the clerk: begin the run, or go on with it."""
    directory = Path(job["directory"])
    gate = Gate(job.get("stop", ""), directory / "go", say)
    agent = clerk(client_of(directory, job), job["tool"], again=job.get("again", False))
    config = RunnerConfig(in_doubt=job.get("in_doubt", "report"))
    log = GatedLog(directory / "clerk.db", gate)
    try:
        async with Runner(log=log, config=config) as runner:
            say("begun")
            if job.get("resumes"):
                result = await runner.resume(agent, run_id=job.get("run", "run"))
            else:
                result = await runner.run(agent, user_message="Go", run_id=job.get("run", "run"))
    finally:
        await log.close()
    say("result", json.dumps([result.state, result.final_text]))


def client_of(directory: Path, job: dict[str, Any]) -> MCPClient:
    """The shop, as the clerk knows it."""
    options: dict[str, Any] = {"name": "shop", "trusted": job.get("trusted", False), "timeout_s": job.get("timeout_s", 10.0)}
    if job.get("over") != "stdio":
        return MCPClient(job["url"], **options)
    served = {"directory": str(directory), "over": "stdio", "stop": job.get("far_stop", "")}
    command = [sys.executable, "-m", "tests.mcp.kills.shop", json.dumps(served), str(directory / "shop.said")]
    return MCPClient(command, env={"PYTHONPATH": str(ROOT)}, **options)


def clerk(server: MCPClient, name: str, *, again: bool) -> Agent:
    """Calls one tool once, and says what it was told; `again`: a call that fails is made again, where its tool allows that."""

    def answered(request: LLMRequest) -> LLMResponse:
        if request.messages[-1].role == "tool":
            return LLMResponse(text=request.messages[-1].content)
        offered = next(each.name for each in request.tools if each.name.endswith(name))
        return LLMResponse(tool_calls=(ToolCall(id="c", tool_name=offered, arguments={"item": "tea"}),))

    limits = FailSafeConfig(tool_failure_policy="retry_then_continue" if again else "continue_with_error")
    return Agent(name="clerk", model=ScriptedModel(answered), mcp_servers=[server], fail_safe=limits)


if __name__ == "__main__":
    asyncio.run(serve(Said(Path(sys.argv[2])), json.loads(sys.argv[1])))
