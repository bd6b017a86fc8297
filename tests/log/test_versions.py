"""Goal: a log that any released version wrote can be read, verified and folded by this one.

Method: the files of fixtures/logs are opened read-only, as they were committed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from afk_es.core import AgentRunEvent, Runner
from afk_es.core.history import ThreadMemory
from afk_es.log import open_log
from afk_es.machine import Draft, RunState, fold, initial_state
from afk_es.machine.events import EVENT_TYPES
from afk_es.machine.state import EPOCH
from afk_es.testing.log_contract import forked
from afk_es.views.verification import problems

LOGS = Path(__file__).parent.parent.parent / "fixtures" / "logs"

ENDS = {
    "v1.db": [("cancelled", 11), ("failed", 11), ("completed", 23), ("completed", 12), ("completed", 37)],
    "v2-file.db": [("cancelled", 11), ("failed", 11), ("interrupted", 25), ("completed", 12), ("completed", 37)],
}
"""Per file, how its runs ended and after how many events, the newest first."""

LATER = {
    "approval_requested",
    "approval_resolved",
    "input_requested",
    "input_resolved",
    "subagent_started",
    "subagent_completed",
    "subagent_waiting",
    "subagents_routed",
    "tool_background_resolved",
    "tool_background_failed",
    "compaction_started",
    "thread_compacted",
    "compaction_failed",
    "warning",
    "text_delta",
    "tool_progress",
    "circuit_open",
}
"""Types that version 1's file does not hold: no feature of that release appended them, or they are never stored."""


async def folded(path: Path) -> list[tuple[RunState, list[AgentRunEvent]]]:
    log = open_log(path, read_only=True)
    await log.open()
    try:
        states = []
        for record in await log.runs():
            assert await log.verify(record.run_id) is None
            events = await log.read(record.run_id)
            history = await ThreadMemory().read(log, events[0].data.get("history", []))
            assert not list(problems(events, history))
            states.append((fold(initial_state(record.run_id, record.thread_id, history), events), events))
        return states
    finally:
        await log.close()


@pytest.mark.parametrize("name", sorted(ENDS))
async def test_an_old_log_is_read_verified_and_folded(name: str, tmp_path: Path) -> None:
    shutil.copy(LOGS / name, tmp_path / name)
    states = await folded(tmp_path / name)
    assert [(state.status, state.seq) for state, _events in states] == ENDS[name]
    seen = {event.type for _state, events in states for event in events}
    assert seen >= EVENT_TYPES.keys() - LATER


async def test_a_thread_of_an_old_log_goes_on(tmp_path: Path) -> None:
    from afk_es.agents import Agent
    from afk_es.testing import ScriptedModel

    shutil.copy(LOGS / "v1.db", tmp_path / "v1.db")
    model = ScriptedModel(["Gladly."])
    await Runner(log=tmp_path / "v1.db").run(Agent(model=model), user_message="Thanks!", thread_id="thread_one")
    said = [message.content for message in model.requests[0].messages if message.role == "user"]
    assert said[0] == "Where is A-17?"
    assert said[-1] == "Thanks!"


def test_every_file_is_looked_at() -> None:
    assert {path.name for path in LOGS.glob("*.db")} == set(ENDS)


async def test_a_file_of_version_one_is_brought_up_to_date_when_it_is_written(tmp_path: Path) -> None:
    shutil.copy(LOGS / "v1.db", tmp_path / "v1.db")
    reader = open_log(tmp_path / "v1.db", read_only=True)
    await reader.open()
    assert (await reader.letters(), await reader.posted()) == ([], 0)
    run_id = (await reader.runs(limit=1))[0].run_id
    writer = open_log(tmp_path / "v1.db")
    await writer.open()
    letter = await writer.post(run_id, Draft("control_requested", {"action": "cancel", "reason": None, "origin": "test"}), at=EPOCH)
    assert await reader.letters() == [letter]
    await writer.close()
    await reader.close()
    assert len(await folded(tmp_path / "v1.db")) == 5


@pytest.mark.parametrize("name", sorted(ENDS))
async def test_an_older_file_takes_forks_once_it_is_written(name: str, tmp_path: Path) -> None:
    shutil.copy(LOGS / name, tmp_path / name)
    reader = open_log(tmp_path / name, read_only=True)
    await reader.open()
    base = (await reader.runs())[-1]
    writer = open_log(tmp_path / name)
    await writer.open()
    await writer.append([forked("run_fork", base.run_id, 5)], epoch=2)
    for log in (reader, writer):
        assert [event.type for event in await log.read("run_fork")][-1] == "run_started"
        assert [event.data for event in (await log.read("run_fork"))[:5]] == [event.data for event in await log.read(base.run_id, limit=5)]
        assert await log.verify("run_fork") is None
    await writer.close()
    await reader.close()
