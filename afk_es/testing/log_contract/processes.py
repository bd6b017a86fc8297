"""The other process of the contract: `python -m afk_es.testing.log_contract.processes REFERENCE DIRECTORY JOB`, and its parent's side.

It speaks a line at a time on stdout. "write": it appends to three runs at once and posts letters until it is killed, and says `done RUN SEQ`
or `done letters COUNT` once each is acknowledged. "claim": it begins a run, says `owner NAME`, then does what it is told: `append`, `close`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module
from pathlib import Path

from afk_es.errors import LogError
from afk_es.log.port import EventLog
from afk_es.testing.log_contract.bench import Bench
from afk_es.testing.log_contract.expecting import BrokenPromiseError
from afk_es.testing.log_contract.material import START, control, started, turn
from afk_es.testing.log_contract.subject import StoreSubject

RUNS = ("run_a", "run_b", "run_c")
EVENTS_IN_AN_APPEND = 80
"""So many that a store which writes them one by one is nearly always caught in the middle, and with three runs at once practically always."""


class Child:
    """A child process, by what it says.

    Attributes:
        heard: every line so far, in words.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.heard: list[list[str]] = []
        self._process = process

    async def hear(self, *words: str) -> list[str]:
        """What follows the first of these words that it says next.

        Raises:
            BrokenPromiseError: it ended without a word of them.
        """
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).decode():
            self.heard.append(line.split())
            if self.heard[-1] and self.heard[-1][0] in words:
                return self.heard[-1][1:]
        assert self._process.stderr is not None
        trouble = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines()
        raise BrokenPromiseError(f"the child process ended without saying {' or '.join(words)}: {trouble[-1] if trouble else 'no error'}")

    def tell(self, line: str) -> None:
        """Say something to it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def kill(self) -> None:
        """SIGKILL; on Windows what is like it."""
        self._process.kill()

    async def end(self) -> None:
        """Kill it if it still lives, and take in what it said last."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):  # It may end at this moment.
                self._process.kill()
        out, _ = await self._process.communicate()
        # The last line may be torn, and then it says nothing.
        self.heard += [line.split() for line in out.decode().splitlines(keepends=True) if line.endswith("\n")]


@asynccontextmanager
async def child(bench: Bench, job: str) -> AsyncIterator[Child]:
    """Another process with a store on the log of this bench."""
    # It must be able to import what this process can, wherever that was found.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(entry or os.getcwd() for entry in sys.path)}
    command = [sys.executable, "-m", __name__, bench.subject.reference(), str(bench.directory), job]
    pipe = asyncio.subprocess.PIPE
    one = Child(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment))
    try:
        yield one
    finally:
        await one.end()


def _store(reference: str, directory: Path) -> EventLog:
    module, _, name = reference.partition(":")
    maker = import_module(module)
    for part in name.split("."):
        maker = getattr(maker, part)
    if isinstance(maker, type) and issubclass(maker, StoreSubject):
        return maker().new_log(directory)
    made: EventLog = maker(directory)  # type: ignore[operator]
    return made


async def _write(log: EventLog) -> None:
    async def grow(run_id: str) -> None:
        await log.append([started(run_id, owner=log.owner)], epoch=1)
        seq = 1
        while True:
            batch = [item for place in range(EVENTS_IN_AN_APPEND // 4) for item in turn(run_id, seq + 1 + 4 * place)]
            await log.append(batch, epoch=1)
            seq += EVENTS_IN_AN_APPEND
            _say("done", run_id, seq)

    async def post() -> None:
        count = 0
        while True:
            if await log.head(RUNS[0]) is not None:
                count += 1
                await log.post(RUNS[0], control("pause", str(count)), at=START)
                _say("done", "letters", count)
            await asyncio.sleep(0)

    await asyncio.gather(post(), *map(grow, RUNS))


async def _claim(log: EventLog) -> None:
    log.hold("run_a")
    await log.append([started("run_a", owner=log.owner), *turn("run_a", 2)], epoch=1)
    _say("owner", log.owner)
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "append":
            try:
                await log.append(turn("run_a", 6), epoch=1)
                _say("appended")
            except LogError as error:
                _say("refused", type(error).__name__)
        elif line == "close":
            await log.close()
            _say("closed")
            return


def _say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


async def _main(reference: str, directory: str, job: str) -> None:
    log = _store(reference, Path(directory))
    await log.open()
    try:
        await {"write": _write, "claim": _claim}[job](log)
    finally:
        await log.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
