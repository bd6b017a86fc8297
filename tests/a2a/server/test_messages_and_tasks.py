"""A message begins a task, once: the SDK's client, both transports, in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from a2a.types.a2a_pb2 import GetTaskRequest, Message, Part, Role
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InternalError,
    InvalidParamsError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from pydantic import BaseModel

from afk_es.a2a import A2AServer, ServedAgent
from afk_es.a2a.server.messages import said_by
from afk_es.agents import Agent, FailSafeConfig, PolicyEngine, PolicyRule
from afk_es.core import Runner
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMRequest, LLMResponse, Usage
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.a2a.server.asking import BINDINGS, COMPLETED, FAILED, REJECTED, URL, WORKING, answer_of, asker, calls, state_of


def echo(request: LLMRequest) -> str:
    return f"heard: {request.messages[-1].content}"


def clerk(**fields: Any) -> Agent:
    return Agent(**{"name": "clerk", "model": ScriptedModel(echo), **fields})


def served(agent: Agent | ServedAgent, log: Path | str = ":memory:", **options: Any) -> A2AServer:
    return A2AServer(agent, log=log, url=URL, **options)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_message_is_answered_with_its_task_once_that_has_ended(binding: str) -> None:
    async with asker(served(clerk()), binding) as client:
        task = await client.send("hello")
        assert (task.status.state, answer_of(task)) == (COMPLETED, "heard: hello")
        assert await client.get(task.id) == task
        (said,) = task.history
        assert (said.message_id, said.role, said.parts[0].text, said.task_id, said.context_id) == (
            "m1",
            Role.ROLE_USER,
            "hello",
            task.id,
            task.context_id,
        )


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_client_that_does_not_wait_has_the_task_at_once(binding: str) -> None:
    go = asyncio.Event()

    async def slow(request: LLMRequest) -> str:
        await go.wait()
        return "done"

    async with asker(served(clerk(model=ScriptedModel(slow))), binding) as client:
        task = await client.send("hello", immediately=True)
        assert task.status.state in (WORKING, 1), state_of(task)
        go.set()
        assert answer_of(await client.send("hello")) == "done"


async def test_a_message_that_comes_again_is_the_same_task(tmp_path: Path) -> None:
    model = ScriptedModel(["only once"])
    for _ in range(2):
        # Another server each time, as after a restart.
        async with asker(served(clerk(model=model), tmp_path / "runs.db")) as client:
            first, again = [await client.send("hello") for _ in range(2)]
            assert first.id == again.id
            assert answer_of(again) == "only once"
    assert len(model.requests) == 1


async def test_messages_that_come_at_once_are_one_task() -> None:
    model = ScriptedModel(["only once"])
    async with asker(served(clerk(model=model))) as client:
        tasks = await asyncio.gather(*(client.send("hello") for _ in range(8)))
    assert {answer_of(task) for task in tasks} == {"only once"}
    assert len({task.id for task in tasks}) == 1


@pytest.mark.parametrize("binding", BINDINGS)
async def test_another_message_under_the_same_id_is_refused(binding: str) -> None:
    async with asker(served(clerk()), binding) as client:
        task = await client.send("hello")
        with pytest.raises(InvalidParamsError, match="used for another message"):
            await client.send("good bye")
        with pytest.raises(InvalidParamsError, match="used for another message"):
            await client.send("hello", context_id="another")
        assert await client.get(task.id) == task


async def test_a_context_is_a_thread() -> None:
    model = ScriptedModel(lambda request: " / ".join(message.content for message in request.messages))
    async with asker(served(clerk(model=model))) as client:
        first = await client.send("one")
        second = await client.send("two", "m2", context_id=first.context_id)
        assert second.context_id == first.context_id
        assert answer_of(second) == "one / one / two"
        alone = await client.send("three", "m3")
        assert answer_of(alone) == "three"


async def test_a_context_may_have_a_name_of_the_clients() -> None:
    model = ScriptedModel(lambda request: str(len(request.messages)))
    async with asker(served(clerk(model=model))) as client:
        tasks = [await client.send("one", f"m{number}", context_id="my talk") for number in range(2)]
        assert [task.context_id for task in tasks] == ["my talk", "my talk"]
        assert [answer_of(task) for task in tasks] == ["1", "3"]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_task_that_has_ended_takes_no_message(binding: str) -> None:
    async with asker(served(clerk()), binding) as client:
        task = await client.send("hello")
        with pytest.raises(UnsupportedOperationError, match="has ended"):
            await client.send("more", "m2", task_id=task.id)
        with pytest.raises(InvalidParamsError, match="not that of the task"):
            await client.send("more", "m3", task_id=task.id, context_id="another")
        # The first message, sent again with what the client has learned meanwhile.
        assert await client.send("hello", task_id=task.id, context_id=task.context_id) == task


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_unknown_task_is_not_found(binding: str) -> None:
    async with asker(served(clerk()), binding) as client:
        with pytest.raises(TaskNotFoundError):
            await client.get("a2a-nothing")
        with pytest.raises(TaskNotFoundError):
            await client.send("more", task_id="a2a-nothing")


class Order(BaseModel):
    item: str
    number: int


async def test_a_structured_answer_is_data() -> None:
    async with asker(served(clerk(model=ScriptedModel(['{"item": "tea", "number": 12345678901234567890}']), output_type=Order))) as client:
        task = await client.send("order")
    (part,) = task.artifacts[0].parts
    # JSON readers elsewhere would round it.
    assert MessageToDict(part.data) == {"item": "tea", "number": "12345678901234567890"}


async def test_what_a_task_used_is_told() -> None:
    answer = LLMResponse(text="done", usage=Usage(10, 5, 15), cost_usd=0.25)
    async with asker(served(clerk(model=ScriptedModel([answer])))) as client:
        task = await client.send("hello")
    assert MessageToDict(task.metadata) == {
        "afk_es/agent": "clerk",
        "afk_es/usage": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
        "afk_es/cost_usd": 0.25,
    }


async def test_data_is_json_for_the_model() -> None:
    data = Part(data=ParseDict({"item": "tea"}, Value()))
    async with asker(served(clerk())) as client:
        task = await client.send("", parts=[Part(text="order"), data])
    assert answer_of(task) == 'heard: order\n{"item":"tea"}'


PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_image_is_an_image_where_the_agent_takes_them(binding: str) -> None:
    model = ScriptedModel(["a cat"])
    async with asker(served(ServedAgent(agent=clerk(model=model), images=True)), binding) as client:
        task = await client.send("", parts=[Part(text="what is it"), Part(raw=PNG, media_type="image/png")])
        assert answer_of(task) == "a cat"
        # The bytes are not sent back.
        assert [part.text for part in task.history[0].parts] == ["what is it", "[image/png]"]
        again = await client.send("", parts=[Part(text="what is it"), Part(raw=PNG, media_type="image/png")])
        assert again.id == task.id
    (message,) = model.requests[0].messages
    assert [image.data for image in message.parts if hasattr(image, "data")] == [PNG]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "part",
    [
        Part(raw=PNG, media_type="image/png"),
        Part(raw=b"MZ", media_type="application/x-msdownload"),
        Part(url="https://example.org/cat.png", media_type="image/png"),
    ],
    ids=["image", "program", "address"],
)
@pytest.mark.parametrize("binding", BINDINGS)
async def test_another_file_is_refused_and_nothing_begins(binding: str, part: Part, tmp_path: Path) -> None:
    server = served(clerk(), tmp_path / "runs.db")
    async with asker(server, binding) as client:
        with pytest.raises(ContentTypeNotSupportedError):
            await client.send("", parts=[part])
        assert await server.runner.log.runs() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"parts": [Part(text=" ")]},
        {"parts": [Part()]},
        {"message_id": "x" * 257},
        {"context_id": "a\nb"},
        {"task_id": "é"},
        {"reference_task_ids": ["x"] * 33},
    ],
    ids=["blank", "empty", "long id", "two lines", "not ascii", "references"],
)
async def test_a_message_that_says_nothing_or_has_a_bad_id_is_refused(fields: dict[str, Any]) -> None:
    async with asker(served(clerk())) as client:
        with pytest.raises(InvalidParamsError):
            await client.send("hello", **fields)


def test_data_that_no_json_can_say_is_refused() -> None:
    """The SDK's client would not send it; Python's own reader of JSON takes it from others."""
    for number in ("inf", "-inf", "nan"):
        part = Part(data=Value(number_value=float(number)))
        with pytest.raises(InvalidParamsError, match="finite"):
            said_by(Message(message_id="m1", role=Role.ROLE_USER, parts=[part]))


async def test_what_failed_inside_is_not_told() -> None:
    model = ScriptedModel([LLMConfigurationError("key sk-12345 of /home/operator is not valid")])
    async with asker(served(clerk(model=model))) as client:
        task = await client.send("hello")
    assert (task.status.state, task.status.message.parts[0].text) == (FAILED, "the agent failed (LLMConfigurationError)")
    assert "sk-12345" not in str(task)


async def test_a_limit_is_told() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "x"

    agent = clerk(model=ScriptedModel(lambda _request: calls("look")), tools=[look], fail_safe=FailSafeConfig(max_steps=2))
    async with asker(served(agent)) as client:
        task = await client.send("hello")
    assert (task.status.state, task.status.message.parts[0].text) == (FAILED, "max_steps reached: 2 of 2 used")


async def test_a_task_whose_time_is_used_up_has_failed() -> None:
    """Nothing that its client could say would give it more."""

    async def slow(_request: LLMRequest) -> str:
        await asyncio.Event().wait()
        return ""

    agent = clerk(model=ScriptedModel(slow), fail_safe=FailSafeConfig(max_wall_time_s=0.05))
    async with asker(served(agent)) as client:
        task = await client.send("hello")
        assert (task.status.state, task.status.message.parts[0].text) == (FAILED, "max_wall_time_s reached: 0.05 s of 0.05 used")
        assert await client.send("hello") == task


async def test_a_task_that_policy_forbids_is_rejected() -> None:
    rule = PolicyRule(action="deny", subjects=("llm",), condition=lambda event: event.event_type == "llm_before_execute", reason="closed")
    agent = clerk(policy_engine=PolicyEngine(rules=[rule]))
    async with asker(served(agent)) as client:
        task = await client.send("hello")
    assert task.status.state == REJECTED, task
    assert "closed" in task.status.message.parts[0].text


async def test_a_degraded_task_says_what_is_missing() -> None:
    agent = clerk(
        model=ScriptedModel(lambda _request: LLMConfigurationError("no key")),
        fail_safe=FailSafeConfig(llm_failure_policy="retry_then_degrade"),
    )
    async with asker(served(agent)) as client:
        task = await client.send("hello")
    assert task.status.state == COMPLETED
    assert MessageToDict(task.metadata)["afk_es/state"] == "degraded"
    assert "Incomplete" in task.status.message.parts[0].text


async def test_an_error_of_ours_is_told_as_a_number_only(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    server = served(clerk())

    async def broken(*_arguments: object, **_named: object) -> None:
        raise RuntimeError("the password is hunter2")

    async with asker(server) as client:
        monkeypatch.setattr(server.runner.log, "read", broken)
        with pytest.raises(InternalError) as caught:
            await client.client.get_task(GetTaskRequest(id="x"))
        monkeypatch.undo()
    assert "hunter2" not in str(caught.value)
    number = str(caught.value).rpartition(" ")[2]
    assert number in caplog.text


async def test_a_runner_of_ones_own_is_used(tmp_path: Path) -> None:
    runner = Runner(log=tmp_path / "runs.db")
    async with asker(A2AServer(clerk(), runner=runner, url=URL)) as client:
        task = await client.send("hello")
    async with runner:
        assert [record.run_id for record in await runner.log.runs()] == [task.id]
