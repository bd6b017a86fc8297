"""`afk-es worker`: does what is queued with what a module has, tells what it does, and stops as it is told."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from afk_es.errors import ConfigurationError
from afk_es.queues import TaskItem, TaskQueue, Worker
from tests.cli.conftest import Afk, Program
from tests.security.hostile_log import SECRET, TERMINAL
from tests.security.test_terminal import obeyed_in

MODULE = '''
import asyncio
from afk_es import tool
from afk_es.errors import ToolError

@tool
def double(number: int) -> int:
    """Double."""
    return 2 * number

@tool
async def wait() -> str:
    """Wait for ever."""
    await asyncio.Event().wait()

@tool
def refuse(why: str) -> None:
    """Refuse."""
    raise ToolError(why)
'''


@pytest.fixture
def module(tmp_path: Path) -> Path:
    path = tmp_path / "shop.py"
    path.write_text(MODULE)
    return path


def lines(process: subprocess.Popen[str], until: str) -> Iterator[dict[str, Any]]:
    """What it tells, up to and with the first line of that kind."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        yield told
        if told["what"] == until:
            return
    raise AssertionError(f"it ended before it told {until!r}: {process.stderr and process.stderr.read()}")


def push(log: Path, *jobs: tuple[str, dict[str, Any]]) -> list[TaskItem]:
    async def pushed() -> list[TaskItem]:
        async with TaskQueue(log) as queue:
            return [await queue.push_job(name, payload) for name, payload in jobs]

    return asyncio.run(pushed())


def test_it_works_tells_what_it_does_and_drains_when_it_is_told_to_end(program: Program, module: Path, log: Path) -> None:
    done, refused = push(log, ("double", {"number": 21}), ("refuse", {"why": SECRET}))
    process = program("worker", str(module), "--format", "jsonl", "--concurrency", "1", "--name", "w")
    (started,) = lines(process, "started")
    assert (started["worker"], started["queues"], started["handlers"]) == ("w", ["default"], ["double", "wait", "refuse"])
    told = [(each["what"], each["task"]) for each in lines(process, "dead")]
    assert told == [("begun", done.id), ("completed", done.id), ("begun", refused.id), ("dead", refused.id)]
    process.send_signal(signal.SIGTERM)
    *_, stopped = lines(process, "stopped")
    assert (stopped["metrics"]["completed"], stopped["metrics"]["dead"]) == (1, 1)
    assert process.wait(20) == 0
    assert asyncio.run(TaskQueue(log).result(done.id)) == 42


def test_a_second_signal_lays_down_what_is_under_way_for_other_workers(program: Program, module: Path, log: Path) -> None:
    (task,) = push(log, ("wait", {}))
    process = program("worker", str(module), "--format", "jsonl")
    assert [each["what"] for each in lines(process, "begun")] == ["started", "begun"]
    process.send_signal(signal.SIGTERM)
    assert [each["busy"] for each in lines(process, "draining")] == [1]
    process.send_signal(signal.SIGINT)
    assert [each["what"] for each in lines(process, "stopped")] == ["stopping", "given_back", "stopped"]
    assert process.wait(20) == 0
    item = asyncio.run(TaskQueue(log).get(task.id))
    assert (item.state, item.failures, item.attempts) == ("queued", 0, 1)


def test_to_people_it_tells_lines_that_drive_no_terminal_and_keep_secrets(program: Program, module: Path, log: Path) -> None:
    push(log, ("refuse", {"why": f"{TERMINAL}{SECRET}"}))
    process = program("worker", str(module))
    assert process.stderr is not None
    told = []
    for line in process.stderr:
        told.append(line)
        if line.startswith("dead"):
            break
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    text = "".join(told) + rest
    assert obeyed_in(text) is None
    assert "PLANTED0123" not in text
    assert "takes from default" in text
    assert "has stopped: 0 completed, 0 retried, 1 dead" in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("none",), "there is no module 'none'"),
        (("json",), "has no agent, tool, contract, Worker or TaskQueue in it"),
        (("MODULE:double", "--queue", "a b"), "a queue is named"),
        (("MODULE", "--lease", "0"), "lease_s"),
        (("MODULE", "--drain", "-1"), "drain_s"),
        (("MODULE", "--name", "a b"), "name"),
    ],
)
def test_what_cannot_be_is_wrong_usage(afk: Afk, module: Path, log: Path, words: tuple[str, ...], says: str) -> None:
    result = afk("worker", *(word.replace("MODULE", str(module)) for word in words))
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert not log.exists()


def test_a_worker_or_a_queue_of_the_module_is_used_as_it_is(tmp_path: Path) -> None:
    from afk_es.cli.worker import made
    from afk_es.cli.workplaces import Workplace

    queue = TaskQueue(tmp_path / "own.db")
    worker = Worker(queue)
    assert made(Workplace(worker=worker), "shop", {}, None) is worker
    assert made(Workplace(queue=queue), "shop", {"max_concurrency": 3}, None).location == str(tmp_path / "own.db")
    for workplace, options, db in (
        (Workplace(worker=worker), {"name": "w"}, None),
        (Workplace(worker=worker), {}, "x.db"),
        (Workplace(queue=queue), {}, "x.db"),
    ):
        with pytest.raises(ConfigurationError, match="of its own"):
            made(workplace, "shop", options, db)
