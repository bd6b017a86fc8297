"""Goal: whoever waits for another process is told by the server, and nobody is told what nobody waits for."""

from __future__ import annotations

import asyncio

import pytest

from afk_es import Agent, Runner, tool
from afk_es.core import AttachedRun, RunnerConfig
from afk_es.errors import LogClosedError
from afk_es.llms import LLMRequest, LLMResponse, ToolCall
from afk_es.log import TellingLog
from afk_es.log.memory import MemoryEventLog
from afk_es.log.postgres import PostgresEventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import ScriptedModel
from afk_es.testing.log_contract import begin, control, turn
from afk_es.testing.log_contract.material import START
from tests.log.test_postgres_tables import behind, opened
from tests.support.waiting import until

PATIENT = RunnerConfig(background_tool_poll_interval_s=1_000.0)
"""Looks at the log by itself only after the test has timed out."""


async def knows_that_it_is_watched(log: PostgresEventLog, run_id: str) -> bool:
    return run_id in log._calls._watched


async def said(words: list[object]) -> bool:
    return bool(words)


def test_a_store_may_do_without() -> None:
    assert not isinstance(MemoryEventLog(), TellingLog)
    assert not isinstance(SqliteEventLog("runs.db"), TellingLog)


async def test_growth_is_told_to_those_who_watch_the_run(postgres_log: str) -> None:
    async with opened(postgres_log) as log, opened(postgres_log) as other:
        assert isinstance(other, TellingLog)
        await begin(log, "run_a")
        await begin(log, "run_b")
        grown = asyncio.Event()
        stop = other.on_growth("run_a", grown.set)
        async with asyncio.timeout(10):
            await until(lambda: knows_that_it_is_watched(log, "run_a"))
            await log.append(turn("run_b", 6), epoch=1)
            assert not grown.is_set()
            await log.append(turn("run_a", 6), epoch=1)
            await grown.wait()
        stop()
        stop()
        grown.clear()
        await log.append(turn("run_a", 10), epoch=1)
        await other.read("run_a")
        assert not grown.is_set()


async def test_nobody_is_told_what_nobody_watches(postgres_log: str) -> None:
    """A NOTIFY in every append would have all commits of the server queue for one lock."""
    async with opened(postgres_log) as log, behind(postgres_log) as listener:
        heard: list[object] = []
        channel = await listener.fetchval("SELECT 'afk_es_' || 'letters'::regclass::oid")
        await listener.add_listener(channel, lambda *words: heard.append(words[-1]))
        await begin(log, "run_a")
        await asyncio.gather(*(begin(log, f"run_{number}") for number in range(20)))
        await log.post("run_a", control("pause"), at=START)
        await until(lambda: said(heard))
        assert heard == ["lrun_a"]


async def test_after_a_gap_everybody_is_called(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as operator:
        await begin(log, "run_a")
        letters: asyncio.Queue[str | None] = asyncio.Queue()
        grown = asyncio.Event()
        log.on_letter(letters.put_nowait)
        log.on_growth("run_a", grown.set)
        await operator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE '%' || $1", log.owner)
        async with asyncio.timeout(10):
            assert await letters.get() is None
            await grown.wait()
            await log.post("run_a", control("pause"), at=START)
            while await letters.get() != "run_a":
                pass


async def test_words_of_strangers_are_believed_no_further_than_to_look(postgres_log: str) -> None:
    async with opened(postgres_log) as log, behind(postgres_log) as stranger:
        await begin(log, "run_a")
        heard: asyncio.Queue[str | None] = asyncio.Queue()
        log.on_letter(heard.put_nowait)
        channel = await stranger.fetchval("SELECT 'afk_es_' || 'letters'::regclass::oid")
        for word in ("", "x", "w", "e", "wrun_a", "erun_unknown", "lrun_unknown"):
            await stranger.execute("SELECT pg_notify($1, $2)", channel, word)
        async with asyncio.timeout(10):
            assert await heard.get() == "run_unknown"
        await log.append(turn("run_a", 6), epoch=1)
        assert await log.verify("run_a") is None


async def test_a_closed_store_tells_nothing(postgres_log: str) -> None:
    async with opened(postgres_log) as log:
        await begin(log, "run_a")
    with pytest.raises(LogClosedError):
        log.on_letter(lambda run_id: None)
    with pytest.raises(LogClosedError):
        log.on_growth("run_a", lambda: None)


def _asks_once(request: LLMRequest) -> LLMResponse | str:
    return "done" if len(request.messages) > 1 else LLMResponse(tool_calls=(ToolCall("c1", "wait_for_it", {}),))


async def test_a_run_takes_in_a_letter_of_another_store_without_looking_for_it(postgres_log: str) -> None:
    waiting = asyncio.Event()

    @tool
    async def wait_for_it() -> str:
        """Wait."""
        waiting.set()
        await asyncio.Event().wait()
        return "never"

    async with (
        opened(postgres_log) as log,
        opened(postgres_log) as other,
        asyncio.timeout(30),
        Runner(log=log, config=PATIENT) as runner,
        Runner(log=other, config=PATIENT) as outside,
    ):
        handle = await runner.run_handle(Agent(model=ScriptedModel(_asks_once), tools=[wait_for_it]), user_message="go")
        await waiting.wait()
        attached = await outside.attach(run_id=handle.run_id, by="ann")
        await attached.cancel()
        result = await handle.await_result()
        assert result is not None
        assert result.state == "cancelled"


async def test_a_run_of_another_store_is_watched_live_without_looking_again_and_again(postgres_log: str) -> None:
    waiting, go_on = asyncio.Event(), asyncio.Event()

    @tool
    async def wait_for_it() -> str:
        """Wait."""
        waiting.set()
        await go_on.wait()
        return "now"

    async with (
        opened(postgres_log) as log,
        opened(postgres_log) as other,
        asyncio.timeout(30),
        Runner(log=log) as runner,
        Runner(log=other, config=PATIENT) as outside,
    ):
        handle = await runner.run_handle(Agent(model=ScriptedModel(_asks_once), tools=[wait_for_it]), user_message="go")
        await waiting.wait()
        attached = await outside.attach(run_id=handle.run_id, by="ann")
        watching = asyncio.create_task(_types(attached))
        await until(lambda: knows_that_it_is_watched(log, handle.run_id))
        go_on.set()
        seen = await watching
        assert seen[-1] == "run_completed"
        assert seen == [event.type for event in await other.read(handle.run_id)]
        await handle.await_result()


async def _types(attached: AttachedRun) -> list[str]:
    return [event.type async for event in attached.live()]
