"""A task is followed without loss: chunks while the answer is written, the whole at the end, and the same to whoever comes later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest
from a2a.server.tasks.task_manager import append_artifact_to_task
from a2a.types.a2a_pb2 import StreamResponse, Task, TaskState
from a2a.utils.errors import InvalidParamsError, UnsupportedOperationError

from afk_es.a2a import A2AServer
from afk_es.agents import Agent
from afk_es.llms import LLMRequest, LLMResponse, TextDelta
from afk_es.llms.response import StreamPart
from afk_es.testing import ScriptedModel
from tests.a2a.server.asking import BINDINGS, COMPLETED, INPUT_REQUIRED, WORKING, Asker, answer_of, asker_at, calls
from tests.a2a.server.test_questions import Shop

ANSWER = "one two three four five six seven eight"


class Writer:
    """A model that writes word by word, and stops after each until it may go on."""

    provider_id = "writer"

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.written: asyncio.Queue[str] = asyncio.Queue()
        self.may_begin = asyncio.Event()
        self.may_go_on = asyncio.Semaphore(0)

    def write(self) -> None:
        """Let it write to the end."""
        self.may_begin.set()
        for _ in self.words:
            self.may_go_on.release()

    async def chat(self, request: LLMRequest) -> LLMResponse:
        """Only streams."""
        raise NotImplementedError

    async def chat_stream(self, request: LLMRequest) -> AsyncIterator[StreamPart]:
        """The words, one by one."""
        await self.may_begin.wait()
        for word in self.words:
            yield TextDelta(word)
            self.written.put_nowait(word)
            await self.may_go_on.acquire()
        yield LLMResponse(text="".join(self.words))


@asynccontextmanager
async def listening(server: A2AServer, binding: str = "JSONRPC") -> AsyncIterator[Asker]:
    """Over HTTP: in memory an answer comes whole, and nothing could be seen of a stream."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(server.serve())
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=20))
        yield await stack.enter_async_context(asker_at(served.url, http, binding))


def kept(events: list[StreamResponse]) -> Task:
    """The task as a client keeps it that was told all this."""
    task = Task()
    task.CopyFrom(events[0].task)
    for event in events[1:]:
        if event.HasField("artifact_update"):
            append_artifact_to_task(task, event.artifact_update)
        else:
            task.status.CopyFrom(event.status_update.status)
    return task


def states(events: list[StreamResponse]) -> list[str]:
    """The states that were told, in order."""
    told = [event.status_update.status.state if event.HasField("status_update") else event.task.status.state for event in events]
    return [TaskState.Name(state).removeprefix("TASK_STATE_") for state in told if state]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_answer_comes_in_chunks_and_then_whole(binding: str) -> None:
    writer = Writer(["one ", "two ", "three"])
    async with listening(A2AServer(Agent(name="clerk", model=writer), log=":memory:"), binding) as client:
        stream = client.stream("count")
        events = [await anext(stream)]
        writer.write()
        events += [event async for event in stream]
        task = await client.get(events[0].task.id)
    chunks = [event.artifact_update for event in events if event.HasField("artifact_update")]
    assert [(chunk.artifact.parts[0].text, chunk.append, chunk.last_chunk) for chunk in chunks] == [
        ("one ", False, False),
        ("two ", True, False),
        ("three", True, False),
        ("one two three", False, True),
    ]
    assert states(events)[-1] == "COMPLETED"
    assert answer_of(kept(events)) == answer_of(task) == "one two three"


async def test_a_text_before_a_tool_call_is_replaced_by_the_answer() -> None:
    shop = Shop("allow", script=[LLMResponse(text="let me see", tool_calls=calls("pay", item="tea").tool_calls), ANSWER])
    async with listening(A2AServer(shop.agent, log=":memory:")) as client:
        events = [event async for event in client.stream("buy tea")]
        task = await client.get(events[0].task.id)
    assert answer_of(kept(events)) == answer_of(task) == ANSWER
    said = [event.status_update.status.message.parts[0].text for event in events if event.status_update.status.HasField("message")]
    assert said == ["let me see"]
    assert [message.parts[0].text for message in task.history] == ["buy tea", "let me see"]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_who_subscribes_in_the_middle_of_a_text_gets_the_whole_of_it(binding: str) -> None:
    writer = Writer(["one ", "two ", "three"])
    async with listening(A2AServer(Agent(name="clerk", model=writer), log=":memory:"), binding) as client:
        stream = client.stream("count")
        first = await anext(stream)
        writer.may_begin.set()
        await writer.written.get()
        subscription = client.subscribe(first.task.id)
        later = [await anext(subscription)]
        assert later[0].task.status.state == WORKING
        writer.write()
        later += [event async for event in subscription]
        events = [first, *[event async for event in stream]]
    # No piece of what they did not see from its beginning: it would look like the beginning.
    assert [event.artifact_update.artifact.parts[0].text for event in later if event.HasField("artifact_update")] == ["one two three"]
    assert answer_of(kept(events)) == answer_of(kept(later)) == "one two three"
    assert states(later) == ["WORKING", "COMPLETED"]


async def test_a_client_that_lost_its_connection_finds_the_task_going_on() -> None:
    writer = Writer(["one ", "two"])
    async with listening(A2AServer(Agent(name="clerk", model=writer), log=":memory:")) as client:
        stream = client.stream("count")
        first = await anext(stream)
        writer.may_begin.set()
        await writer.written.get()
        await stream.aclose()  # type: ignore[attr-defined]
        subscription = client.subscribe(first.task.id)
        later = [await anext(subscription)]
        writer.write()
        later += [event async for event in subscription]
        again = [event async for event in client.stream("count")]
    assert answer_of(kept(later)) == answer_of(again[0].task) == "one two"


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_stream_ends_where_the_task_waits_and_the_answers_stream_goes_on(binding: str) -> None:
    shop = Shop()
    async with listening(A2AServer(shop.agent, log=":memory:"), binding) as client:
        events = [event async for event in client.stream("buy tea")]
        assert states(events)[-1] == "INPUT_REQUIRED"
        task = kept(events)
        assert task.status.message.parts[0].text.startswith("May pay be called")
        assert [event.task.status.state for event in [event async for event in client.subscribe(task.id)]] == [INPUT_REQUIRED]
        answered = [event async for event in client.stream("yes", "m2", task_id=task.id)]
        assert states(answered)[-1] == "COMPLETED"
        assert shop.paid == ["tea"]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_errors_of_a_stream_come_before_it_begins(binding: str) -> None:
    async with listening(A2AServer(Agent(name="clerk", model=ScriptedModel(["done"])), log=":memory:"), binding) as client:
        task = (await anext(client.stream("hello"))).task
        assert (await client.send("hello")).status.state == COMPLETED
        with pytest.raises(UnsupportedOperationError, match="has ended"):
            await anext(client.subscribe(task.id))
        with pytest.raises(InvalidParamsError):
            await anext(client.stream("something else"))
