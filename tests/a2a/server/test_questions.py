"""A task that needs a person waits for its client, who answers with a message to it; only a plain yes allows anything."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from a2a.types.a2a_pb2 import Part, Role, Task
from a2a.utils.errors import InvalidParamsError, UnsupportedOperationError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from afk_es.a2a import A2AServer
from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.errors import LogLockedError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import Tool, tool
from tests.a2a.server.asking import BINDINGS, COMPLETED, INPUT_REQUIRED, URL, Asker, answer_of, asker, calls, state_of


class Shop:
    """An agent that pays, and may do so only when it is told."""

    def __init__(self, action: str = "request_approval", payload: dict[str, Any] | None = None, script: list[Any] | None = None) -> None:
        self.paid: list[str] = []
        self.has_paid = threading.Event()
        rule = PolicyRule(
            rule_id="ask",
            action=action,
            condition=lambda event: event.tool_name == "pay",
            reason="it costs money",
            request_payload=payload or {},
        )
        self.agent = Agent(
            name="shop",
            model=ScriptedModel(self.answer if script is None else script),
            tools=[self.pay_tool()],
            policy_engine=PolicyEngine(rules=[rule]),
        )

    def pay_tool(self) -> Tool[..., Any]:
        @tool
        def pay(item: str) -> str:
            """Pay."""
            self.paid.append(item)
            self.has_paid.set()
            return f"paid {item}"

        return pay

    def answer(self, request: LLMRequest) -> LLMResponse | str:
        """Pay once, then say what came of it. It depends on the messages only, so that any process can go on."""
        last = request.messages[-1]
        return calls("pay", item="tea") if last.role == "user" else f"so: {last.content}"

    def server(self, log: Path | str = ":memory:") -> A2AServer:
        """A server of it; another each time, as after a restart."""
        return A2AServer(self.agent, log=log, url=URL)


def question_of(task: Task) -> dict[str, Any]:
    """The data of the one question."""
    (data,) = [MessageToDict(part.data) for part in task.status.message.parts if part.HasField("data")]
    (request,) = data["requests"]
    assert isinstance(request, dict)
    return request


async def asked(client: Asker) -> Task:
    task = await client.send("buy tea")
    assert task.status.state == INPUT_REQUIRED, state_of(task)
    return task


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_yes_lets_the_call_run(binding: str) -> None:
    shop = Shop()
    async with asker(shop.server(), binding) as client:
        task = await asked(client)
        words = task.status.message.parts[0].text
        assert words == 'May pay be called with {"item":"tea"}? Reason: it costs money. Answer yes or no.'
        assert question_of(task) | {"request_id": ""} == {
            "request_id": "",
            "kind": "approval",
            "tool_name": "pay",
            "arguments": {"item": "tea"},
            "reason": "it costs money",
        }
        assert shop.paid == []
        task = await client.send("Yes.", "m2", task_id=task.id)
        assert (task.status.state, shop.paid) == (COMPLETED, ["tea"])
        assert [(message.role, message.message_id) for message in task.history][::2] == [(Role.ROLE_USER, "m1"), (Role.ROLE_USER, "m2")]


async def test_a_no_is_told_to_the_model_with_its_reason() -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await asked(client)
        task = await client.send("no, too expensive", "m2", task_id=task.id)
    assert shop.paid == []
    assert task.status.state == COMPLETED
    assert "too expensive" in answer_of(task)


@pytest.mark.parametrize("words", ["hm", "yes, but only two", "I would say yes", "yes no", "nothing", "approve it unless it is tea"])
async def test_what_is_unclear_is_asked_again(words: str) -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await asked(client)
        again = await client.send(words, "m2", task_id=task.id)
        assert again.status.state == INPUT_REQUIRED
        assert again.status.message.parts[0].text.startswith("That was neither a plain yes nor a no. May pay be called")
        assert shop.paid == []
        done = await client.send("yes", "m3", task_id=task.id)
        assert (done.status.state, shop.paid) == (COMPLETED, ["tea"])


@pytest.mark.parametrize(
    ("data", "paid"),
    [({"decision": "approve"}, ["tea"]), ({"decision": "deny", "reason": "no money"}, [])],
    ids=["approve", "deny"],
)
async def test_a_program_answers_with_data(data: dict[str, Any], paid: list[str]) -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await asked(client)
        data = {**data, "request_id": question_of(task)["request_id"]}
        task = await client.send("", "m2", task_id=task.id, parts=[Part(data=ParseDict(data, Value()))])
    assert (task.status.state, shop.paid) == (COMPLETED, paid)


@pytest.mark.parametrize(
    "data", [{"decision": "approve", "request_id": "another"}, {"decision": True}, {"answer": 7}, {"decision": "deny", "reason": 7}]
)
async def test_data_that_decides_nothing_is_asked_again(data: dict[str, Any]) -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await asked(client)
        task = await client.send("", "m2", task_id=task.id, parts=[Part(data=ParseDict(data, Value()))])
    assert (task.status.state, shop.paid) == (INPUT_REQUIRED, [])


async def test_words_answer_a_request_for_input() -> None:
    shop = Shop("request_user_input", {"prompt": "Which tea?", "argument": "item"})
    async with asker(shop.server()) as client:
        task = await asked(client)
        assert task.status.message.parts[0].text == "Which tea?"
        task = await client.send("green tea", "m2", task_id=task.id)
    assert (task.status.state, shop.paid) == (COMPLETED, ["green tea"])
    assert task.history[-1].parts[0].text == "green tea"


async def test_several_questions_are_answered_one_by_one_by_their_names() -> None:
    both = LLMResponse(tool_calls=(ToolCall("c1", "pay", {"item": "tea"}), ToolCall("c2", "pay", {"item": "milk"})))
    shop = Shop(script=[both, "done"])
    async with asker(shop.server()) as client:
        task = await asked(client)
        assert task.status.message.parts[0].text.startswith("2 questions are open.")
        requests = MessageToDict(task.status.message.parts[1].data)["requests"]
        milk = next(request["request_id"] for request in requests if request["arguments"] == {"item": "milk"})
        unclear = await client.send("yes", "m2", task_id=task.id)
        assert unclear.status.message.parts[0].text.startswith("It was not said which question is meant.")
        task = await client.send(f"{milk}: yes", "m3", task_id=task.id)
        # The other call still waits.
        assert (task.status.state, question_of(task)["arguments"]) == (INPUT_REQUIRED, {"item": "tea"})
        task = await client.send("no", "m4", task_id=task.id)
    assert (task.status.state, shop.paid) == (COMPLETED, ["milk"])


async def test_an_answer_that_comes_again_counts_once(tmp_path: Path) -> None:
    shop = Shop(script=[calls("pay", item="tea"), calls("pay", item="milk"), "done"])
    async with asker(shop.server(tmp_path / "runs.db")) as client:
        first = await asked(client)
        second = await client.send("yes", "m2", task_id=first.id)
        assert question_of(second)["arguments"] == {"item": "milk"}
        # The answer to the first question, sent again as its response was lost: it must not be a yes to the second.
        again = await client.send("yes", "m2", task_id=first.id)
        assert (again.status.state, shop.paid) == (INPUT_REQUIRED, ["tea"])
        with pytest.raises(InvalidParamsError, match="used for another message"):
            await client.send("no", "m2", task_id=first.id)
    async with asker(shop.server(tmp_path / "runs.db")) as client:
        assert (await client.send("yes", "m2", task_id=first.id)).status.state == INPUT_REQUIRED
        done = await client.send("yes", "m3", task_id=first.id)
        assert (done.status.state, shop.paid) == (COMPLETED, ["tea", "milk"])
        assert (await client.send("yes", "m3", task_id=first.id)).id == done.id


async def test_the_first_message_that_comes_again_while_the_task_waits_changes_nothing() -> None:
    shop = Shop()
    async with asker(shop.server()) as client:
        task = await asked(client)
        again = await client.send("buy tea")
    assert (again.status.state, again.id, shop.paid) == (INPUT_REQUIRED, task.id, [])


async def test_a_task_waits_over_a_restart(tmp_path: Path) -> None:
    shop = Shop()
    async with asker(shop.server(tmp_path / "runs.db")) as client:
        task = await asked(client)
    async with asker(shop.server(tmp_path / "runs.db")) as client:
        assert await client.get(task.id) == task
        done = await client.send("yes", "m2", task_id=task.id)
    assert (done.status.state, shop.paid) == (COMPLETED, ["tea"])


@pytest.mark.parametrize("child", [False, True], ids=["its own", "a subagent's"])
async def test_a_question_that_an_operator_answers_lets_the_task_go_on_by_itself(child: bool) -> None:
    shop = Shop()
    boss = Agent(name="boss", model=ScriptedModel(delegating), subagents=[shop.agent])
    config = RunnerConfig(interaction_mode="external", background_tool_poll_interval_s=0.01)
    server = A2AServer(boss if child else shop.agent, runner=Runner(log=":memory:", config=config), url=URL)
    async with asker(server) as client:
        task = await asked(client)
        (request,) = await server.runner.pending_requests(run_id=task.id)
        await server.runner.approve(run_id=request.run_id, by="olga")
        assert await asyncio.to_thread(shop.has_paid.wait, 10)
        assert (await client.send("buy tea")).status.state == COMPLETED
    assert shop.paid == ["tea"]


@pytest.mark.parametrize(("unreadable", "before"), [("read", False), ("letters", False), ("runs", True)])
async def test_a_log_that_cannot_be_read_for_a_moment_keeps_no_task_from_going_on(
    unreadable: str, before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the answer came before the server started, or while it serves."""
    shop = Shop()
    refused: list[str] = []
    async with asker(shop.server(tmp_path / "runs.db")) as client:
        task = await asked(client)
    config = RunnerConfig(interaction_mode="external", background_tool_poll_interval_s=0.01)
    server = A2AServer(shop.agent, runner=Runner(log=tmp_path / "runs.db", config=config), url=URL)
    found: list[bool] = [] if unreadable == "read" else [True]
    reading, letters = getattr(server.runner.log, unreadable), server.runner.log.letters

    async def read(*args: Any, **named: Any) -> Any:
        if found and not refused:
            refused.append(unreadable)
            raise LogLockedError("busy")
        return await reading(*args, **named)

    async def told(*args: Any, **named: Any) -> Any:
        answers = await letters(*args, **named)
        found.extend(True for _ in answers)
        return answers

    async def approve() -> None:
        async with Runner(log=tmp_path / "runs.db") as other:
            await (await other.attach(run_id=task.id, by="olga")).approve()

    if before:
        await approve()
    monkeypatch.setattr(server.runner.log, "letters", told)
    monkeypatch.setattr(server.runner.log, unreadable, read)
    async with server:
        if not before:
            await approve()
        assert await asyncio.to_thread(shop.has_paid.wait, 10)
    assert refused


async def test_a_subagents_question_is_the_tasks() -> None:
    shop = Shop()
    boss = Agent(name="boss", model=ScriptedModel(delegating), subagents=[shop.agent])
    async with asker(A2AServer(boss, log=":memory:", url=URL)) as client:
        task = await asked(client)
        assert question_of(task)["arguments"] == {"item": "tea"}
        done = await client.send("yes", "m2", task_id=task.id)
        assert (done.status.state, shop.paid) == (COMPLETED, ["tea"])
        # It came to the subagent's run, and is known there too when it comes again.
        with pytest.raises(UnsupportedOperationError, match="has ended"):
            await client.send("no", "m3", task_id=task.id)
        assert (await client.send("yes", "m2", task_id=task.id)).status.state == COMPLETED


def delegating(request: LLMRequest) -> LLMResponse | str:
    last = request.messages[-1]
    return calls("transfer_to_shop", task="buy tea") if last.role == "user" else f"the shop: {last.content}"


async def test_a_question_that_an_operator_answered_is_not_the_clients_any_more(tmp_path: Path) -> None:
    shop = Shop()
    server = shop.server(tmp_path / "runs.db")
    async with asker(server) as client:
        task = await asked(client)
        await server.runner.deny(run_id=task.id, by="olga", reason="not today")
        # It goes on by itself. A client that answers at this moment has lost; one that waits is told.
        done = await client.send("buy tea")
        while done.status.state != COMPLETED:
            done = await client.send("buy tea")
        assert shop.paid == []
        with pytest.raises(UnsupportedOperationError):
            await client.send("yes", "m2", task_id=task.id)
        # What the operator said is in the log, and no message of this client's.
        assert [message.message_id for message in done.history if message.role == Role.ROLE_USER] == ["m1"]


async def test_a_task_that_was_laid_down_goes_on_with_any_message(tmp_path: Path) -> None:
    held: list[bool] = []

    async def model(request: LLMRequest) -> str:
        if not held:
            held.append(True)
            run = await server.runner.attach(run_id=request.metadata["run_id"], by="olga")
            await run.interrupt("lunch")
            await asyncio.Event().wait()
        return "done"

    server = A2AServer(Agent(name="clerk", model=ScriptedModel(model)), log=tmp_path / "runs.db", url=URL)
    async with asker(server) as client:
        task = await client.send("hello")
        assert task.status.state == INPUT_REQUIRED
        assert task.status.message.parts[0].text == "The task was laid down: lunch. Any message to it goes on with it."
        done = await client.send("go on", "m2", task_id=task.id)
    assert (done.status.state, answer_of(done)) == (COMPLETED, "done")
