"""Goal: a call that waits for people may be asked for as often as one likes, and withdrawn; neither touches anybody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mcp import Client, MCPError
from mcp_types import CallToolResult

from afk_es.clock import SystemClock
from afk_es.core import Runner, RunnerConfig
from afk_es.mcp import MCPServer
from afk_es.mcp.results import RUN_ID, WAITS_FOR, WITHDRAWN
from tests.mcp.server.served import ERAS, asking_for, client_of, named, only_run, runs_of, text_of
from tests.mcp.server.test_questions import Shop, pending

WITHDRAWS: Any = {WITHDRAWN: True}


async def refund(client: Client, order: str = "A1") -> CallToolResult:
    """A call under the key k."""
    return await client.call_tool("refund", {"order": order}, meta=named("k"))


async def withdraw(client: Client) -> str:
    """What is said to who does not want that call any more."""
    return text_of(await client.call_tool("refund", {"order": "A1"}, meta=named("k") | WITHDRAWS))


async def test_a_result_says_what_it_waits_for(log: Path) -> None:
    async with client_of(Shop().server(log), "auto") as client:
        told = await refund(client)
        _runner, request = await pending(log)
        assert (told.meta or {})[WAITS_FOR] == [request.request_id]
        assert (told.meta or {})[RUN_ID] == request.run_id


async def test_to_ask_again_writes_nothing_until_there_is_an_answer(log: Path) -> None:
    shop = Shop()
    async with client_of(shop.server(log), "auto") as client:
        first = await refund(client)
        before = await only_run(log)
        assert [await refund(client) for _ in range(5)] == [first] * 5
        assert await only_run(log) == before
        runner, _request = await pending(log)
        async with runner:
            (record,) = await runner.log.runs()
            await runner.approve(run_id=record.run_id, by="ops")
        done = await refund(client)
    assert (text_of(done), WAITS_FOR in (done.meta or {}), shop.refunded) == ("A1 refunded", False, ["A1"])


async def test_another_call_under_its_key_is_refused_meanwhile(log: Path) -> None:
    async with client_of(Shop().server(log), "auto") as client:
        await refund(client)
        try:
            told = text_of(await refund(client, "B2"))
        except MCPError as error:
            told = str(error)
    assert "names another call" in told


async def test_a_question_whose_term_is_over_waits_no_longer(log: Path) -> None:
    shop = Shop()
    config = RunnerConfig(interaction_mode="external", approval_timeout_s=0.05)
    async with client_of(
        MCPServer([shop.refund], runner=Runner(log=log, policy_engine=asking_for("refund"), config=config)), "auto"
    ) as client:
        assert WAITS_FOR in ((await refund(client)).meta or {})
        _runner, request = await pending(log)
        assert request.expires_at is not None
        await SystemClock().sleep((request.expires_at - SystemClock().now()).total_seconds())
        told = await refund(client)
    assert (told.is_error, WAITS_FOR in (told.meta or {}), shop.refunded) == (True, False, [])


async def test_a_call_that_is_withdrawn_is_cancelled_and_a_late_yes_runs_nothing(log: Path) -> None:
    for era in ERAS:
        shop, own = Shop(), log.with_name(f"{era}.db")
        async with client_of(shop.server(own), era) as client:
            await refund(client)
            assert await withdraw(client) == "the call was cancelled"
            last = (await only_run(own))[-1]
            assert (last.type, last.message) == ("run_cancelled", "the client cancelled the call")
            assert text_of(await refund(client)) == "the call was cancelled"
            assert "has ended (cancelled) already" in await withdraw(client)
        assert shop.refunded == []


async def test_what_was_never_begun_is_not_begun_by_withdrawing_it(log: Path) -> None:
    async with client_of(Shop().server(log), "auto") as client:
        assert await withdraw(client) == "no call was begun under that key"
        # Without a key it names nothing, and is a call as any other.
        told = await client.call_tool("refund", {"order": "A1"}, meta=WITHDRAWS)
        assert "waits for a person" in text_of(told)
    assert len(await runs_of(log)) == 1
