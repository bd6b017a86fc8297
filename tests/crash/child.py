"""A process that runs agents until somebody kills it: `python -m tests.crash.child JOB`, where JOB is JSON.

It speaks on stdout, a line at a time: `run ID` once a run is acknowledged, `at PLACE` when it has come to the place where it is to stop,
`result JSON` or `refused TYPE MESSAGE`. At its place it blocks as a whole until a line comes on stdin.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult, AgentRunHandle, Runner
from afk_es.errors import AfkError, LLMRetryableError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel, comparable
from afk_es.tools import ToolContext, tool
from tests.crash.journal import Journal
from tests.crash.scenarios import Plan, planned, since_user

PLANS: dict[str, Plan] = {
    "sequential": [["pay"], ["put"], ["pay"]],
    "parallel": [["pay", "put", "look", "pay"]],
    "overloaded": [["pay"], ["put"]],
}

RETRY_AFTER_S = 1.5
"""What the overloaded model asks for."""

EFFECTS: dict[str, list[str]] = {
    "sequential": ["model_1", "call_1_1", "model_2", "call_2_1", "model_3", "call_3_1", "model_4"],
    "parallel": ["model_1", "call_1_1", "call_1_2", "call_1_3", "call_1_4", "model_2"],
}
"""Per plan, everything that touches the world, by name."""


class Gate:
    """Where the process stops.

    Args:
        stop: such as "before call_1_1" or "after model_2"; empty: nowhere.
        alone: only the effect that came there waits, and its siblings go on.
        pause_s: how long every effect takes.
    """

    def __init__(self, stop: str, alone: bool, pause_s: float) -> None:
        self._stop = stop
        self._alone = alone
        self._pause_s = pause_s

    async def at(self, place: str) -> None:
        """The process has come to this place."""
        if place != self._stop:
            await asyncio.sleep(self._pause_s)
            return
        self._stop = ""
        say("at", place)
        if self._alone:
            await asyncio.get_running_loop().run_in_executor(None, released)
        else:
            released()


def released() -> None:
    """Wait for a line; end with the parent."""
    if not sys.stdin.readline():
        os._exit(1)


def say(word: str, text: str) -> None:
    """Tell the parent."""
    sys.stdout.write(f"{word} {text}\n")
    sys.stdout.flush()


def agent(directory: Path, plan: str, gate: Gate) -> Agent:
    """The same agent in every process."""
    journal = Journal(directory / "journal.jsonl")

    async def effect(name: str, item: str, ctx: ToolContext) -> str:
        await gate.at(f"before {ctx.tool_call_id}")
        journal.note(name, ctx, item=item)
        await gate.at(f"after {ctx.tool_call_id}")
        return f"{name} {item}"

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay."""
        return await effect("pay", item, ctx)

    @tool(idempotent=True)
    async def put(item: str, ctx: ToolContext) -> str:
        """Put."""
        return await effect("put", item, ctx)

    @tool(read_only=True)
    async def look(item: str, ctx: ToolContext) -> str:
        """Look."""
        return await effect("look", item, ctx)

    async def ask(request: LLMRequest) -> LLMResponse:
        turn = 1 + sum(bool(message.tool_calls) for message in since_user(request))
        await gate.at(f"before model_{turn}")
        journal.note("ask", run_id=request.metadata["run_id"], call_id=f"model_{turn}")
        answer = planned(PLANS[plan])(request)
        await gate.at(f"after model_{turn}")
        return answer

    tools = [pay, put, look]
    if plan != "overloaded":
        return Agent(name="clerk", model=ScriptedModel(ask), tools=tools)

    # Three attempts fail in the first step and one in the second, which makes the breaker's four; the fallback answers.
    fail_safe = FailSafeConfig(fallback_model_chain=(ScriptedModel(ask, model="plan b"),), breaker_failure_threshold=4)
    return Agent(name="clerk", model=ScriptedModel(_overloaded), tools=tools, fail_safe=fail_safe)


def _overloaded(request: LLMRequest) -> Exception:
    return LLMRetryableError("overloaded", status_code=429, retry_after_s=RETRY_AFTER_S)


async def main(job: dict[str, Any]) -> None:
    """Do the job."""
    directory = Path(job["directory"])
    gate = Gate(job.get("stop", ""), job.get("alone", False), job.get("pause_s", 0.0))
    clerk = agent(directory, job["plan"], gate)
    async with Runner(log=directory / "runs.db") as runner:
        match job["do"]:
            case "run":
                await asyncio.gather(*(_start(runner, clerk) for _ in range(job.get("runs", 1))))
            case "resume":
                await asyncio.gather(*(_resume(runner, clerk, run_id) for run_id in job["run_ids"]))
            case "contend":
                # Whoever is told a run id by the parent tries to get it, at the same moment as the other.
                say("ready", "")
                while run_id := (await asyncio.to_thread(sys.stdin.readline)).strip():
                    await _resume(runner, clerk, run_id)
            case other:
                raise ValueError(f"there is no job {other!r}")


async def _start(runner: Runner, clerk: Agent) -> None:
    handle = await runner.run_handle(clerk, user_message="Do it")
    say("run", handle.run_id)
    await _finish(handle)


async def _resume(runner: Runner, clerk: Agent, run_id: str) -> None:
    try:
        handle = await runner.resume_handle(clerk, run_id=run_id)
    except AfkError as error:
        say("refused", f"{type(error).__name__} {error}")
    else:
        await _finish(handle)


async def _finish(handle: AgentRunHandle) -> None:
    try:
        say("result", json.dumps(_told(await handle.await_result())))
    except AfkError as error:
        say("refused", f"{type(error).__name__} {error}")


def _told(result: AgentResult) -> dict[str, Any]:
    return {"run_id": result.run_id, **comparable(result)}


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
