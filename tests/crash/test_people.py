"""Goal: what people say reaches a run although processes die between their words and it. Method: real processes, SIGKILL, SIGSTOP.

The child runs the plan "sequential": pay, put, pay; the first payment waits for a person.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from afk_es.core import AttachedRun, Receipt, Runner, RunnerConfig
from afk_es.errors import UsageError
from afk_es.log.sqlite import SqliteEventLog
from tests.crash.child import Gate, agent
from tests.crash.family import Child, ask_log, child, events_of
from tests.crash.journal import Journal

pytestmark = pytest.mark.kill

T = TypeVar("T")

APPROVAL = {"pay": "request_approval"}
WORDS = {"pay": "request_user_input"}
NEVER_S = 3600.0
"""A process that looks into its inbox as seldom as this takes nothing in."""


def from_outside(directory: Path, run_id: str, say: Callable[[AttachedRun], Awaitable[T]]) -> T:
    """Say something to the run as a process of its own would."""

    async def said() -> T:
        return await say(await Runner(log=directory / "runs.db").attach(run_id=run_id, by="ann"))

    return asyncio.run(said())


async def control(action: str, run: AttachedRun) -> Receipt:
    """Ask for that, and wait until it is taken in."""
    receipt: Receipt = await getattr(run, action)(wait_s=20)
    return receipt


def approve(directory: Path, run_id: str) -> Receipt:
    """Grant the one request that is open."""
    return from_outside(directory, run_id, lambda run: run.approve())


def answered(directory: Path, run_id: str, rules: dict[str, str]) -> dict[str, Any]:
    """Resume the run in new processes, and answer what it waits for, until it has ended."""
    for _ in range(5):
        with child(directory, "resume", "sequential", run_ids=[run_id], rules=rules, mode="external") as one:
            result: dict[str, Any] = json.loads(one.hear("result")[1])
        if result["state"] != "interrupted":
            return result
        if rules is WORDS:
            from_outside(directory, run_id, lambda run: run.answer("chosen"))
        else:
            approve(directory, run_id)
    raise AssertionError("the run does not end")


def journal_of(directory: Path) -> list[str]:
    return [line["call_id"] for line in Journal(directory / "journal.jsonl").lines() if not line["call_id"].startswith("model")]


def asked(directory: Path, run_id: str) -> list[str]:
    return [
        event.data["request_id"]
        for event in events_of(directory, run_id)
        if event.type.endswith("_requested") and "request_id" in event.data
    ]


def waiting(one: Child) -> str:
    """The id of the child's run, once a person is asked."""
    _, run_id = one.hear("run")
    one.hear("asked")
    return run_id


@pytest.mark.parametrize(("rules", "ran"), [(APPROVAL, ["call_1_1", "call_2_1", "call_3_1"]), (WORDS, ["call_2_1"])])
@pytest.mark.parametrize("said", ["nothing", "before the kill", "after the kill"])
def test_killed_while_a_person_is_asked(tmp_path: Path, rules: dict[str, str], ran: list[str], said: str) -> None:
    def say() -> None:
        receipt = from_outside(tmp_path, run_id, lambda run: run.approve() if rules is APPROVAL else run.answer("chosen"))
        assert receipt.status == "posted"

    with child(tmp_path, "run", "sequential", rules=rules, mode="interactive", poll_s=NEVER_S) as one:
        run_id = waiting(one)
        if said == "before the kill":
            say()
        one.kill()
    if said == "after the kill":
        say()
    result = answered(tmp_path, run_id, rules)
    assert (result["state"], journal_of(tmp_path)) == ("completed", ran)
    questions = asked(tmp_path, run_id)
    assert len(questions) == len(set(questions)) == 2
    assert ask_log(tmp_path, lambda log: log.verify(run_id)) is None


@pytest.mark.parametrize("place", ["before call_1_1", "after call_1_1", "before model_2"])
def test_killed_when_the_grant_was_applied(tmp_path: Path, place: str) -> None:
    """The live process took the letter in and started the call; from there on it is a call like any other."""
    with child(tmp_path, "run", "sequential", rules=APPROVAL, mode="interactive", stop=place) as one:
        run_id = waiting(one)
        approve(tmp_path, run_id)
        one.hear("at")
        one.kill()
    result = answered(tmp_path, run_id, APPROVAL)
    assert result["state"] == "completed"
    assert journal_of(tmp_path).count("call_1_1") == (place != "before call_1_1")
    told = result["final_text"].splitlines()[1]
    assert told == ("call_1_1: pay 1.1" if place == "before model_2" else "call_1_1: unknown")
    grants = [event for event in events_of(tmp_path, run_id) if event.type == "approval_resolved"]
    assert [event.data["request_id"] for event in grants] == ["approval:1:0", "approval:3:0"]


def test_a_live_process_is_paused_goes_on_and_is_interrupted_from_another(tmp_path: Path) -> None:
    with child(tmp_path, "run", "sequential", pause_s=0.05, rules=APPROVAL, mode="interactive") as one:
        run_id = waiting(one)
        for action in ("pause", "resume", "interrupt"):
            receipt = from_outside(tmp_path, run_id, partial(control, action))
            assert receipt.status == "taken_in", action
        assert json.loads(one.hear("result")[1])["state"] == "interrupted"
    assert answered(tmp_path, run_id, APPROVAL)["state"] == "completed"


@pytest.mark.parametrize("posted_before", [False, True])
def test_a_run_whose_process_was_killed_is_really_cancelled_without_its_agent(tmp_path: Path, posted_before: bool) -> None:
    with child(tmp_path, "run", "sequential", stop="after call_1_1", poll_s=NEVER_S) as one:
        _, run_id = one.hear("run")
        one.hear("at")
        if posted_before:
            assert from_outside(tmp_path, run_id, lambda run: run.cancel("too late")).status == "posted"
        one.kill()
    with pytest.raises(UsageError, match="no process drives it"):
        from_outside(tmp_path, run_id, lambda run: run.pause())
    assert from_outside(tmp_path, run_id, lambda run: run.cancel("its machine burnt")).status == "taken_in"
    events = events_of(tmp_path, run_id)
    assert events[-1].type == "run_cancelled"
    assert [event.data["outcome"] for event in events if event.type == "tool_completed"] == ["unknown"]
    assert [event.data["epoch"] for event in events if event.type == "run_started"] == [1, 2]
    assert journal_of(tmp_path) == ["call_1_1"]
    assert ask_log(tmp_path, lambda log: log.verify(run_id)) is None


class _Usurper(SqliteEventLog):
    """A store that takes every other owner for dead, as one on another machine would that cannot see its lock."""

    async def alive(self, owner: str, run_id: str) -> bool:
        return False


def test_an_owner_that_was_stopped_while_another_took_the_grant_dispatches_nothing(tmp_path: Path) -> None:
    """The grant is for both to read, and only the owner's run may act on it."""

    async def take_over(run_id: str) -> Any:
        log = _Usurper(tmp_path / "runs.db")
        await log.open()
        try:
            runner = Runner(log=log, config=RunnerConfig(interaction_mode="external"))
            return await runner.resume(agent(tmp_path, "sequential", Gate("", False, 0.0)), run_id=run_id, allow_agent_change=True)
        finally:
            await log.close()

    with child(tmp_path, "run", "sequential", rules=APPROVAL, mode="interactive") as owner:
        run_id = waiting(owner)
        os.kill(owner.pid, signal.SIGSTOP)
        try:
            approve(tmp_path, run_id)
            result = asyncio.run(take_over(run_id))
        finally:
            os.kill(owner.pid, signal.SIGCONT)
        refused = owner.hear("refused", "result")
    assert result.state == "completed"
    assert refused[0] == "refused"
    assert refused[1].startswith("HeadConflictError")
    assert journal_of(tmp_path) == ["call_1_1", "call_2_1", "call_3_1"]
    assert asked(tmp_path, run_id) == ["approval:1:0"]
