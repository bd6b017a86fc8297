"""The recorded conversations as goldens: played through the Runner once, and checked by an agent that has no model, tools or network.

`python -m tests.tau.goldens` does it for all that are there, and says how long the checks take.
"""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afk_es.agents import Agent
from afk_es.core import Runner
from afk_es.evals import CheckReport, Golden, MatchMode, check_golden
from afk_es.log import open_log
from afk_es.tools import ToolContext
from tests.support.tau import Conversation, Recording
from tests.tau.airline import EXACT, airline_agent, airline_model, airline_server, play_all

NOBODY = "http://127.0.0.1:9"
"""Where no server is."""


async def _unreachable(name: str, _arguments: dict[str, Any], _ctx: ToolContext) -> None:
    raise AssertionError(f"a check ran {name}")


async def recorded(recording: Recording, conversations: Sequence[Conversation], directory: Path) -> dict[str, Golden]:
    """Play these conversations over HTTP, write a golden of each, with all its runs in order, and read the files."""
    path = directory / "airline.db"
    with airline_server(recording) as server:
        results = await play_all(Runner(log=path, config=EXACT), recording, conversations, server.url)
    log = open_log(path)
    await log.open()
    try:
        goldens = {key: await Golden.of(log, runs[-1].run_id, name=key, thread=True) for key, runs in results.items()}
    finally:
        await log.close()
    for key, golden in goldens.items():
        golden.write(directory / f"{key}.golden.jsonl")
    return {each.key: Golden.read(directory / f"{each.key}.golden.jsonl") for each in conversations}


def today(recording: Recording, conversation: Conversation) -> Agent:
    """The agent of a check: its tools raise, and its model is nowhere."""
    return airline_agent(recording, conversation, airline_model(conversation, NOBODY), before_tool=_unreachable)


@dataclasses.dataclass(frozen=True)
class Checked:
    """What checks came to, and how long they took alone. `steps` are requests to the model that were served."""

    reports: Mapping[str, CheckReport]
    runs: int
    steps: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{len(self.reports)} goldens, {self.runs} runs, {self.steps} steps in {self.seconds:.2f} s: "
            f"{len(self.reports) / self.seconds:.1f} goldens/s, {self.runs / self.seconds:.0f} runs/s, "
            f"{self.seconds * 1000 / self.steps:.2f} ms a step"
        )


async def checked(
    recording: Recording, goldens: Mapping[str, Golden], conversations: Sequence[Conversation], *, mode: MatchMode | None = None
) -> Checked:
    """Check each golden by today's agent."""
    reports: dict[str, CheckReport] = {}
    seconds = 0.0
    for conversation in conversations:
        agent = today(recording, conversation)
        began = time.perf_counter()
        reports[conversation.key] = await check_golden(goldens[conversation.key], agent, mode=mode)
        seconds += time.perf_counter() - began
    runs = sum(len(report.runs) for report in reports.values())
    calls = sum(len(run.calls) for each in conversations for run in each.runs)
    return Checked(reports, runs, sum(report.served for report in reports.values()) - calls, seconds)


def main() -> None:
    """Record all conversations and check them."""
    recording = Recording.load()
    conversations = list(recording.conversations.values())

    async def run() -> Checked:
        with tempfile.TemporaryDirectory() as directory:
            return await checked(recording, await recorded(recording, conversations, Path(directory)), conversations)

    print(asyncio.run(run()))


if __name__ == "__main__":
    main()
