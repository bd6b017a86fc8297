"""Goal: what happens to a log when the process that writes it is killed: nothing acknowledged is lost, and its owner is known to be dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import started, turn

pytestmark = pytest.mark.kill

WRITER = """
import asyncio, sys
from afk_es.log.sqlite import SqliteEventLog
from afk_es.testing.log_contract import started, turn

async def main():
    log = SqliteEventLog(sys.argv[1])
    await log.open()
    await log.append([started("run_a", owner=log.owner)], epoch=1)
    print(log.owner, flush=True)
    seq = 2
    while True:
        await log.append(turn("run_a", seq), epoch=1)
        seq += 4
        print(seq - 1, flush=True)

asyncio.run(main())
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, "-c", WRITER, str(tmp_path / "runs.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("acknowledgements", [1, 7, 50])
async def test_a_killed_writer_is_dead_and_all_it_was_told_is_there(
    tmp_path: Path, writer: subprocess.Popen[str], acknowledgements: int
) -> None:
    assert writer.stdout is not None
    owner = writer.stdout.readline().strip()
    for _ in range(acknowledgements):
        writer.stdout.readline()
    log = SqliteEventLog(tmp_path / "runs.db")
    await log.open()
    assert await log.alive(owner, "run_a")
    writer.send_signal(signal.SIGKILL)
    told = [int(line) for line in writer.stdout.read().split("\n") if line]
    writer.wait()
    assert not await log.alive(owner, "run_a")
    assert not (tmp_path / "runs.db-owners").exists()

    events = await log.read("run_a")
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert len(events) >= (told[-1] if told else 1 + 4 * acknowledgements)
    assert (len(events) - 1) % 4 == 0, "an append lands as a whole"
    assert await log.verify("run_a") is None

    seq = len(events) + 1
    await log.append([started("run_a", seq, epoch=2, owner=log.owner), *turn("run_a", seq + 1)], epoch=2)
    assert await log.verify("run_a") is None
    await log.close()
