"""The parent of the children that are killed, and what it can say of a run when they are gone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from afk_es.core import AgentRunEvent
from afk_es.log import EventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing import log_problems
from tests.crash.journal import Journal

T = TypeVar("T")
ROOT = Path(__file__).parents[2]


class Child:
    """A child process, by what it says."""

    def __init__(self, directory: Path, do: str, plan: str, *, module: str = "tests.crash.child", **job: Any) -> None:
        directory.mkdir(exist_ok=True)
        text = json.dumps({"directory": str(directory), "do": do, "plan": plan, **job})
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", module, text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env=environment,
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hear(self, *words: str) -> tuple[str, str]:
        """The next line that begins with one of these words, as word and text."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, text = line.strip().partition(" ")
            if word in words:
                return word, text
        raise AssertionError(f"the child ended (exit code {self._process.wait()}) without saying any of {words}")

    def all(self) -> list[tuple[str, str]]:
        """Everything it says until its end."""
        assert self._process.stdout is not None
        lines = [line.strip().partition(" ") for line in self._process.stdout]
        return [(word, text) for word, _, text in lines]

    def tell(self, line: str) -> None:
        """Say something to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.wait()

    def end(self) -> None:
        """Let it end by itself, or kill it; close the pipes."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self.kill()
        self._process.stdin.close()
        self._process.stdout.close()


@contextmanager
def child(directory: Path, do: str, plan: str, **job: Any) -> Iterator[Child]:
    """A child that does a job, see `tests.crash.child`."""
    one = Child(directory, do, plan, **job)
    try:
        yield one
    finally:
        one.end()


def resumed(directory: Path, plan: str, *run_ids: str) -> dict[str, dict[str, Any]]:
    """The results of these runs, resumed in one new process."""
    with child(directory, "resume", plan, run_ids=run_ids) as one:
        told = one.all()
    assert [word for word, _ in told] == ["result"] * len(run_ids), told
    results = [json.loads(text) for _, text in told]
    return {result["run_id"]: result for result in results}


def unkilled(directory: Path, plan: str) -> dict[str, Any]:
    """The result of a run that nobody kills."""
    with child(directory, "run", plan) as one:
        result: dict[str, Any] = json.loads(one.hear("result")[1])
        return result


def ask_log(directory: Path, question: Callable[[EventLog], Awaitable[T]]) -> T:
    """Open the log as nobody in particular, and ask it."""

    async def asked() -> T:
        log = SqliteEventLog(directory / "runs.db", read_only=True)
        await log.open()
        try:
            return await question(log)
        finally:
            await log.close()

    return asyncio.run(asked())


def events_of(directory: Path, run_id: str) -> list[AgentRunEvent]:
    """The run's log."""
    return ask_log(directory, lambda log: log.read(run_id))


def check_survival(
    directory: Path, run_id: str, prefix: list[AgentRunEvent], result: dict[str, Any], expected: dict[str, Any]
) -> list[str]:
    """Every promise, after a real kill at the end of `prefix`; gives the calls whose outcome is unknown."""
    events = events_of(directory, run_id)
    assert events[: len(prefix)] == prefix
    assert ask_log(directory, lambda log: log.verify(run_id)) is None
    assert log_problems(events) == []
    seen = [line for line in Journal(directory / "journal.jsonl").lines() if line["run_id"] == run_id]
    times = {call_id: sum(line["call_id"] == call_id for line in seen) for call_id in {line["call_id"] for line in seen}}
    for call_id, count in times.items():
        again_allowed = call_id.startswith("model") or any(line["call_id"] == call_id and line["what"] != "pay" for line in seen)
        assert count <= (2 if again_allowed else 1), f"{call_id} took effect {count} times"
    for event in prefix:
        if event.type == "tool_completed" and event.data["success"]:
            assert times[event.data["tool_call_id"]] == 1, f"{event.data['tool_call_id']} had returned and ran again"
        if event.type == "llm_completed":
            assert times[f"model_{event.step}"] == 1, f"the model was asked again in step {event.step}, and had answered"
    keys = {(line["call_id"], line["key"]) for line in seen if "key" in line}
    assert len(keys) == len({call_id for call_id, _ in keys}), "a call was repeated under another key"
    unknown = [e.data["tool_call_id"] for e in events if e.type == "tool_completed" and e.data["outcome"] == "unknown"]
    lines = expected["final_text"].splitlines()
    assert result["final_text"].splitlines() == [
        f"{line.split(':')[0]}: unknown" if line.split(":")[0] in unknown else line for line in lines
    ]
    assert result["state"] == expected["state"] == "completed"
    if not unknown:
        assert without_run(result) == without_run(expected)
    return unknown


def without_run(result: dict[str, Any]) -> dict[str, Any]:
    """A result without the id of its run."""
    return {name: value for name, value in result.items() if name != "run_id"}
