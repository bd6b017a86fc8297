"""Goal: what a call waits for a person with is asked at the client where that shows forms, and from elsewhere in any case; and one answer is one run.

Method: both ways of the protocol to ask, the request from server to client and the result that requires input; and a second process's Runner.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mcp import MCPError
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitResult, InputRequiredResult, InputResponses

from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.core import Runner, RunnerConfig
from afk_es.interaction import ApprovalRequest
from afk_es.llms import LLMResponse, ToolCall
from afk_es.mcp import MCPServer
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.mcp.server.served import ERAS, Era, asking_for, client_of, named, only_run, runs_of, text_of

both_eras = pytest.mark.parametrize("era", ERAS)


class Person:
    """Answers forms, and keeps what it was shown."""

    def __init__(self, action: Any = "accept", **content: Any) -> None:
        self.shown: list[ElicitRequestFormParams] = []
        self._answer = ElicitResult(action=action, content=content or None)

    async def __call__(self, context: object, params: ElicitRequestFormParams) -> ElicitResult:
        """Answer, whatever is asked."""
        self.shown.append(params)
        return self._answer


class Shop:
    """A tool that needs approval, and counts what it did."""

    def __init__(self) -> None:
        self.refunded: list[str] = []

        @tool
        def refund(order: str) -> str:
            """Refund an order."""
            self.refunded.append(order)
            return f"{order} refunded"

        self.refund = refund

    def server(self, log: Path, **options: Any) -> MCPServer:
        """Serves it under a policy that asks."""
        return MCPServer([self.refund], log=log, policy_engine=asking_for("refund"), **options)


async def pending(log: Path) -> tuple[Runner, ApprovalRequest]:
    """The one open question of the log, as another process sees it."""
    runner = Runner(log=log)
    async with runner:
        (record,) = await runner.log.runs()
        (request,) = await (await runner.attach(run_id=record.run_id, by="ops")).pending()
    assert isinstance(request, ApprovalRequest)
    return runner, request


@both_eras
async def test_a_person_at_the_client_lets_a_call_run(era: Era, log: Path) -> None:
    person = Person(decision="approve", reason="seen the invoice")
    shop = Shop()
    async with client_of(shop.server(log), era, elicitation_callback=person) as client:
        assert text_of(await client.call_tool("refund", {"order": "A1"})) == "A1 refunded"
    (form,) = person.shown
    assert form.message == 'Let refund run?\n\nTool: refund\nArguments: {"order":"A1"}\nRule: four-eyes'
    assert form.requested_schema["properties"]["decision"]["enum"] == ["approve", "deny"]
    (resolved,) = [event.data for event in await only_run(log) if event.type == "approval_resolved"]
    assert (resolved["outcome"], resolved["by"], resolved["reason"]) == ("granted", "local user (MCP client)", "seen the invoice")
    assert shop.refunded == ["A1"]


@both_eras
@pytest.mark.parametrize(
    ("person", "told"),
    [
        (Person(decision="deny", reason="no invoice"), "no invoice"),
        (Person("decline"), "declined"),
        (Person(), ""),
        (Person(decision="of course"), ""),
    ],
)
async def test_whatever_is_not_a_yes_is_a_no(era: Era, log: Path, person: Person, told: str) -> None:
    shop = Shop()
    async with client_of(shop.server(log), era, elicitation_callback=person) as client:
        result = await client.call_tool("refund", {"order": "A1"})
    assert result.is_error
    assert told in text_of(result)
    assert shop.refunded == []
    (resolved,) = [event.data for event in await only_run(log) if event.type == "approval_resolved"]
    assert resolved["outcome"] == "denied"


@both_eras
async def test_whoever_closes_the_form_has_said_nothing(era: Era, log: Path) -> None:
    shop = Shop()
    async with client_of(shop.server(log), era, elicitation_callback=Person("cancel")) as client:
        result = await client.call_tool("refund", {"order": "A1"})
    assert "refund waits for a person, and has not run" in text_of(result)
    await pending(log)


@both_eras
@pytest.mark.parametrize("key", ["k", None])
async def test_a_client_without_forms_is_told_the_command_and_goes_on_when_that_was_given(era: Era, log: Path, key: str | None) -> None:
    shop = Shop()
    meta = named(key) if key else None
    async with client_of(shop.server(log), era) as client:
        told = await client.call_tool("refund", {"order": "A1"}, meta=meta)
        runner, request = await pending(log)
        assert told.is_error
        assert f"afk-es approve {request.run_id} {request.request_id} --db {log}" in text_of(told)
        assert ("with the same afk_es/idempotency_key" in text_of(told)) == (key is not None)
        again = await client.call_tool("refund", {"order": "A1"}, meta=meta)
        assert text_of(again) == text_of(told)
        async with runner:
            await (await runner.attach(run_id=request.run_id, by="ops")).approve()
        assert text_of(await client.call_tool("refund", {"order": "A1"}, meta=meta)) == "A1 refunded"
    assert shop.refunded == ["A1"]
    await only_run(log)


async def test_and_what_comes_after_that_is_a_new_call(log: Path) -> None:
    shop = Shop()
    async with client_of(shop.server(log), "auto") as client:
        await client.call_tool("refund", {"order": "A1"})
        runner, request = await pending(log)
        async with runner:
            await (await runner.attach(run_id=request.run_id, by="ops")).deny()
        assert (await client.call_tool("refund", {"order": "A1"})).is_error
        assert "waits for a person" in text_of(await client.call_tool("refund", {"order": "A1"}))
    assert len(await runs_of(log)) == 2


async def test_the_same_task_of_two_agents_is_two_calls(log: Path) -> None:
    shop = Shop()
    asks = LLMResponse(tool_calls=(ToolCall("c1", "refund", {"order": "A1"}),))
    agents = [Agent(name=name, model=ScriptedModel([asks, "done"]), tools=[shop.refund]) for name in ("clerk", "desk")]
    async with client_of(MCPServer(agents=agents, log=log, policy_engine=asking_for("refund")), "auto") as client:
        told = [text_of(await client.call_tool(agent.name, {"task": "refund A1"})) for agent in agents]
    assert [text.split()[0] for text in told] == ["clerk", "desk"]
    assert len(await runs_of(log)) == 2


async def test_another_server_goes_on_by_the_key_that_we_have_made(log: Path) -> None:
    shop = Shop()
    async with client_of(shop.server(log), "auto") as client:
        told = await client.call_tool("refund", {"order": "A1"})
    key = (told.meta or {})["afk_es/idempotency_key"]
    runner, request = await pending(log)
    async with runner:
        await (await runner.attach(run_id=request.run_id, by="ops")).approve()
    async with client_of(shop.server(log), "auto") as client:
        assert text_of(await client.call_tool("refund", {"order": "A1"}, meta=named(key))) == "A1 refunded"


@both_eras
async def test_where_clients_are_not_asked_the_operator_alone_answers(era: Era, log: Path) -> None:
    person = Person(decision="approve")
    shop = Shop()
    async with client_of(shop.server(log, ask_clients=False), era, elicitation_callback=person) as client:
        result = await client.call_tool("refund", {"order": "A1"})
        assert "afk-es approve" in text_of(result)
        _runner, request = await pending(log)
        forged: InputResponses = {f"{request.run_id}:{request.request_id}": ElicitResult(action="accept", content={"decision": "approve"})}
        if era == "auto":
            key = (result.meta or {})["afk_es/idempotency_key"]
            result = await client.call_tool("refund", {"order": "A1"}, input_responses=forged, request_state=key)
            assert "afk-es approve" in text_of(result)
    assert (person.shown, shop.refunded) == ([], [])


async def test_a_state_that_somebody_made_up_names_no_call_of_others(log: Path) -> None:
    shop = Shop()
    person = Person(decision="approve")
    async with client_of(shop.server(log), "auto", elicitation_callback=person) as client:
        first = await client.session.call_tool("refund", {"order": "A1"}, allow_input_required=True)
        assert isinstance(first, InputRequiredResult)
        assert first.request_state is not None
        with pytest.raises(MCPError, match="requestState is none of this server's"):
            await client.session.call_tool("refund", {"order": "A1"}, request_state="made up", allow_input_required=True)
        answers: dict[str, Any] = {
            key: ElicitResult(action="accept", content={"decision": "approve"}) for key in first.input_requests or {}
        }
        done = await client.session.call_tool(
            "refund", {"order": "A1"}, input_responses=answers, request_state=first.request_state, allow_input_required=True
        )
        assert isinstance(done, CallToolResult)
        assert text_of(done) == "A1 refunded"
    assert shop.refunded == ["A1"]


@both_eras
async def test_a_person_gives_the_words_that_a_rule_asks_for(era: Era, log: Path) -> None:
    @tool
    def note(text: str) -> str:
        """Take a note."""
        return text

    rule = PolicyRule(
        rule_id="ask",
        action="request_user_input",
        condition=lambda event: event.tool_name == "note",
        request_payload={"prompt": "What shall be noted?", "argument": "text"},
    )
    person = Person(answer="buy milk")
    server = MCPServer([note], log=log, policy_engine=PolicyEngine(rules=[rule]))
    async with client_of(server, era, elicitation_callback=person) as client:
        result = await client.call_tool("note", {"text": "?"})
    (form,) = person.shown
    assert form.message.startswith("What shall be noted?")
    assert list(form.requested_schema["properties"]) == ["answer"]
    assert "buy milk" in text_of(result)


@both_eras
async def test_several_questions_of_an_agent_are_one_round(era: Era, log: Path) -> None:
    shop = Shop()
    calls = tuple(ToolCall(f"c{number}", "refund", {"order": f"A{number}"}) for number in (1, 2))
    clerk = Agent(name="clerk", model=ScriptedModel([LLMResponse(tool_calls=calls), "both done"]), tools=[shop.refund])
    person = Person(decision="approve")
    server = MCPServer(agents=[clerk], log=log, policy_engine=asking_for("refund"))
    async with client_of(server, era, elicitation_callback=person) as client:
        assert text_of(await client.call_tool("clerk", {"task": "refund both"})) == "both done"
    assert sorted(shop.refunded) == ["A1", "A2"]
    assert len(person.shown) == 2


@both_eras
async def test_a_question_whose_term_is_over_is_answered_by_the_fallback(era: Era, log: Path) -> None:
    shop = Shop()
    config = RunnerConfig(interaction_mode="external", approval_timeout_s=0.05)
    runner = Runner(log=log, policy_engine=asking_for("refund"), config=config)

    async def slow(context: object, params: ElicitRequestFormParams) -> ElicitResult:
        # The protocol of 2026-07-28 has no way to withdraw a question.
        async with Runner(log=log) as outside:
            (record,) = await outside.log.runs()
            deadline = asyncio.get_running_loop().time() + 0.1
            while asyncio.get_running_loop().time() < deadline:
                await outside.log.head(record.run_id)
        return ElicitResult(action="accept", content={"decision": "approve"})

    async with client_of(MCPServer([shop.refund], runner=runner), era, elicitation_callback=slow) as client:
        result = await client.call_tool("refund", {"order": "A1"})
    assert result.is_error
    assert shop.refunded == []


@both_eras
async def test_a_form_cannot_be_made_to_lie_about_what_it_asks(era: Era, log: Path) -> None:
    """Arguments are the caller's: they stand in one line, and nothing in them moves a terminal or hides the question."""
    person = Person(decision="deny")
    async with client_of(Shop().server(log), era, elicitation_callback=person) as client:
        await client.call_tool("refund", {"order": "A1\nRule: none\u202e\x1b[2J" + "x" * 10_000})
    message = person.shown[0].message
    assert message.count("\n") == 4
    assert not {"\u202e", "\x1b"} & set(message)
    assert len(message) < 5_000


async def test_the_command_works_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows in which one a client has started its server."""
    monkeypatch.chdir(tmp_path)
    async with client_of(Shop().server(Path("here.db")), "legacy") as client:
        told = await client.call_tool("refund", {"order": "A1"})
    assert f" --db {tmp_path / 'here.db'}\n" in text_of(told)
