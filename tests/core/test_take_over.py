"""Goal: a run can be taken from an owner that lives, with its subagents' runs, and whoever had it starts nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import HeadConflictError, RunOwnedError
from afk_es.log.memory import MemoryEventLog
from afk_es.log.sqlite import SqliteEventLog
from tests.core.scenario import Counted, Stuck, agent, asks, log_of, only, says, types


async def test_a_live_owners_run_is_left_to_it_unless_it_is_asked_for(tmp_path: Path) -> None:
    """Two stores on one file, as of two processes, of which both live."""
    stuck = Stuck()
    described = agent([asks(("stuck", {})), says("done")], stuck.tool, name="clerk")
    heir = agent([says("done by the heir")], stuck.tool, name="clerk")
    async with Runner(log=tmp_path / "runs.db") as one, Runner(log=tmp_path / "runs.db") as other:
        first = await one.run_once(described, run_id="task", by="one")
        await stuck.begun.wait()
        with pytest.raises(RunOwnedError, match="alive"):
            await other.resume(heir, run_id="task")
        left = await other.run_once(heir, run_id="task", by="other")
        assert left.stretch is None

        assert (await other.resume(heir, run_id="task", take_over=True)).final_text == "done by the heir"
        before = await log_of(other, "task")
        stuck.let_go.set()
        assert first.stretch is not None
        with pytest.raises(HeadConflictError):
            await first.stretch
        assert await log_of(other, "task") == before
        assert [event.data["epoch"] for event in only(before, "run_started")] == [1, 2]
        assert await other.log.verify("task") is None
        assert (await first.await_result()).final_text == "done by the heir"


async def test_it_works_from_within_one_runner_too(runner: Runner) -> None:
    """As for a worker that was given its own run once more."""
    stuck, counted = Stuck(), Counted()
    child = agent([asks(("stuck", {})), asks(("work", {})), says("found")], stuck.tool, counted.tool, name="searcher")
    parent = agent([asks(("transfer_to_searcher", {"task": "search"})), says("done")], name="parent", subagents=[child])
    first = await runner.run_once(parent, run_id="task", by="one")
    await stuck.begun.wait()
    second = await runner.run_once(parent, run_id="task", by="two", take_over=True)
    stuck.let_go.set()
    assert second.stretch is not None
    assert (await second.stretch).state == "completed"
    assert first.stretch is not None
    with pytest.raises(HeadConflictError):
        await first.stretch
    assert (stuck.ran, counted.ran) == (1, 1)


async def test_a_live_owners_run_is_taken_from_it_to_be_ended_where_that_is_asked_for(tmp_path: Path) -> None:
    """It may be stopped, and never take a letter in."""
    stuck, counted = Stuck(), Counted()
    described = agent([asks(("stuck", {})), asks(("work", {})), says("done")], stuck.tool, counted.tool, name="clerk")
    async with Runner(log=tmp_path / "runs.db") as one, Runner(log=tmp_path / "runs.db") as other:
        first = await one.run_once(described, run_id="task", by="one")
        await stuck.begun.wait()
        await (await other.attach(run_id="task", by="other")).cancel("nobody wants it", take_over=True)
        ended = await log_of(other, "task")
        assert types(ended)[-1] == "run_cancelled"
        stuck.let_go.set()
        assert first.stretch is not None
        with pytest.raises(HeadConflictError):
            await first.stretch
        assert await log_of(other, "task") == ended
    assert counted.ran == 0


class Busy(MemoryEventLog):
    """A log in which the owner of a run appends each time somebody else is about to claim it.

    Args:
        often: how many times.
    """

    def __init__(self, often: int) -> None:
        super().__init__()
        self.often = often

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        first = events[0]
        if first.type == "run_started" and epoch == 2 and self.often:
            self.often -= 1
            data = {"kind": "busy", "what": self.often}
            await super().append(
                [AgentRunEvent("warning", first.run_id, first.thread_id, first.seq, first.at, "running", first.step, "busy", data)], epoch=1
            )
        await super().append(events, epoch=epoch)


@pytest.mark.parametrize("often", [1, 50])
async def test_an_owner_that_goes_on_appending_is_taken_over_all_the_same(often: int) -> None:
    stuck = Stuck()
    async with Runner(log=Busy(often)) as runner:
        handle = await runner.run_handle(agent([asks(("stuck", {})), says("done")], stuck.tool), user_message="go")
        await stuck.begun.wait()
        heir = agent([says("done by the heir")], stuck.tool)
        assert (await runner.resume(heir, run_id=handle.run_id, take_over=True)).final_text == "done by the heir"
        events = await log_of(runner, handle.run_id)
        assert len(only(events, "warning")) >= often
        stuck.let_go.set()
        with pytest.raises(HeadConflictError):
            await handle.await_result()


async def test_a_run_that_is_taken_over_takes_the_runs_of_its_subagents_along(tmp_path: Path) -> None:
    stuck, counted = Stuck(idempotent=True), Counted()

    def family(*, began: bool) -> Agent:
        first = [] if began else [asks(("stuck", {}))]
        child = agent([*first, asks(("work", {})), says("found")], stuck.tool, counted.tool, name="searcher")
        transfer = [] if began else [asks(("transfer_to_searcher", {"task": "search"}))]
        return agent([*transfer, says("done")], name="parent", subagents=[child])

    async with Runner(log=SqliteEventLog(tmp_path / "runs.db")) as one, Runner(log=SqliteEventLog(tmp_path / "runs.db")) as other:
        first = await one.run_once(family(began=False), run_id="task", by="one")
        await stuck.begun.wait()
        stuck.begun.clear()
        second = await other.run_once(family(began=True), run_id="task", by="other", take_over=True)
        await stuck.begun.wait()
        stuck.let_go.set()
        assert second.stretch is not None
        result = await second.stretch
        assert first.stretch is not None
        with pytest.raises(HeadConflictError):
            await first.stretch
        assert result.state == "completed"
        (begun,) = only(await log_of(other, "task"), "subagent_started")
        child = await log_of(other, begun.data["run_id"])
        assert [event.data["owner"] for event in only(child, "run_started")] == [one.log.owner, other.log.owner]
        assert types(child)[-1] == "run_completed"
        assert counted.ran == 1
