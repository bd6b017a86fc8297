"""Processes to be killed, forked from one that has imported everything, so that a life costs milliseconds. What they are to do is not its affair.

`python -m tests.support.zygote MODULE...` imports the modules and then forks a process per line of stdin, a `Task` as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

PATIENCE_S = 30.0
"""Real seconds after which what has not happened hangs."""


class Life:
    """One process, as its parent sees it.

    Args:
        heard: the file in which it says what it has to say, a line at a time: a word, and a text.
        parent: the process that it is a child of; None: of anybody's. The system gives the id of one that is gone to others before long,
            who are not to be killed in its stead.
    """

    def __init__(self, pid: int, heard: Path, parent: int | None = None) -> None:
        self.pid = pid
        self._parent = parent
        self._heard = heard
        self._stopped = False

    def said(self) -> list[tuple[str, str]]:
        """All that it has said."""
        return [(word, text) for word, _, text in (line.partition(" ") for line in lines_of(self._heard))]

    def hear(self, *words: str) -> tuple[str, str]:
        """The first line that begins with one of these words, when it is there."""
        return self.hear_within(PATIENCE_S, *words)

    def hear_within(self, seconds: float, *words: str) -> tuple[str, str]:
        """As `hear`.

        Raises:
            TimeoutError: it has not said that by then.
        """
        until = time.monotonic() + seconds
        while True:
            running = self.running()
            for word, text in self.said():
                if word in words:
                    return word, text
            if not running:
                raise AssertionError(f"{self._heard.name}: it ended, and none of {words} is in {self.said()}")
            if time.monotonic() > until:
                raise TimeoutError(f"{self._heard.name}: none of {words} is in {self.said()}")
            time.sleep(0.002)

    async def heard(self, *words: str) -> tuple[str, str]:
        """As `hear`, beside what else the event loop does."""
        return await asyncio.to_thread(self.hear, *words)

    def running(self) -> bool:
        """Whether it is there, or stands still."""
        process = Path(f"/proc/{self.pid}")
        try:
            state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
            if self._parent not in (None, int(parent)):
                return False
            dead = state in ("Z", "X")
            # Its first thread may be dead, and another still hold its sockets and locks.
            return not dead or len(os.listdir(process / "task")) > 1
        except (FileNotFoundError, ProcessLookupError):
            return False

    def signal(self, number: int) -> None:
        """Send it a signal.

        Raises:
            ProcessLookupError: it is gone.
        """
        if not self.running():
            raise ProcessLookupError(f"{self._heard.name}: it is gone")
        os.kill(self.pid, number)

    def stop(self) -> None:
        """SIGSTOP."""
        self._stopped = True
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._stopped = False
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        until = time.monotonic() + PATIENCE_S
        while self.running() and time.monotonic() < until:
            time.sleep(0.001)


def lines_of(path: Path) -> list[str]:
    """The whole lines of a file that may not be there."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def note(path: Path, line: str) -> None:
    """Add a line to a file, with one system call, so that a kill never tears it."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(file, line.encode() + b"\n")
    finally:
        os.close(file)


class Zygote:
    """The parent's side."""

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.support.zygote", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        self._lives: list[Life] = []
        self._hear()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote ended"
        return line

    def start(self, function: str, heard: Path, **job: Any) -> Life:
        """A process that does `function(say, job)`, an async function by `module:name`."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"function": function, "heard": str(heard), "job": job}) + "\n")
        life = Life(int(self._hear()), heard, self._process.pid)
        self._lives.append(life)
        return life

    def end_all(self) -> None:
        """End every process that is still there."""
        for life in self._lives:
            life.kill()
        self._lives.clear()

    def end(self) -> None:
        """End them all, and itself."""
        self.end_all()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def zygote(*modules: str) -> Iterator[Zygote]:
    """One that has imported these modules."""
    one = Zygote(*modules)
    try:
        yield one
    finally:
        one.end()


class Said:
    """The child's voice."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self, word: str, text: str = "") -> None:
        """Say it."""
        note(self._path, f"{word} {text}".replace("\n", "\\n"))


def main(modules: list[str]) -> None:
    """Fork until stdin ends."""
    for module in modules:
        importlib.import_module(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(task)
        print(pid, flush=True)


def _live(task: dict[str, Any]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    say = Said(Path(task["heard"]))
    module, _, name = task["function"].partition(":")
    try:
        asyncio.run(getattr(importlib.import_module(module), name)(say, task["job"]))
    except BaseException as error:  # noqa: BLE001 - the end of the process, told to its parent
        say("died", f"{type(error).__name__}: {error} {traceback.format_exc()}")
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
