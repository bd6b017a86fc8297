"""Goal: a team survives `kill -9`. Method: a process is killed at a random moment, and another resumes the parent's run alone."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from afk_es.core import AgentRunEvent
from afk_es.log import EventLog
from afk_es.log.port import ChainFault
from afk_es.machine.events import TERMINAL
from afk_es.testing import log_problems
from tests.crash.family import ROOT, ask_log
from tests.crash.journal import Journal

pytestmark = pytest.mark.kill

KILLS = 10
TAKES_S = 0.35


def started(directory: Path, *run_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.crash.team", str(directory), *run_id], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )


def said(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(word):
            return line.removeprefix(word).strip()
    raise AssertionError(f"the process ended without saying {word!r}")


def result_of(directory: Path, *run_id: str) -> dict[str, Any]:
    with started(directory, *run_id) as process:
        result: dict[str, Any] = json.loads(said(process, "result"))
    return result


async def _logs(log: EventLog) -> dict[str, list[AgentRunEvent]]:
    return {record.run_id: await log.read(record.run_id) for record in await log.runs(limit=100)}


async def _faults(log: EventLog) -> list[ChainFault]:
    return [fault for record in await log.runs(limit=100) if (fault := await log.verify(record.run_id)) is not None]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The result of the team that nobody kills."""
    return result_of(tmp_path_factory.mktemp("unkilled"))


@pytest.mark.parametrize("seed", range(KILLS))
def test_a_team_killed_at_a_random_moment(tmp_path: Path, expected: dict[str, Any], seed: int) -> None:
    moment_s = random.Random(seed).uniform(0, TAKES_S)
    print(f"seed {seed}: killed {moment_s:.3f} s after the run was acknowledged")
    with started(tmp_path) as process:
        run_id = said(process, "run")
        time.sleep(moment_s)
        process.kill()
    before = ask_log(tmp_path, _logs)
    result = result_of(tmp_path, run_id)
    after = ask_log(tmp_path, _logs)

    for each, events in before.items():
        assert after[each][: len(events)] == events
        if events[-1].type in TERMINAL - {"run_interrupted"}:
            assert after[each] == events, "a child that had finished went on"
    for events in after.values():
        assert log_problems(events) == []
        assert events[-1].type == "run_completed"
    assert ask_log(tmp_path, _faults) == []
    assert len(after) == 4, "top, middle, low, side: no child's run was made twice"

    lines = Journal(tmp_path / "journal.jsonl").lines()
    paid = Counter(line["key"] for line in lines if line["what"] == "pay")
    assert set(paid.values()) <= {1}
    unknown = [
        event.data["tool_call_id"]
        for events in after.values()
        for event in events
        if event.type == "tool_completed" and event.data["outcome"] == "unknown"
    ]
    if not unknown:
        assert result == expected
    assert result["state"] == "completed"
