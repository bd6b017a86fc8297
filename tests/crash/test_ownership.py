"""Goal: one process owns a run, whoever else wants it. Method: two processes, one log; stopped, killed, racing and stale owners."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentRunEvent, Runner
from afk_es.errors import HeadConflictError, RunOwnedError
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, tool
from tests.crash.child import Gate, agent
from tests.crash.family import ask_log, check_survival, child, events_of, resumed, unkilled, without_run
from tests.crash.journal import Journal
from tests.crash.scenarios import planned

ROUNDS = 30


def resume_here(directory: Path, run_id: str) -> dict[str, Any]:
    """Resume the run in this very process."""
    runner = Runner(log=directory / "runs.db")
    result = asyncio.run(runner.resume(agent(directory, "sequential", Gate("", False, 0.0)), run_id=run_id))
    return {"state": result.state, "final_text": result.final_text}


def journal_of(directory: Path) -> list[dict[str, Any]]:
    """What the tools and models of all processes did."""
    return Journal(directory / "journal.jsonl").lines()


@pytest.mark.kill
class TestALivingOwner:
    def test_keeps_its_run_and_loses_it_with_its_life(self, tmp_path: Path) -> None:
        with child(tmp_path, "run", "sequential", stop="before call_2_1") as owner:
            _, run_id = owner.hear("run")
            owner.hear("at")
            events, done = events_of(tmp_path, run_id), journal_of(tmp_path)
            with pytest.raises(RunOwnedError, match=events[0].data["owner"]):
                resume_here(tmp_path, run_id)
            assert events_of(tmp_path, run_id) == events
            assert journal_of(tmp_path) == done
            owner.kill()
        assert resume_here(tmp_path, run_id)["state"] == "completed"

    def test_that_is_stopped_is_still_alive(self, tmp_path: Path) -> None:
        """A stopped process goes on where it stood, so a takeover would make two of it."""
        with child(tmp_path, "run", "sequential", stop="after call_2_1") as owner:
            _, run_id = owner.hear("run")
            owner.hear("at")
            os.kill(owner.pid, signal.SIGSTOP)
            try:
                with pytest.raises(RunOwnedError, match="alive"):
                    resume_here(tmp_path, run_id)
            finally:
                os.kill(owner.pid, signal.SIGCONT)
            owner.tell("go on")
            result = json.loads(owner.hear("result")[1])
        assert without_run(result) == without_run(unkilled(tmp_path / "again", "sequential"))
        assert [event.data["epoch"] for event in events_of(tmp_path, run_id) if event.type == "run_started"] == [1]

    def test_frees_its_run_when_it_ends_in_order(self, tmp_path: Path) -> None:
        with child(tmp_path, "run", "sequential") as owner:
            _, run_id = owner.hear("run")
            owner.hear("result")
        before = events_of(tmp_path, run_id)
        assert resume_here(tmp_path, run_id)["state"] == "completed"
        assert events_of(tmp_path, run_id) == before


@pytest.mark.kill
def test_of_two_processes_that_race_for_a_dead_run_one_gets_it(tmp_path: Path) -> None:
    """Thirty dead runs, two contenders told of each at the same moment: one resumes it, the other is refused or sees the result."""
    with child(tmp_path, "run", "sequential", runs=ROUNDS, pause_s=0.2) as owner:
        run_ids = [owner.hear("run")[1] for _ in range(ROUNDS)]
        while len(journal_of(tmp_path)) < ROUNDS:
            time.sleep(0.01)
        owner.kill()
    prefixes = {run_id: events_of(tmp_path, run_id) for run_id in run_ids}
    expected = unkilled(tmp_path / "again", "sequential")
    refused = 0
    with child(tmp_path, "contend", "sequential", pause_s=0.002) as left, child(tmp_path, "contend", "sequential", pause_s=0.002) as right:
        left.hear("ready")
        right.hear("ready")
        for run_id in run_ids:
            left.tell(run_id)
            right.tell(run_id)
            answers = [left.hear("result", "refused"), right.hear("result", "refused")]
            results = [json.loads(text) for word, text in answers if word == "result"]
            refusals = [text for word, text in answers if word == "refused"]
            refused += len(refusals)
            assert results, answers
            assert all(text.startswith("RunOwnedError") for text in refusals), refusals
            claims = [event for event in events_of(tmp_path, run_id) if event.type == "run_started"]
            assert len(claims) == 2, "both took the run over"
            for result in results:
                check_survival(tmp_path, run_id, prefixes[run_id], result, expected)
    print(f"{ROUNDS} races: {refused} refusals, {ROUNDS - refused} times the loser came so late that it got the result")
    assert refused > 0


class _Usurper(SqliteEventLog):
    """A store that takes every other owner for dead, as one on another machine would that cannot see its lock."""

    async def alive(self, owner: str, run_id: str) -> bool:
        return False


class _Slow:
    """An agent whose first payment does not return before it is let."""

    def __init__(self, journal: Journal) -> None:
        self.paying = asyncio.Event()
        self.let = asyncio.Event()

        @tool
        async def pay(item: str, ctx: ToolContext) -> str:
            """Pay."""
            journal.note("pay", ctx, item=item)
            self.paying.set()
            await self.let.wait()
            return f"paid {item}"

        @tool
        async def put(item: str, ctx: ToolContext) -> str:
            """Put."""
            journal.note("put", ctx, item=item)
            return f"put {item}"

        self.agent = Agent(name="clerk", model=ScriptedModel(planned([["pay"], ["put"]])), tools=[pay, put])


@asynccontextmanager
async def opened(log: SqliteEventLog) -> AsyncIterator[SqliteEventLog]:
    """The log, open for the length of a block."""
    await log.open()
    try:
        yield log
    finally:
        await log.close()


class TestAStaleOwner:
    async def test_dispatches_nothing_after_a_takeover_it_did_not_see(self, tmp_path: Path) -> None:
        journal = Journal(tmp_path / "journal.jsonl")
        stale, heir = _Slow(journal), _Slow(journal)
        handle = await Runner(log=tmp_path / "runs.db").run_handle(stale.agent, user_message="Do it")
        await stale.paying.wait()
        async with opened(_Usurper(tmp_path / "runs.db")) as log:
            result = await Runner(log=log).resume(heir.agent, run_id=handle.run_id)
            stale.let.set()
            with pytest.raises(HeadConflictError, match=handle.run_id):
                await handle.await_result()
            events = await log.read(handle.run_id)
            assert await log.verify(handle.run_id) is None
        assert result.final_text.splitlines()[1:] == ["call_1_1: unknown", "call_2_1: put 2.1"]
        assert [line["what"] for line in journal.lines()] == ["pay", "put"]
        assert len(stale.agent.model.requests) == 1
        assert [event.type for event in events if event.type.startswith("run_")] == ["run_started", "run_started", "run_completed"]

    async def test_is_stopped_by_the_mere_claim(self, tmp_path: Path) -> None:
        """The usurper has done nothing yet but to say that the run is its own."""
        journal = Journal(tmp_path / "journal.jsonl")
        stale = _Slow(journal)
        handle = await Runner(log=tmp_path / "runs.db").run_handle(stale.agent, user_message="Do it")
        await stale.paying.wait()
        async with opened(_Usurper(tmp_path / "runs.db")) as log:
            last = (await log.read(handle.run_id))[-1]
            data = {"agent_name": "clerk", "resumed": True, "epoch": 2, "owner": log.owner}
            claim = AgentRunEvent("run_started", last.run_id, last.thread_id, last.seq + 1, last.at, "running", last.step, "", data)
            await log.append([claim], epoch=2)
            stale.let.set()
            with pytest.raises(HeadConflictError):
                await handle.await_result()
            assert (await log.read(handle.run_id))[-1] == claim
        assert [line["what"] for line in journal.lines()] == ["pay"]
        assert len(stale.agent.model.requests) == 1


@pytest.mark.kill
def test_a_run_killed_again_and_again_ends_at_last(tmp_path: Path) -> None:
    """Five deaths in a row, each a little further on."""
    with child(tmp_path, "run", "sequential", stop="before model_1") as one:
        _, run_id = one.hear("run")
        one.hear("at")
        one.kill()
    for place in ("after model_1", "after call_1_1", "after call_2_1", "before call_3_1"):
        with child(tmp_path, "resume", "sequential", run_ids=[run_id], stop=place) as one:
            word, _ = one.hear("at", "result")
            if word == "at":
                one.kill()
    result = resumed(tmp_path, "sequential", run_id)[run_id]
    assert result["final_text"].splitlines()[1:] == ["call_1_1: unknown", "call_2_1: put 2.1", "call_3_1: unknown"]
    assert result["state"] == "completed"
    assert ask_log(tmp_path, lambda log: log.verify(run_id)) is None
    paid = [line["call_id"] for line in journal_of(tmp_path) if line["what"] == "pay"]
    assert paid == ["call_1_1"]
