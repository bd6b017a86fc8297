"""Goal: a run is written down for another process whole, with what somebody else's table has to say of it, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from afk_es.core import Runner
from afk_es.errors import ClashError, ConfigurationError, RunExistsError
from afk_es.log import Statement
from afk_es.log.sqlite import SqliteEventLog
from tests.core.scenario import Counted, agent, asks, log_of, model_of, says, turns, types


async def test_it_stands_in_the_log_as_laid_down_before_anything_was_done(runner: Runner) -> None:
    described = agent([says("done")])
    await runner.prepare(described, run_id="task", user_message="hello", context={"user_id": "u"}, reason="queued in mail")
    events = await log_of(runner, "task")
    assert types(events) == ["run_started", "control_requested", "run_interrupted"]
    assert events[0].data["user_message"] == "hello"
    assert events[-1].message == "queued in mail"
    (listed,) = await runner.log.runs()
    assert (listed.state, listed.message, listed.ended) == ("interrupted", "queued in mail", True)
    assert model_of(described).requests == []


async def test_another_process_begins_with_it_under_the_same_id(tmp_path: Path) -> None:
    counted = Counted()
    script: list[Any] = [asks(("work", {})), says("done")]
    async with Runner(log=tmp_path / "runs.db") as pusher:
        await pusher.prepare(agent(script, counted.tool), run_id="task", user_message="hello", context={"user_id": "u"})
        async with Runner(log=tmp_path / "runs.db") as worker:
            described = agent(script, counted.tool)
            run = await worker.run_once(described, run_id="task", by="worker", user_message="hello")
            result = await run.await_result()
            assert (result.state, result.final_text, counted.ran) == ("completed", "done", 1)
            assert turns(model_of(described).requests[0]) == [("user", "hello")]
            assert await worker.log.verify("task") is None


async def test_its_text_can_be_watched_as_it_comes(runner: Runner) -> None:
    described = agent([says("done")])
    await runner.prepare(described, run_id="task", user_message="hello")
    run = await runner.run_once(described, run_id="task", by="worker", user_message="hello", streamed=True)
    assert "".join([event.data["delta"] async for event in run.live() if event.type == "text_delta"]) == "done"


async def test_a_run_is_prepared_once(runner: Runner) -> None:
    described = agent([says("done")])
    await runner.prepare(described, run_id="task", user_message="hello")
    before = await log_of(runner, "task")
    with pytest.raises(RunExistsError, match="'task'"):
        await runner.prepare(described, run_id="task", user_message="hello")
    with pytest.raises(RunExistsError, match="another message"):
        await runner.run_once(described, run_id="task", by="worker", user_message="good-bye")
    assert await log_of(runner, "task") == before


@pytest.mark.parametrize(
    "wrong", [{"run_id": "no id"}, {"reason": ""}, {"context": {"x": object()}}, {"user_message": 7}, {"agent": "clerk"}]
)
async def test_what_is_wrong_is_said_and_nothing_is_written(wrong: dict[str, Any], runner: Runner) -> None:
    asked = {"agent": agent([]), "run_id": "task", "user_message": "hello", **wrong}
    with pytest.raises(ConfigurationError):
        await runner.prepare(asked.pop("agent"), **asked)
    assert await runner.log.runs() == []


@pytest.fixture(params=["sqlite", "postgres"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("postgres_log") if request.param == "postgres" else str(tmp_path / "runs.db")


async def test_it_is_written_with_statements_or_not_at_all(location: str) -> None:
    described = agent([says("done")])
    note = Statement("INSERT INTO tasks (id) VALUES ($1)", ("one",))
    async with Runner(log=location) as runner:
        log: Any = runner.log
        await log.transact([Statement("CREATE TABLE tasks (id TEXT PRIMARY KEY)")])
        await runner.prepare(described, run_id="task", statements=[note])
        with pytest.raises(ClashError):
            await runner.prepare(described, run_id="other", statements=[note])
        with pytest.raises(RunExistsError):
            await runner.prepare(described, run_id="task", statements=[Statement(note.sql, ("two",))])
        assert await log.query(Statement("SELECT id FROM tasks")) == [("one",)]
        assert [run.run_id for run in await log.runs()] == ["task"]
        assert (await runner.resume(described, run_id="task")).state == "completed"


async def test_a_log_without_a_database_has_nowhere_to_run_statements(runner: Runner) -> None:
    with pytest.raises(ConfigurationError, match="in no database"):
        await runner.prepare(agent([]), run_id="task", statements=[Statement("SELECT 1")])
    assert await runner.log.runs() == []


async def test_a_store_that_prepared_a_run_does_not_hold_it(tmp_path: Path) -> None:
    log = SqliteEventLog(tmp_path / "runs.db")
    async with Runner(log=log) as runner:
        await runner.prepare(agent([]), run_id="task")
        assert not await log.alive(log.owner, "task")
    await log.close()
