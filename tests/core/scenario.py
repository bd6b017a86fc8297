"""The words in which the tests of the Runner are written: what a model says, what tools count, what a log tells."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from afk_es.agents import Agent, FailSafeConfig, PolicyEvent
from afk_es.core import AgentRunEvent, Runner
from afk_es.llms import LLMRequest, LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, tool


def asks(*calls: tuple[str, dict[str, Any]], text: str = "", cost: float | None = None) -> LLMResponse:
    """A model's answer that asks for these tools, each call with the id `c1`, `c2`, ... of its place."""
    wanted = tuple(ToolCall(f"c{number}", name, arguments) for number, (name, arguments) in enumerate(calls, start=1))
    return LLMResponse(text=text, tool_calls=wanted, finish_reason="tool_calls", usage=Usage(10, 5, 15), cost_usd=cost)


def says(text: str, *, cost: float | None = None) -> LLMResponse:
    """A model's final answer."""
    return LLMResponse(text=text, finish_reason="stop", usage=Usage(20, 2, 22), cost_usd=cost, model="scripted-1-0613")


def limits(**fields: Any) -> FailSafeConfig:
    """Limits and policies, without a wall time unless one is given: simulated time jumps, and should not jump there."""
    return FailSafeConfig(**{"max_wall_time_s": None, **fields})


def agent(script: Any, *tools: Any, **fields: Any) -> Agent:
    """An agent on a script; `fail_safe` is `limits()` unless given."""
    model = script if hasattr(script, "chat") else ScriptedModel(script)
    return Agent(**{"model": model, "tools": tools, "fail_safe": limits(), **fields})


def model_of(described: Agent) -> ScriptedModel:
    """The agent's scripted model, which keeps its requests."""
    assert isinstance(described.model, ScriptedModel)
    return described.model


class Counted:
    """A tool that counts how often it really ran, and fails as often as it is told to.

    Args:
        failures: raised one after the other, by the first executions; after them it returns.
    """

    def __init__(self, *failures: BaseException, name: str = "work", **options: Any) -> None:
        self.ran = 0
        self.arguments: list[int] = []
        self._failures = list(failures)
        self.tool: Tool[..., Any] = tool(name=name, **options)(self._work)

    async def _work(self, n: int = 0) -> str:
        """Do some work."""
        self.ran += 1
        self.arguments.append(n)
        if self._failures:
            raise self._failures.pop(0)
        return f"done {n}"


class Stuck:
    """A tool that says it has begun and then waits until it is let go."""

    def __init__(self, name: str = "stuck", **options: Any) -> None:
        self.begun = asyncio.Event()
        self.let_go = asyncio.Event()
        self.cancelled = False
        self.ran = 0
        self.tool: Tool[..., Any] = tool(name=name, **options)(self._wait)

    async def _wait(self) -> str:
        """Wait."""
        self.ran += 1
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return "let go"


class StuckModel:
    """A model that says it was asked and then waits until it is let go."""

    provider_id = "stuck"

    def __init__(self, answer: str = "late") -> None:
        self.asked = asyncio.Event()
        self.let_go = asyncio.Event()
        self.requests = 0
        self._answer = answer

    async def chat(self, request: LLMRequest) -> LLMResponse:
        self.requests += 1
        self.asked.set()
        await self.let_go.wait()
        return LLMResponse(text=self._answer)


async def never(request: LLMRequest) -> LLMResponse:
    """A script's line of a model that does not answer at all."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def laid_down(runner: Runner, described: Agent) -> str:
    """Start a run, interrupt it at its first request to the model or its first tool, and return its id."""
    handle = await runner.run_handle(described, user_message="go")
    async for event in handle.events:
        if event.type in ("llm_called", "tool_started"):
            break
    await handle.interrupt()
    assert (await handle.await_result()).state == "interrupted"
    return handle.run_id


async def log_of(runner: Runner, run_id: str) -> list[AgentRunEvent]:
    """The run's events as the log has them."""
    return await runner.log.read(run_id)


async def until(holds: Callable[[], bool]) -> None:
    """Let everybody else in this event loop go on until it holds."""
    while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(0)


def types(events: Iterable[AgentRunEvent]) -> list[str]:
    """The types of the events, in order."""
    return [event.type for event in events]


def only(events: Iterable[AgentRunEvent], kind: str) -> list[AgentRunEvent]:
    """The events of that type."""
    return [event for event in events if event.type == kind]


def turns(request: LLMRequest) -> list[tuple[str, str]]:
    """What a model was shown, as (role, content)."""
    return [(message.role, message.content) for message in request.messages]


def assert_legal(request: LLMRequest) -> None:
    """A history that the chat APIs take: every tool call is answered right after it, and every result answers a call."""
    open_calls: list[str] = []
    for message in request.messages:
        if message.role == "tool":
            assert message.tool_call_id in open_calls, f"{message} answers no open call"
            open_calls.remove(message.tool_call_id)
            continue
        assert not open_calls, f"{open_calls} have no result before {message}"
        open_calls = [call.id for call in message.tool_calls]
    assert not open_calls, f"{open_calls} have no result"


def always(event: PolicyEvent) -> bool:
    """A condition that always holds."""
    return True
