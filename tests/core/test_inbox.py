"""Goal: what is said to a run from outside reaches it once and in order, whoever runs it, and whether anybody runs it at all.

Method: letters are posted to the log as another process would, while the run goes on, while it lies interrupted, and while nobody drives
it although it has not ended.
"""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from afk_es.clock import SystemClock
from afk_es.core import AgentRunEvent, Runner, RunnerConfig
from afk_es.core.inbox import Inbox
from afk_es.errors import LogLockedError
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.log import EventLog, open_log
from afk_es.machine import Draft
from afk_es.testing import ScriptedModel
from afk_es.views.verification import problems
from tests.core.scenario import agent, until

NOW = SystemClock().now


def control(action: str, reason: str | None = None) -> Draft:
    return Draft("control_requested", {"action": action, "reason": reason, "origin": "a test"}, reason or "")


class Gate:
    """A model whose answer is held back until it is let through."""

    provider_id = "gate"

    def __init__(self, script: ScriptedModel) -> None:
        self.asked = asyncio.Event()
        self.open = asyncio.Event()
        self._script = script

    async def chat(self, request: LLMRequest) -> LLMResponse:
        self.asked.set()
        await self.open.wait()
        return await self._script.chat(request)


async def other_store(tmp_path: Path) -> EventLog:
    """The log as another process has it open."""
    log = open_log(tmp_path / "runs.db")
    await log.open()
    return log


def letters_in(events: list[AgentRunEvent]) -> list[tuple[str, int]]:
    return [(event.type, event.data["letter"]) for event in events if "letter" in event.data]


async def test_a_live_run_takes_in_what_another_store_posts(tmp_path: Path) -> None:
    model = Gate(ScriptedModel(["done"]))
    config = RunnerConfig(background_tool_poll_interval_s=0.01)
    async with Runner(log=tmp_path / "runs.db", config=config) as runner:
        handle = await runner.run_handle(agent(model), user_message="Hello")
        await model.asked.wait()
        outside = await other_store(tmp_path)
        first = await outside.post(handle.run_id, control("pause"), at=NOW())
        second = await outside.post(handle.run_id, control("cancel", "enough"), at=NOW())
        result = await handle.await_result()
        events = await outside.read(handle.run_id)
        await outside.close()
    assert (result.state, result.error) == ("cancelled", "enough")
    assert letters_in(events) == [("control_requested", first.position), ("control_requested", second.position)]
    assert not list(problems(events))


async def test_letters_wait_for_whoever_resumes_the_run(tmp_path: Path) -> None:
    model = Gate(ScriptedModel(["done"]))
    runner = Runner(log=tmp_path / "runs.db")
    handle = await runner.run_handle(agent(model), user_message="Hello")
    await model.asked.wait()
    await handle.interrupt("for lunch")
    await handle.await_result()
    outside = await other_store(tmp_path)
    letter = await outside.post(handle.run_id, control("cancel", "after lunch"), at=NOW())
    result = await Runner(log=tmp_path / "runs.db").resume(agent(model), run_id=handle.run_id)
    events = await outside.read(handle.run_id)
    await outside.close()
    assert (result.state, result.error) == ("cancelled", "after lunch")
    assert letters_in(events) == [("control_requested", letter.position)]


async def test_what_does_not_fit_any_more_is_a_warning_and_hurts_nobody(tmp_path: Path) -> None:
    model = Gate(ScriptedModel(["done"]))
    async with Runner(log=tmp_path / "runs.db", config=RunnerConfig(background_tool_poll_interval_s=0.01)) as runner:
        handle = await runner.run_handle(agent(model), user_message="Hello")
        await model.asked.wait()
        outside = await other_store(tmp_path)
        answer = {
            "request_id": "approval:1:0",
            "tool_call_id": "c1",
            "arguments_hash": "0",
            "outcome": "granted",
            "by": "me",
            "reason": None,
        }
        ended = {"tool_name": "t", "tool_call_id": "c1", "ticket_id": "x", "output": 1}
        words = {"request_id": "input:1:0", "tool_call_id": "c1", "outcome": "answered", "value": "yes", "by": "me"}
        for kind, data in (("approval_resolved", answer), ("tool_background_resolved", ended), ("input_resolved", words)):
            await outside.post(handle.run_id, Draft(kind, data), at=NOW())
        seen = 0
        async for event in handle.events:
            seen += event.type == "warning"
            if seen == 3:
                model.open.set()
        result = await handle.await_result()
        events = await outside.read(handle.run_id)
        await outside.close()
    assert result.state == "completed"
    warnings = [event for event in events if event.type == "warning"]
    assert [(event.data["kind"], event.data["letter"], event.data["type"]) for event in warnings] == [
        ("letter_refused", 1, "approval_resolved"),
        ("letter_refused", 2, "tool_background_resolved"),
        ("letter_refused", 3, "input_resolved"),
    ]
    assert "ticket 'x' is not open" in warnings[1].message
    assert not list(problems(events))


async def test_a_letter_that_cannot_be_read_is_a_warning_and_the_next_is_delivered(tmp_path: Path) -> None:
    model = Gate(ScriptedModel(["done"]))
    runner = Runner(log=tmp_path / "runs.db")
    handle = await runner.run_handle(agent(model), user_message="Hello")
    await model.asked.wait()
    await handle.interrupt()
    await handle.await_result()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("INSERT INTO letters (run, at, type, message, data) VALUES (1, 0, 'control_requested', '', '{broken')")
        connection.execute("INSERT INTO letters (run, at, type, message, data) VALUES (1, 0, 'run_cancelled', '', '{\"reason\": \"x\"}')")
    connection.close()
    outside = await other_store(tmp_path)
    await outside.post(handle.run_id, control("cancel", "enough"), at=NOW())
    result = await runner.resume(agent(model), run_id=handle.run_id)
    events = await outside.read(handle.run_id)
    await outside.close()
    assert result.state == "cancelled"
    assert letters_in(events) == [("warning", 1), ("warning", 2), ("control_requested", 3)]


async def test_looking_into_the_inbox_fails_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = Gate(ScriptedModel(["done"]))
    runner = Runner(log=tmp_path / "runs.db", config=RunnerConfig(background_tool_poll_interval_s=0.01))
    looked = asyncio.Event()

    async def damaged() -> int:
        looked.set()
        raise LogLockedError("somebody copies the file")

    monkeypatch.setattr(runner.log, "posted", damaged)
    handle = await runner.run_handle(agent(model), user_message="Hello")
    await looked.wait()
    model.open.set()
    assert (await handle.await_result()).state == "completed"
    assert "somebody copies the file" in caplog.text


class _Slow:
    """A log of letters alone, each reading of which is answered when its turn is let go, with what was there when it was asked."""

    location = "here"

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.asked: list[asyncio.Event] = []

    async def posted(self) -> int:
        return len(self.written)

    async def letters(self, *, after: int = 0, run_ids: list[str] | None = None) -> list[Any]:
        found = [one for one in self.written if one.position > after and (run_ids is None or one.run_id in run_ids)]
        self.asked.append(asyncio.Event())
        await self.asked[-1].wait()
        return found


class _Listener:
    """What the inbox sees of a loop."""

    def __init__(self, run_id: str) -> None:
        self.state = SimpleNamespace(run_id=run_id, last_letter=0)
        self.heard: list[int] = []

    def deliver(self, letter: Any) -> None:
        self.heard.append(letter.position)


async def test_no_letter_is_lost_between_the_first_look_and_a_run_that_joins_meanwhile() -> None:
    log, first, second = _Slow(), _Listener("first"), _Listener("second")
    inbox = Inbox(cast(Any, log), 3600.0)
    inbox.join(cast(Any, first))
    catching_up = asyncio.create_task(inbox.catch_up(cast(Any, second)))
    await until(lambda: len(log.asked) == 1)
    log.written.append(SimpleNamespace(run_id="second", position=1))
    inbox.look()
    await until(lambda: len(log.asked) == 2)
    log.asked[0].set()
    await until(lambda: catching_up.done() or len(log.asked) == 3)
    for turn in log.asked:
        turn.set()
    await catching_up
    inbox.look()
    await until(lambda: len(log.asked) >= 3)
    log.asked[-1].set()
    await asyncio.sleep(0)
    inbox.leave(cast(Any, first))
    inbox.leave(cast(Any, second))
    assert second.heard == [1]
