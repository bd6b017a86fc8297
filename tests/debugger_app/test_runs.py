"""Goal: the list of runs shows what `EventLog.runs` has, reads no more of it than is looked at, and keeps up. Method: stories and many runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es import Agent, Runner
from afk_es.clock import SeededIds
from afk_es.debugger.run_list import PAGE, RunList
from afk_es.errors import LLMConfigurationError
from afk_es.log import RunRecord
from afk_es.log.memory import MemoryEventLog
from afk_es.testing import ScriptedModel
from debugger.lines import Lines
from debugger.runs import AHEAD
from tests.debugger_app.opening import LARGE, SMALL, opened
from tests.support.stories import Stories

AGENT = Agent(name="greeter", model=ScriptedModel(lambda request: "Hello."))


class CountingLog(MemoryEventLog):
    """A log that counts the runs that were asked of it."""

    asked = 0

    async def runs(self, *, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        found = await super().runs(thread_id=thread_id, limit=limit, before=before)
        self.asked += len(found)
        return found


async def many(count: int) -> CountingLog:
    log = CountingLog()
    async with Runner(log=log, ids=SeededIds(3)) as runner:
        for number in range(count):
            await runner.run(AGENT, user_message=f"task {number}")
    await log.open()
    return log


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_every_run_is_listed_with_its_family_below_it(stories: Stories, size: tuple[int, int]) -> None:
    async with opened(stories.log, None, None, size) as app:
        assert app.place == "RunsScreen"
        listed = app.text("list").splitlines()
        records: list[RunRecord] = await app.app.event_log.runs(limit=100)
        assert len(listed) == len(records)
        team = next(index for index, line in enumerate(listed) if " team" in line)
        children = [record for record in records if record.parent_run_id == stories.run_ids["team"]]
        assert children
        assert all("↳" in line for line in listed[team + 1 : team + 1 + len(children)])
        assert not any("↳" in line for line in listed[:team])
        if size == LARGE:
            header = app.text("header").split()
            assert header[:10] == ["status", "run", "agent", "when", "took", "steps", "tools", "errors", "tokens", "cost"]
        failing = next(record for record in records if record.run_id == stories.run_ids["failing"])
        line = next(line for line in listed if " failing" in line)
        assert "✗ failed" in line
        assert failing.message[:10] in line


async def test_words_filter_as_they_are_typed_and_enter_gives_the_keys_back(stories: Stories) -> None:
    async with opened(stories.log) as app:
        await app.press("slash")
        await app.type("failed refund")
        assert [" failing" in line for line in app.text("list").splitlines()] == [True]
        assert "1 of" in app.text("title")
        await app.press("enter", "enter")
        assert app.place == "TriageScreen"
        await app.press("f4", "backspace")
        assert len(app.text("list").splitlines()) > 5
        await app.press("slash")
        await app.type("zzz")
        await app.press("escape")
        assert app.text("details").strip() == "no run fits"


async def test_a_run_that_failed_opens_with_its_triage_and_another_to_step_through(stories: Stories) -> None:
    async with opened(stories.log) as app:

        async def to(name: str) -> None:
            await app.press("f4", "g")
            while name not in app.text("details").splitlines()[0]:
                await app.press("j")

        await to("run_complete")
        await app.press("enter")
        assert app.place == "DebugScreen"
        await to("run_crashed")
        await app.press("enter")
        assert app.place == "TriageScreen"
        await to("run_complete")
        await app.press("t")
        assert app.place == "TriageScreen"
        await to("run_failing")
        await app.press("d")
        assert app.place == "DebugScreen"
        await to("run_trial_1")
        await app.press("equals_sign")
        assert app.place == "CompareScreen"
        assert "run_trial_1" in app.text("title")
        await to("run_crashed")
        await app.press("a")
        assert app.place == "ApprovalsScreen"
        await to("run_crashed")
        await app.press("y")
        assert app.app.copied == "run_crashed"
        await app.press("Y")
        assert app.app.copied.startswith("afk-es runs --db")


async def test_moves_are_the_same_as_in_every_list(stories: Stories) -> None:
    async with opened(stories.log) as app:
        last = len(app.text("list").splitlines()) - 1

        def cursor() -> int:
            return app.app.screen.query_one("#list", Lines).cursor

        await app.press("G")
        assert cursor() == last
        await app.press("k", "up")
        assert cursor() == last - 2
        await app.press("home", "3", "j", "down")
        assert cursor() == 4
        await app.press("2", "g")
        assert cursor() == 1
        await app.press("pagedown")
        assert cursor() == last
        await app.press("pageup", "g")
        assert cursor() == 0


async def test_no_more_is_read_than_is_looked_at(tmp_path: Path) -> None:
    log = await many(3 * PAGE)
    async with opened(log) as app:
        assert log.asked <= AHEAD + PAGE
        assert f"of {PAGE}+ runs" in app.text("title")
        for _ in range(6):
            await app.press("pagedown")
        assert PAGE < log.asked < 3 * PAGE
        await app.press("G")
        assert f"{3 * PAGE} of {3 * PAGE} runs" in app.text("title")
        await app.press("slash")
        await app.type("task 29")
        assert any(line.endswith("task 29") for line in app.text("list").splitlines())
    await log.close()


async def test_runs_that_begin_and_go_on_meanwhile_are_seen(tmp_path: Path) -> None:
    log = await many(2)
    runs = RunList(log)
    await runs.load()
    assert (len(runs), runs.complete, await runs.refresh()) == (2, True, False)
    async with Runner(log=log, ids=SeededIds(9)) as runner:
        await runner.run(AGENT, user_message="one more")
    await log.open()
    assert await runs.refresh()
    assert [row.record.user_message for row in runs.rows()] == ["one more", "task 1", "task 0"]
    await log.close()


async def test_a_failed_run_that_is_reopened_is_seen(tmp_path: Path) -> None:
    log = MemoryEventLog()
    agent = Agent(model=ScriptedModel([LLMConfigurationError("no"), "done"]))
    async with Runner(log=log, ids=SeededIds(9)) as runner:
        failed = await runner.run(agent, user_message="one")
        runs = RunList(log)
        await runs.load()
        assert ([row.status for row in runs.rows()], await runs.refresh()) == (["failed"], False)
        await runner.resume(agent, run_id=failed.run_id, reopen=True)
        assert await runs.refresh()
        assert [row.status for row in runs.rows()] == ["completed"]


async def test_families_whose_origins_lead_in_a_circle_are_listed_all_the_same() -> None:
    log = await many(2)
    records: list[Any] = await log.runs()
    first, second = records[0].run_id, records[1].run_id

    async def circling(*, thread_id: str | None = None, limit: int = 50, before: str | None = None) -> list[RunRecord]:
        if before is not None:
            return []
        return [
            msgspec.structs.replace(records[0], parent_run_id=second),
            msgspec.structs.replace(records[1], parent_run_id=first),
        ]

    log.runs = circling  # type: ignore[method-assign]
    runs = RunList(log)
    await runs.load()
    assert {row.record.run_id for row in runs.rows()} == {first, second}
    await log.close()
