"""Places at which a process stops until somebody kills it or lets it go on: in a tool, and before or after an event is in its log."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from afk_es.log.sqlite import SqliteEventLog
from afk_es.machine import AgentRunEvent
from tests.support.zygote import Said


class Gate:
    """Stops the process at one place, the first time that it comes there.

    Args:
        stop: such as "before effect" or "after tool_started"; empty: nowhere.
        go: the file that lets it go on.
    """

    def __init__(self, stop: str, go: Path, say: Said) -> None:
        self._stop = stop
        self._go = go
        self._say = say

    async def at(self, place: str) -> None:
        """The process has come to this place."""
        if place != self._stop:
            return
        self._stop = ""
        self._say("at", place)
        while not self._go.exists():  # noqa: ASYNC110 - another process makes the file
            await asyncio.sleep(0.002)


class GatedLog(SqliteEventLog):
    """A log whose appends are places: "before tool_started", "after tool_started", and "after llm_called far" in the run of a subagent."""

    def __init__(self, path: Path, gate: Gate) -> None:
        super().__init__(path, durability="normal")
        self._gate = gate
        self._far: set[str] = set()

    async def append(self, events: Sequence[AgentRunEvent], *, epoch: int) -> None:
        places = [f"{event.type}{self._of(event)}" for event in events]
        for place in places:
            await self._gate.at(f"before {place}")
        await super().append(events, epoch=epoch)
        for place in places:
            await self._gate.at(f"after {place}")

    def _of(self, event: AgentRunEvent) -> str:
        """A run with another's as its parent is "far"."""
        if event.type == "run_started" and "parent" in event.data:
            self._far.add(event.run_id)
        return " far" if event.run_id in self._far else ""
