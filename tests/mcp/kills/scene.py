"""A shop and a clerk in processes of their own, in one directory, and what must hold of what they leave there."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from afk_es.log import EventLog
from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from afk_es.machine.events import TERMINAL
from afk_es.testing import log_problems
from tests.crash.journal import Journal
from tests.support.zygote import Life, Zygote


class Told(NamedTuple):
    """How the clerk's run ended, and what the clerk was told of the call."""

    state: str
    text: str


class Scene:
    """The processes of one test.

    Args:
        over: how the clerk reaches the shop: "http" or "stdio".
        module: has `serve`, which is the shop, and `call`, which is the clerk.
    """

    def __init__(self, zygote: Zygote, directory: Path, over: str, module: str = "tests.mcp.kills.shop") -> None:
        self._zygote = zygote
        self._shop, self._clerk = f"{module}:serve", f"{module}:call"
        self.directory = directory
        self.over = over
        self._lives = 0
        self._url = ""

    def shop(self, stop: str = "") -> Life:
        """Start the shop, over HTTP and at the same address as before; `stop`: where it waits to be killed."""
        port = int(self._url.rpartition(":")[2].partition("/")[0]) if self._url else 0
        life = self._start(self._shop, "shop", stop=stop, port=port)
        self._url = life.hear("url")[1]
        return life

    def another_shop(self) -> Life:
        """One more, on the same log, at an address of its own."""
        life = self._start(self._shop, "shop")
        life.hear("url")
        return life

    def at_another_shop(self, life: Life) -> None:
        """Clerks that start from now on go there."""
        self._url = life.hear("url")[1]

    def clerk(self, tool: str, **job: Any) -> Life:
        """Start the clerk; see `shop.call` for what it can be told."""
        return self._start(self._clerk, "clerk", tool=tool, over=self.over, url=self._url, **job)

    def _start(self, function: str, name: str, **job: Any) -> Life:
        self._lives += 1
        heard = self.directory / f"{name}-{self._lives}.said"
        return self._zygote.start(function, heard, directory=str(self.directory), **job)

    def shop_over_stdio(self) -> Life:
        """The shop that the clerk started."""
        said = self.directory / "shop.said"
        until = time.monotonic() + 30
        while not said.exists() and time.monotonic() < until:
            time.sleep(0.005)
        life = Life(0, said)
        life.pid = int([line for line in said.read_text().splitlines() if line.startswith("pid ")][-1].split()[1])
        return life

    def go(self) -> None:
        """Let go on what waits."""
        (self.directory / "go").touch()

    # ------------------------------------------------------------------------------------------------------------------ what is left

    def effects(self) -> list[dict[str, Any]]:
        """What the shop did, in order."""
        return Journal(self.directory / "effects.jsonl").lines()

    def events(self, name: str) -> list[list[AgentRunEvent]]:
        """The runs of a log, "shop" or "clerk"."""

        async def read() -> list[list[AgentRunEvent]]:
            log: EventLog = SqliteEventLog(self.directory / f"{name}.db", read_only=True)
            await log.open()
            try:
                runs = await log.runs(limit=100)
                assert [await log.verify(run.run_id) for run in runs] == [None] * len(runs)
                return [await log.read(run.run_id) for run in runs]
            finally:
                await log.close()

        return asyncio.run(read()) if (self.directory / f"{name}.db").exists() else []

    def check(self) -> None:
        """Every promise that holds wherever the processes died: no payment twice, one key for one call, one run for one key, sound logs."""
        effects = self.effects()
        paid = Counter(line["key"] for line in effects if line["what"] == "pay")
        assert all(times == 1 for times in paid.values()), f"paid twice: {effects}"
        assert len({line["key"] for line in effects}) <= 1, f"one call under several keys: {effects}"
        shop = self.events("shop")
        assert len(shop) <= 1, f"{len(shop)} runs for one call"
        # Where nobody asked again the shop's run is as its process left it.
        ended = [run for run in shop if run[-1].type in TERMINAL]
        assert [problem for run in (*ended, *self.events("clerk")) for problem in log_problems(run)] == []


def told(life: Life) -> Told:
    """What the clerk says at its end."""
    return Told(*json.loads(life.hear("result")[1]))


def kill(life: Life) -> None:
    """SIGKILL, of a process of anybody's."""
    os.kill(life.pid, signal.SIGKILL)
    life.kill()
