"""One run of an agent that has the tools of a hostile server, and what holds of any such run, whatever the server does."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner
from afk_es.errors import AfkError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log.memory import MemoryEventLog
from afk_es.machine import AgentRunEvent
from afk_es.mcp import MCPClient
from afk_es.testing import ScriptedModel, log_problems
from tests.mcp.hostile.lies import LIES
from tests.mcp.hostile.server import Server
from tests.support.processes import is_running
from tests.support.wire import Journal, on_http

ROOT = Path(__file__).parents[3]
Transport = Literal["http", "stdio"]

SECRET = "sk-secret-of-the-user"
"""The client's token; a server may send it back."""

LONGEST_LOG = 256 * 1024
"""Bytes that a run may write because of a server."""

MOST_MEMORY_MIB = 96
"""By how much the process may grow in a trial."""

_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202e]|<\\|im_start\\|>|^System:", re.MULTILINE)
"""What a terminal or a model would take for more than text."""


@dataclass
class Trial:
    """What happened.

    Attributes:
        asked: what the model was asked, in order.
        calls: how often the server was asked to call a tool.
        told: everything that the server was told.
    """

    result: AgentResult | None = None
    error: AfkError | None = None
    events: list[AgentRunEvent] = field(default_factory=list)
    asked: list[LLMRequest] = field(default_factory=list)
    told: list[Any] = field(default_factory=list)
    took_s: float = 0.0
    grew_mib: float = 0.0

    @property
    def calls(self) -> int:
        """How often the server was asked to call a tool."""
        return sum(entry.get("method") == "tools/call" for entry in self.told)

    @property
    def tools(self) -> dict[str, dict[str, Any]]:
        """The tools that the run began with, by the end of their names after the prefix."""
        specs = self.events[0].data["agent"].get("tools", [])
        return {spec["name"].partition("_")[2]: spec for spec in specs}

    def ending(self) -> dict[str, Any]:
        """How the call of the tool ended."""
        return next(event.data for event in self.events if event.type == "tool_completed")


def model(trial: Trial, text: str) -> ScriptedModel:
    """Calls the tool `echo`, if there is one, and says what it got."""

    def answered(request: LLMRequest) -> LLMResponse:
        trial.asked.append(request)
        if request.messages[-1].role == "tool":
            return LLMResponse(text=request.messages[-1].content)
        for offered in request.tools:
            if offered.name.endswith("echo"):
                return LLMResponse(tool_calls=(ToolCall(id="c", tool_name=offered.name, arguments={"text": text}),))
        return LLMResponse(text="no tool")

    return ScriptedModel(answered)


@asynccontextmanager
async def hostile(lie: str, transport: Transport, directory: Path, **options: Any) -> AsyncIterator[tuple[MCPClient, Journal]]:
    """A client of the server that tells this lie, and what that server is told."""
    journal = Journal(directory / "told.jsonl")
    options = {"name": "far", "timeout_s": 10.0, "connect_timeout_s": 10.0, **options}
    if transport == "stdio":
        command = [sys.executable, "-S", "-m", "tests.mcp.hostile", lie, str(journal.path)]
        yield MCPClient(command, env={"PYTHONPATH": str(ROOT)}, **options), journal
        return
    server = Server(LIES[lie], journal)
    async with on_http(server.heard, server.fetched) as url:
        yield MCPClient(f"{url}/mcp", headers={"Authorization": f"Bearer {SECRET}"}, **options), journal


async def tried(lie: str, transport: Transport, directory: Path, *, text: str = "hi", **options: Any) -> Trial:
    """Run the agent to its end."""
    trial = Trial()
    log = MemoryEventLog()
    tasks = asyncio.all_tasks()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with hostile(lie, transport, directory, **options) as (client, journal):
        began = time.monotonic()
        agent = Agent(name="clerk", model=model(trial, text), mcp_servers=[client])
        try:
            async with Runner(log=log) as runner:
                trial.result = await runner.run(agent, user_message="Go", run_id="run")
        except AfkError as error:
            trial.error = error
        trial.took_s = time.monotonic() - began
        trial.told = journal.entries()
        assert asyncio.all_tasks() - tasks - {asyncio.current_task()} == set() or transport == "http", "tasks were left behind"
    trial.grew_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    trial.events = await log.read("run") if trial.error is None else []
    return trial


def broken_promises(trial: Trial) -> list[str]:
    """What does not hold, of what holds of every run whatever its servers do."""
    broken = [f"the log: {problem}" for problem in log_problems(trial.events)] if trial.events else []
    written = json.dumps([event.data for event in trial.events])
    told = written + str(trial.error)
    if len(written) > LONGEST_LOG:
        broken.append(f"the run wrote {len(written)} bytes")
    if SECRET in told:
        broken.append("the token is in the log or in the error")
    if "Traceback" in told:
        broken.append("a traceback is in the log or in the error")
    if trial.grew_mib > MOST_MEMORY_MIB:
        broken.append(f"the process grew by {trial.grew_mib:.0f} MiB")
    for request in trial.asked:
        shown = [message.content for message in request.messages if message.role == "tool"] + texts(msgspec.to_builtins(request.tools))
        broken += [f"the model was shown {found.group()!r}" for each in shown if (found := _OBEYED.search(each))]
    broken += [f"it fetched {entry['fetched']}" for entry in trial.told if entry.get("fetched", ["GET", "/mcp"])[1] != "/mcp"]
    broken += [f"process {entry['pid']} is still there" for entry in trial.told if "pid" in entry and is_running(entry["pid"])]
    return broken


def texts(value: Any) -> list[str]:
    """Every text in a JSON value, keys as well."""
    match value:
        case str():
            return [value]
        case dict():
            return [text for pair in value.items() for each in pair for text in texts(each)]
        case list() | tuple():
            return [text for each in value for text in texts(each)]
        case _:
            return []
