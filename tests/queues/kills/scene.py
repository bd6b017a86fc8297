"""The processes of a kill test, and whoever kills, stops and drains them: every choice is drawn by a seed, when it takes effect is not."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tests.support.zygote import Life, Zygote

Place = Literal["anywhere", "intent", "effect"]

_PLACES: dict[Place, int] = {"anywhere": signal.SIGSTOP, "intent": signal.SIGUSR1, "effect": signal.SIGUSR2}
_LOOK_S = 0.02
_BORN_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is to be done, and how roughly.

    Attributes:
        log: where the log is.
        runs: how many errands there are to push.
        kill_every_s, stop_every_s, drain_every_s: seconds between two, on average; 0: never.
        minutes: after so long no more is pushed, and nobody is killed any more.
        patience_s: for how long after that what goes on may go on.
        linger_s: how long an effect is under way.
        places: where they are stopped.
        bug: the mistake that the workers have, by its name in `SLIPS`.
    """

    directory: Path
    log: str
    runs: int
    workers: int
    seed: int = 0
    kill_every_s: float = 1.0
    stop_every_s: float = 5.0
    drain_every_s: float = 0.0
    minutes: float = 10.0
    patience_s: float = 120.0
    linger_s: float = 0.02
    lease_s: float = 2.0
    drain_s: float = 2.0
    at_once: int = 8
    durability: Literal["full", "normal"] = "normal"
    places: tuple[Place, ...] = ("anywhere", "intent", "effect")
    bug: str = ""


@dataclass
class Told:
    """What the processes said, and what was done to them.

    Attributes:
        tasks: the ids that were said of each errand.
        wrong: what the pushers found to be wrong.
        died: processes that ended by themselves, with their last words.
        done: how often each thing was done to a worker: "kill", "drain", or "stop" and where.
        seconds: how long it took, from the first push to the end of the last run.
        unfinished: tasks that had not ended when patience did.
    """

    tasks: dict[str, set[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    died: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    unfinished: int = 0


class Scene:
    """One trial.

    Args:
        still_open: how many tasks have not ended.
    """

    def __init__(self, zygote: Zygote, trial: Trial, still_open: Callable[[], Awaitable[int]]) -> None:
        self._zygote = zygote
        self._trial = trial
        self._still_open = still_open
        self._chance = random.Random(trial.seed)
        self._workers: list[Life] = []
        self._all: list[Life] = []
        self._tended: dict[int, asyncio.Task[None]] = {}
        self._lives = 0
        self._told = Told()
        self._calm = False

    async def play(self) -> Told:
        """All of it, until everything that was pushed has ended or patience has."""
        trial = self._trial
        began = time.monotonic()
        pushers = [asyncio.create_task(self._push("keyed")), asyncio.create_task(self._push("keyless"))]
        self._desk = self._start("approve", "desk")
        self._workers = [self._worker() for _ in range(trial.workers)]
        chaos = [
            asyncio.create_task(self._again(every_s, one))
            for every_s, one in (
                (trial.kill_every_s, self._kill),
                (trial.stop_every_s, self._stop),
                (trial.drain_every_s, self._drain),
                (1.0, self._revive),
            )
            if every_s > 0
        ]
        try:
            await self._until_all_has_ended(pushers, began + trial.minutes * 60)
            self._told.seconds = time.monotonic() - began
        finally:
            for task in (*chaos, *pushers):
                task.cancel()
            await asyncio.gather(*chaos, *pushers, return_exceptions=True)
        await self._all_drained()
        await asyncio.gather(*self._tended.values())
        self._listen()
        return self._told

    # ----------------------------------------------------------------------------------------------------------------- lives

    def _start(self, function: str, name: str, **job: Any) -> Life:
        self._lives += 1
        life_name = f"{name}.{self._lives}"
        trial = self._trial
        known = {
            "directory": str(trial.directory),
            "log": trial.log,
            "life": life_name,
            "seed": trial.seed,
            "runs": trial.runs,
            "durability": trial.durability,
            "bug": trial.bug,
        }
        heard = trial.directory / f"{life_name}.said"
        life = self._zygote.start(f"tests.queues.kills.processes:{function}", heard, **known, **job)
        self._all.append(life)
        return life

    def _worker(self) -> Life:
        trial = self._trial
        job = {name: getattr(trial, name) for name in ("linger_s", "lease_s", "drain_s", "at_once")}
        return self._start("work", "worker", **job)

    async def _push(self, pusher: str) -> None:
        """Keep a pusher alive until it has pushed all. The one whose errands have keys is killed now and then."""
        done = 0
        while True:
            life = self._start("push", pusher, pusher=pusher, done=done, at_hand=self._chance.random() < 0.5)
            mortal = pusher == "keyed" and self._trial.kill_every_s > 0 and not self._calm
            lives_s = self._chance.uniform(0.5, 6.0) if mortal else float("inf")
            born = time.monotonic()
            while life.running():
                if time.monotonic() - born > lives_s:
                    life.kill()
                    self._told.done["kill of a pusher"] += 1
                await asyncio.sleep(_LOOK_S)
            said = life.said()
            done = max([done, *(int(text) for word, text in said if word == "pushed")])
            if any(word in ("all", "died") for word, _ in said):
                return

    # ----------------------------------------------------------------------------------------------------------------- deaths

    async def _again(self, every_s: float, one: Callable[[], Awaitable[None]]) -> None:
        while not self._calm:
            await asyncio.sleep(self._chance.expovariate(1 / every_s) if one != self._revive else every_s / 5)
            if not self._calm:
                await one()

    async def _kill(self) -> None:
        """SIGKILL, wherever it is, also where it lies stopped; another takes its place. Now and then it is the one who approves."""
        if self._chance.random() < 0.1:
            self._desk.kill()
            self._told.done["kill of the desk"] += 1
            self._desk = self._start("approve", "desk")
            return
        slot = self._chance.randrange(len(self._workers))
        self._workers[slot].kill()
        self._told.done["kill"] += 1
        self._workers[slot] = self._worker()

    async def _revive(self) -> None:
        """A worker that ended by itself has a successor, so that a mistake of its own is told and does not hang the trial."""
        for slot, life in enumerate(self._workers):
            if not life.running():
                self._workers[slot] = self._worker()

    async def _stop(self) -> None:
        """Have one stop for longer than its lease, and go on."""
        place = self._chance.choice(self._trial.places)
        lies_s = self._trial.lease_s * self._chance.uniform(1.3, 2.2)
        ready = [life for life in self._workers if life.pid not in self._tended and _is_ready(life)]
        if not ready:
            return
        life = self._chance.choice(ready)
        with contextlib.suppress(ProcessLookupError):
            life.signal(_PLACES[place])
            self._tended[life.pid] = asyncio.create_task(self._tend(life, place, lies_s))

    async def _tend(self, life: Life, place: Place, lies_s: float) -> None:
        """Let it go on when it has lain so long. When it comes to where it stops hangs on what it has to do."""
        while life.running():
            if _stands_still(life):
                self._told.done[f"stop {place}"] += 1
                await asyncio.sleep(lies_s)
                with contextlib.suppress(ProcessLookupError):
                    life.signal(signal.SIGCONT)
                break
            await asyncio.sleep(_LOOK_S)
        del self._tended[life.pid]

    async def _drain(self) -> None:
        """SIGTERM: it ends by itself, and another takes its place."""
        slot = self._chance.randrange(len(self._workers))
        life = self._workers[slot]
        if not _is_ready(life):
            return
        self._workers[slot] = self._worker()
        self._told.done["drain"] += 1
        await self._drained(life)

    async def _drained(self, life: Life) -> None:
        try:
            life.signal(signal.SIGCONT)
            life.signal(signal.SIGTERM)
        except ProcessLookupError:
            return
        until = time.monotonic() + self._trial.drain_s + 10
        await _waited(life.running, until)
        if life.running():
            self._told.wrong.append(f"a worker did not end within {self._trial.drain_s + 10} s of SIGTERM")
            life.kill()

    # ----------------------------------------------------------------------------------------------------------------- the end

    async def _until_all_has_ended(self, pushers: list[asyncio.Task[None]], until: float) -> None:
        while time.monotonic() < until:
            if all(task.done() for task in pushers) and await self._still_open() == 0:
                break
            await asyncio.sleep(0.1)
        # Liveness once nobody disturbs them any more.
        self._calm = True
        (self._trial.directory / "enough").touch()
        patience = time.monotonic() + self._trial.patience_s
        await asyncio.gather(*pushers)
        while time.monotonic() < patience and await self._still_open() > 0:
            await self._revive()
            await asyncio.sleep(0.1)
        self._told.unfinished = await self._still_open()

    async def _all_drained(self) -> None:
        for life in self._workers:
            await _waited(lambda life=life: life.running() and not life.said(), time.monotonic() + _BORN_S)  # type: ignore[misc]
        await asyncio.gather(*(self._drained(life) for life in self._workers))

    def _listen(self) -> None:
        for life in self._all:
            for word, text in life.said():
                match word:
                    case "task":
                        name, task_id = text.split(" ")
                        self._told.tasks.setdefault(name, set()).add(task_id)
                    case "wrong":
                        self._told.wrong.append(text)
                    case "died":
                        self._told.died.append(text)
                    case _:
                        pass


def _is_ready(life: Life) -> bool:
    return any(word == "ready" for word, _ in life.said())


async def _waited(lasts: Callable[[], bool], until: float) -> None:
    """Return when what happens in another process does so no longer, or then."""
    while lasts() and time.monotonic() < until:  # noqa: ASYNC110 - it is not in this process
        await asyncio.sleep(_LOOK_S)


def _stands_still(life: Life) -> bool:
    try:
        return Path(f"/proc/{life.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (FileNotFoundError, ProcessLookupError):
        return False
