"""A server in a process of its own, that is killed where a test says. It is forked from a server of processes that has imported everything."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from afk_es.a2a import A2AServer
from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.a2a.server.asking import calls
from tests.crash.journal import Journal

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.a2a.server.serving", "afk_es.a2a.server.server", "a2a.client"])

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Job:
    """What a process serves, and where it is to die: "" for nowhere, or such as "before pay"."""

    directory: Path
    stop: str = ""
    asks: bool = False


def agent_of(job: Job, stopping: Any) -> Agent:
    """A clerk who pays once, and tells of it. Its model goes by the messages, so that any process can go on."""
    journal = Journal(job.directory / "journal.jsonl")

    @tool
    async def pay(item: str, ctx: ToolContext) -> str:
        """Pay."""
        stopping("before pay")
        journal.note("pay", ctx, item=item)
        stopping("after pay")
        return f"paid {item}"

    def answer(request: LLMRequest) -> LLMResponse | str:
        last = request.messages[-1]
        if last.role == "user":
            stopping("first answer")
            return calls("pay", item="tea")
        stopping("last answer")
        return f"so: {last.content}"

    rules = [PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "pay")] if job.asks else []
    return Agent(name="clerk", model=ScriptedModel(answer), tools=[pay], policy_engine=PolicyEngine(rules=rules))


def serve(job: Job, parent: Connection) -> None:
    """The process: it says where it listens, and blocks as a whole where it is to die."""

    def stopping(place: str) -> None:
        if place == job.stop:
            parent.send(place)
            parent.recv()

    async def main() -> None:
        server = A2AServer(agent_of(job, stopping), log=job.directory / "runs.db", push_to_private=True)
        async with server.serve() as served:
            parent.send(served.url)
            await served.until_stopped()

    asyncio.run(main())


class Served:
    """A process that serves, seen from its parent."""

    def __init__(self, process: Any, told: Connection) -> None:
        self._process = process
        self._told = told

    async def says(self) -> str:
        """The next that it says: where it listens, or where it has come to."""
        there = await asyncio.get_running_loop().run_in_executor(None, self._told.poll, PATIENCE_S)
        assert there, "the process says nothing"
        said = self._told.recv()
        assert isinstance(said, str)
        return said

    def kill(self) -> None:
        """With SIGKILL, and wait for its end."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.join(PATIENCE_S)

    def stop(self) -> int:
        """In order, as an operator does; its exit code."""
        os.kill(self._process.pid, signal.SIGTERM)
        self._process.join(PATIENCE_S)
        code = self._process.exitcode
        assert isinstance(code, int)
        return code


@contextmanager
def process(job: Job) -> Iterator[Served]:
    """The process, which does not outlive the test."""
    own, others = CONTEXT.Pipe()
    child = CONTEXT.Process(target=serve, args=(job, others), daemon=True)
    child.start()
    others.close()
    try:
        yield Served(child, own)
    finally:
        if child.is_alive():
            os.kill(child.pid or 0, signal.SIGKILL)
        child.join(PATIENCE_S)
        child.close()
        own.close()
