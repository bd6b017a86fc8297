"""A suite that is cancelled leaves no task, no thread that waits for it and no open log, and its logs say what became of its runs."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from afk_es import Agent, Runner
from afk_es.evals.models import EvalCase, EvalSuiteConfig
from afk_es.evals.suite import arun_suite
from afk_es.llms import LLMRequest, LLMResponse
from afk_es.testing import ScriptedModel
from tests.evals.suites import polite

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from afk_es import Runner
from afk_es.evals import EvalCase, EvalSuiteConfig, run_suite
from tests.evals.suites import agent, hang, polite, wants

def told(news):
    if (news.kind, news.name) == ("started", "hanging"):
        print("hanging", flush=True)

suite = run_suite(
    runner_factory=lambda: Runner(log=sys.argv[1]),
    cases=[
        polite(),
        EvalCase(name="hanging", agent=agent(wants("hang"), tools=(hang,)), user_message="hi"),
        polite("never begun"),
    ],
    config=EvalSuiteConfig(execution_mode="sequential"),
    progress=told,
)
print([row.outcome for row in suite.results], suite.interrupted, suite.ok, suite.stopped, suite.results[1].state)
"""


async def test_cancelling_the_awaiting_task_cancels_the_runs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    asked = asyncio.Event()

    async def never(request: LLMRequest) -> LLMResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    cases = [EvalCase(name=f"hanging-{n}", agent=Agent(model=ScriptedModel(never)), user_message="hi") for n in range(2)]
    before = asyncio.all_tasks()
    suite = asyncio.create_task(
        arun_suite(runner_factory=lambda: Runner(log=file), cases=[*cases, polite()], config=EvalSuiteConfig(execution_mode="parallel"))
    )
    await asked.wait()
    suite.cancel()
    with pytest.raises(asyncio.CancelledError):
        await suite

    assert asyncio.all_tasks() == before
    assert not _open_logs(tmp_path)
    async with Runner(log=file) as runner:
        ended = {record.state for record in await runner.log.runs()}
    assert ended <= {"cancelled", "completed"}
    assert "cancelled" in ended


def test_ctrl_c_answers_with_what_was_done_so_far(tmp_path: Path) -> None:
    """A real SIGINT to a real process, while a tool hangs."""
    log = tmp_path / "runs.db"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(log)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith("['passed', 'cancelled', 'not_run'] True False the suite was cancelled")
    assert not err
    assert not _open_logs(tmp_path)


def _open_logs(directory: Path) -> list[Path]:
    """The last connection that closes takes the write-ahead log with it."""
    return list(directory.glob("*-wal"))
