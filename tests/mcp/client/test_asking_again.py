"""Goal: an agent's call of a tool that needs approval at another server waits for it there, has one effect, and tells the model what is so.

Method: our client and our server with a log each; the client's clock does between two asks what somebody elsewhere does meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from mcp.server import Server, ServerRequestContext
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent
from mcp_types import Tool as ListedTool

from afk_es.agents import Agent
from afk_es.clock import SystemClock
from afk_es.core import AgentResult, AttachedRun, Runner
from afk_es.errors import ToolUnavailableError
from afk_es.llms import LLMResponse
from afk_es.mcp import IDEMPOTENCY_KEY, MCPClient, MCPServer
from afk_es.mcp.results import RETRY_AFTER_S, WAITS_FOR, WITHDRAWN
from afk_es.serving import Limited
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.mcp.client.remote import ERAS, agent_of, asks, called
from tests.mcp.server.served import asking_for

Meanwhile = Callable[[], Awaitable[object]]

both_eras = pytest.mark.parametrize("era", ERAS)
REFUND = ("shop_refund", {"order": "A1"})


class Between(SystemClock):
    """Time that passes by sleeping alone; what happens meanwhile is the test's."""

    def __init__(self, *meanwhile: Meanwhile) -> None:
        self.pauses: list[float] = []
        self.time = 0.0
        self._meanwhile = [*meanwhile]

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds
        if self._meanwhile:
            await self._meanwhile.pop(0)()


class Shop:
    """A server whose tool needs approval, in a log of its own, and who answers from another terminal."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.log = path / "shop.db"
        self.refunded: list[str] = []

        @tool
        def refund(order: str) -> str:
            """Refund an order."""
            self.refunded.append(order)
            return f"{order} refunded"

        self.server = MCPServer([refund], log=self.log, policy_engine=asking_for("refund"), **options)

    async def runs(self) -> list[AttachedRun]:
        """Its runs, the newest first."""
        async with Runner(log=self.log) as runner:
            return [await runner.attach(run_id=record.run_id, by="ops") for record in await runner.log.runs()]

    async def approve(self) -> None:
        (run,) = await self.runs()
        await run.approve()

    async def deny(self) -> None:
        (run,) = await self.runs()
        await run.deny(reason="no invoice")

    async def types(self) -> list[str]:
        """The types of the events of its one run."""
        (run,) = await self.runs()
        async with Runner(log=self.log) as runner:
            return [event.type for event in await runner.log.read(run.run_id)]

    def client(self, *meanwhile: Meanwhile, **options: Any) -> MCPClient:
        """Our client, and what happens between its asks."""
        return MCPClient(self.server, name="shop", clock=Between(*meanwhile), **options)


async def nothing() -> None:
    """Nobody answers yet."""


def said(result: AgentResult) -> list[Any]:
    """What the model was told of each call."""
    return [record.output if record.success else record.error for record in result.tool_executions]


@both_eras
async def test_a_call_that_is_approved_elsewhere_while_it_waits_is_done_once(era: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    clock = Between(nothing, nothing, nothing, nothing, nothing, shop.approve)
    client = MCPClient(shop.server, name="shop", clock=clock, protocol=era)
    async with Runner(log=tmp_path / "own.db") as runner:
        result = await runner.run(agent_of(client, script=[asks(REFUND), "done"]))
        own = [event for event in await runner.log.read(result.run_id) if event.type in ("tool_started", "tool_completed")]
    assert (result.state, said(result), shop.refunded) == ("completed", ["A1 refunded"], ["A1"])
    assert clock.pauses == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0]
    assert [event.type for event in own] == ["tool_started", "tool_completed"]
    there = await shop.types()
    assert [there.count(each) for each in ("approval_requested", "approval_resolved", "tool_started", "tool_completed")] == [1, 1, 1, 1]
    # Asking again writes nothing down: it was gone on with once, when there was an answer.
    assert there.count("run_started") == 2


@both_eras
async def test_the_model_is_told_why_it_was_denied(era: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    result = await called(shop.client(nothing, shop.deny, protocol=era), REFUND)
    assert "no invoice" in said(result)[0]
    assert shop.refunded == []


@both_eras
async def test_a_run_that_is_cancelled_while_its_call_waits_cancels_it_there(era: str, tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    waits = asyncio.Event()

    async def wait_for_good() -> None:
        waits.set()
        await asyncio.Event().wait()

    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent_of(shop.client(wait_for_good, protocol=era), script=[asks(REFUND), "done"]))
        await waits.wait()
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert (await shop.types())[-1] == "run_cancelled"
    assert shop.refunded == []


async def test_when_time_is_over_the_model_is_told_the_command_and_the_same_call_goes_on_with_the_question(tmp_path: Path) -> None:
    """Here it is approved between the two calls, so that the second one is the refund."""
    shop = Shop(tmp_path)
    clock = Between()

    async def script(request: Any) -> LLMResponse:
        done = sum(message.role == "tool" for message in request.messages)
        if done == 1:
            await shop.approve()
        return asks(REFUND) if done < 2 else LLMResponse(text="done")

    agent = Agent(model=ScriptedModel(script), mcp_servers=[MCPClient(shop.server, name="shop", clock=clock, timeout_s=60)])
    told, refunded = said(await Runner(log=":memory:").run(agent))
    (run,) = await shop.runs()
    assert f"afk-es approve {run.run_id}" in told
    assert "has not answered in the 60 s that the call has. By what that server says it has not run" in told
    assert sum(clock.pauses) == 55
    assert (refunded, shop.refunded) == ("A1 refunded", ["A1"])


async def test_while_nobody_has_answered_the_same_call_of_the_run_opens_no_second_question_and_another_does(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    client = shop.client()
    agent = agent_of(client, script=[asks(REFUND), asks(REFUND), asks(("shop_refund", {"order": "A2"})), "done"])
    result = await Runner(log=":memory:").run(agent)
    assert all("afk-es approve" in told for told in said(result))
    assert len(await shop.runs()) == 2
    await called(client, REFUND)
    assert len(await shop.runs()) == 3


async def test_after_a_no_the_same_call_is_a_new_question(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    result = await Runner(log=":memory:").run(agent_of(shop.client(shop.deny), script=[asks(REFUND), asks(REFUND), "done"]))
    assert ["no invoice" in told for told in said(result)] == [True, False]
    assert len(await shop.runs()) == 2


async def test_equal_calls_at_once_are_questions_of_their_own_and_stay_so(tmp_path: Path) -> None:
    shop = Shop(tmp_path)
    agent = agent_of(shop.client(), script=[asks(REFUND, REFUND), asks(REFUND, REFUND), "done"])
    await Runner(log=":memory:").run(agent)
    assert len(await shop.runs()) == 2


async def test_a_server_that_refuses_to_be_asked_so_often_still_waits(tmp_path: Path) -> None:
    """What was refused was the asking, not the call."""
    shop = Shop(tmp_path, rate_limit=Limited(2, per_s=3600))
    (told,) = said(await called(shop.client(nothing), REFUND))
    assert "waits for a person at server 'shop'" in told
    assert "afk-es approve" in told


class Foreign:
    """A server of somebody else's: what it announces, and what it answers to one call after the other."""

    def __init__(self, *answers: CallToolResult | Exception, keyed: bool = True) -> None:
        self.asked: list[dict[str, Any]] = []
        self._answers = [*answers]
        self._keyed = keyed
        self.server: Server[Any] = Server("shop", on_list_tools=self._list, on_call_tool=self._call)

    async def _list(self, ctx: ServerRequestContext[Any], params: PaginatedRequestParams | None) -> ListToolsResult:
        meta: Any = {IDEMPOTENCY_KEY: True} if self._keyed else None
        return ListToolsResult(tools=[ListedTool(name="refund", input_schema={"type": "object"}, _meta=meta)])

    async def _call(self, ctx: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        self.asked.append(dict(params.meta or {}))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def answer(text: str, meta: dict[str, Any], *, is_error: bool = True) -> CallToolResult:
    """What a server says."""
    return CallToolResult(content=[TextContent(text=text)], is_error=is_error, _meta=meta)


WAITS = answer("ask ann", {WAITS_FOR: ["approval"]})


async def call_foreign(foreign: Foreign, **options: Any) -> tuple[Any, Between]:
    clock = Between()
    result = await called(MCPClient(foreign.server, name="shop", clock=clock, **options), ("shop_refund", {}))
    return said(result)[0], clock


async def test_a_server_that_does_not_say_that_it_keeps_to_keys_is_asked_once() -> None:
    foreign = Foreign(WAITS, keyed=False)
    assert (await call_foreign(foreign))[0] == "ask ann"
    assert len(foreign.asked) == 1


async def test_it_is_asked_by_the_one_key_and_a_bounded_number_of_times() -> None:
    foreign = Foreign(WAITS)
    told, clock = await call_foreign(foreign, timeout_s=1e9)
    assert len({each[IDEMPOTENCY_KEY] for each in foreign.asked}) == 1
    assert len(foreign.asked) == len(clock.pauses) == 1_000
    assert "By what that server says it has not run:\nask ann\n" in told
    assert not any(WITHDRAWN in each for each in foreign.asked)


@pytest.mark.parametrize(
    "first",
    [
        answer("too many", {RETRY_AFTER_S: 1.0}),
        answer("paid", {WAITS_FOR: ["approval"]}, is_error=False),
        answer("no", {WAITS_FOR: []}),
    ],
)
async def test_what_does_not_wait_is_a_result(first: CallToolResult) -> None:
    foreign = Foreign(first)
    assert (await call_foreign(foreign))[0] == first.content[0].text  # type: ignore[union-attr]
    assert len(foreign.asked) == 1


async def test_a_server_that_is_away_for_a_while_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the same key, which it keeps to: whatever has become of the call meanwhile."""
    foreign = Foreign(WAITS, WAITS, answer("paid", {}, is_error=False))
    asked = MCPClient._asked
    times: list[int] = []

    async def away(self: MCPClient, *given: Any) -> Any:
        times.append(1)
        if len(times) in (2, 3):
            raise ToolUnavailableError("lost")
        return await asked(self, *given)

    monkeypatch.setattr(MCPClient, "_asked", away)
    assert (await call_foreign(foreign))[0] == "paid"
    assert len(times) == 5


async def test_a_server_that_cannot_be_told_of_a_cancelled_call_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    foreign = Foreign(WAITS, ValueError("broken"))
    waits = asyncio.Event()

    async def wait_for_good() -> None:
        waits.set()
        await asyncio.Event().wait()

    client = MCPClient(foreign.server, name="shop", clock=Between(wait_for_good))
    async with Runner(log=":memory:") as runner:
        handle = await runner.run_handle(agent_of(client, script=[asks(("shop_refund", {})), "done"]))
        await waits.wait()
        await handle.cancel()
        assert (await handle.await_result()).state == "cancelled"
    assert foreign.asked[-1][WITHDRAWN] is True
    assert "server 'shop' could not be told that shop_refund is cancelled, which waits there" in caplog.text


async def test_a_question_that_was_left_open_is_gone_on_with_though_the_server_was_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    foreign = Foreign(WAITS)
    asked, away = MCPClient._asked, [False]

    async def perhaps_away(self: MCPClient, *given: Any) -> Any:
        if away.pop():
            raise ToolUnavailableError("lost")
        away.append(False)
        return await asked(self, *given)

    async def script(request: Any) -> LLMResponse:
        done = sum(message.role == "tool" for message in request.messages)
        away[:] = [False, True] if done == 1 else [False]
        return asks(("shop_refund", {})) if done < 3 else LLMResponse(text="done")

    monkeypatch.setattr(MCPClient, "_asked", perhaps_away)
    client = MCPClient(foreign.server, name="shop", clock=Between())
    result = await Runner(log=":memory:").run(Agent(model=ScriptedModel(script), mcp_servers=[client]))
    assert ["ask ann" in told for told in said(result)] == [True, False, True]
    assert len({each[IDEMPOTENCY_KEY] for each in foreign.asked}) == 1
