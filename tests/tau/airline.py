"""An airline's support desk: an agent with 14 tools, and the conversations that a real model had with its customers, played again.

Every user message is one run; the runs of a conversation share a thread. The model's turns come from a local OpenAI-compatible server,
the tools' outputs from the recording. As a program it plays all conversations that are there, and says how long that took:

    python -m tests.tau.airline --log airline.db [--streamed] [conversation ...]
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from afk_es.agents import Agent, FailSafeConfig
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.llms import ChatModel, LLMBuilder
from afk_es.tools import Tool, ToolContext, tool
from tests.support.openai_server import OpenAIServer, Responder
from tests.support.tau import Conversation, Recording, RenderTool, Run, recorded_exactly, recorded_turns

CLOSING = "Thank you for calling. Goodbye."
"""What is served where the recording ends without an answer, as each conversation does: that text is ours, all before it is recorded."""

EXACT = RunnerConfig(sanitize_tool_output=False, untrusted_tool_preamble=False)
"""Tool outputs reach the model as they are: the recorded model saw them so."""

AT_ONCE = 8
"""Conversations that are going on at the same time in one event loop."""

BeforeTool = Callable[[str, dict[str, Any], ToolContext], Awaitable[None]]
"""Called when a tool has begun, with its name and its arguments."""

_LOOKS_ONLY = ("get_", "list_", "search_", "calculate", "think")


async def _nothing(_name: str, _arguments: dict[str, Any], _ctx: ToolContext) -> None:
    pass


def airline_agent(recording: Recording, conversation: Conversation, model: str | ChatModel, *, before_tool: BeforeTool = _nothing) -> Agent:
    """The agent whose tools answer as they did in this conversation."""
    return Agent(
        model=model,
        name="airline",
        instructions=recording.instructions,
        tools=[_recorded_tool(each["function"], conversation, before_tool) for each in recording.tools],
        fail_safe=FailSafeConfig(max_steps=40),
        max_steps=40,
    )


def _recorded_tool(function: dict[str, Any], conversation: Conversation, before_tool: BeforeTool) -> Tool[..., Any]:
    name = function["name"]

    @tool(
        name=name,
        description=function["description"],
        args_schema=function["parameters"],
        read_only=name.startswith(_LOOKS_ONLY),
    )
    async def answer(arguments: dict[str, Any], ctx: ToolContext) -> str:
        await before_tool(name, arguments, ctx)
        return conversation.result(ctx.tool_call_id, name, arguments)

    return answer


def airline_model(conversation: Conversation, url: str) -> ChatModel:
    """The model as the local server knows it."""
    return LLMBuilder().provider("openai").model(conversation.key).settings(api_base=url, api_key="no-key-needed").build()


def airline_server(recording: Recording, *, render: RenderTool = recorded_exactly) -> OpenAIServer:
    """A server that answers each request as it was recorded, if its history is the right one."""
    return OpenAIServer(airline_responder(recording, render=render), piece=40)


def airline_responder(recording: Recording, *, render: RenderTool = recorded_exactly) -> Responder:
    """What that server answers by."""
    return recorded_turns(recording, render=render, closing=CLOSING)


def answer_to(run: Run) -> str:
    """The text that ends this run."""
    return run.final_text if run.answered else CLOSING


async def play(runner: Runner, agent: Agent, conversation: Conversation, *, streamed: bool = False) -> list[AgentResult]:
    """All runs of a conversation, on a thread with its name. What an earlier process has left behind is resumed first."""
    results = [await runner.resume(agent, run_id=head.run_id) for head in await runner.log.thread(conversation.key)]
    for run in conversation.runs[len(results) :]:
        results.append(await _said(runner, agent, run.user_message, conversation.key, streamed))
    return results


async def _said(runner: Runner, agent: Agent, user_message: str, thread_id: str, streamed: bool) -> AgentResult:
    if not streamed:
        return await runner.run(agent, user_message=user_message, thread_id=thread_id)
    text = ""
    stream = await runner.run_stream(agent, user_message=user_message, thread_id=thread_id)
    async for event in stream:
        if event.type == "step_started":
            text = ""
        text += event.text_delta or ""
    assert text == stream.result.final_text, "the deltas of the last step are the answer"
    return stream.result


async def play_all(
    runner: Runner, recording: Recording, conversations: Iterable[Conversation], url: str, *, streamed: bool = False
) -> dict[str, list[AgentResult]]:
    """The results of all these conversations by their keys, `AT_ONCE` of them at a time."""
    turnstile = asyncio.Semaphore(AT_ONCE)
    results: dict[str, list[AgentResult]] = {}

    async def one(conversation: Conversation) -> None:
        async with turnstile:
            agent = airline_agent(recording, conversation, airline_model(conversation, url))
            results[conversation.key] = await play(runner, agent, conversation, streamed=streamed)

    async with runner, asyncio.TaskGroup() as group:
        for conversation in conversations:
            group.create_task(one(conversation))
    return results


@dataclasses.dataclass(frozen=True)
class Tally:
    """How much was played, and how long it took."""

    conversations: int = 0
    runs: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    seconds: float = 0.0

    @classmethod
    def of(cls, results: dict[str, list[AgentResult]], seconds: float) -> Tally:
        runs = [result.state_snapshot for each in results.values() for result in each]
        return cls(len(results), len(runs), sum(run.llm_calls for run in runs), sum(run.tool_calls for run in runs), seconds)

    def __str__(self) -> str:
        return (
            f"{self.conversations} conversations, {self.runs} runs, {self.model_calls} model calls, {self.tool_calls} tool calls "
            f"in {self.seconds:.1f} s"
        )


def main() -> None:
    """Play recorded conversations through a Runner."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("conversations", nargs="*", help="their names, such as tau-12-0; all unless given")
    parser.add_argument("--log", default=":memory:", help="the event log; default in memory")
    parser.add_argument("--streamed", action="store_true", help="let the model stream")
    chosen = parser.parse_args()
    recording = Recording.load()
    conversations = [recording.conversations[key] for key in chosen.conversations or recording.conversations]
    with airline_server(recording) as server:
        runner = Runner(log=chosen.log, config=EXACT)
        began = time.perf_counter()
        results = asyncio.run(play_all(runner, recording, conversations, server.url, streamed=chosen.streamed))
        print(Tally.of(results, time.perf_counter() - began))
    wrong = [key for key, each in results.items() if any(result.state != "completed" for result in each)]
    if wrong:
        raise SystemExit(f"not completed: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
