"""A process that plays one conversation and dies where it is told to, as by a power cut; started again, it goes on. It cleans up nothing.

It prints the final texts of all runs, one JSON string a line, if it lives to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import os
import signal
from pathlib import Path
from typing import Any

from afk_es.core import Runner
from afk_es.tools import ToolContext
from tests.support.tau import Conversation, Recording
from tests.tau.airline import EXACT, airline_agent, airline_model, play


def die() -> None:
    """What SIGKILL leaves behind is what the log has to be enough for."""
    os.kill(os.getpid(), signal.SIGKILL)


def _beginning(conversation: Conversation, runs: int | None) -> Conversation:
    if runs is None:
        return conversation
    return dataclasses.replace(conversation, messages=conversation.messages[: conversation.runs[runs].start])


def main() -> None:
    """Play a conversation of the recording."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("conversation")
    parser.add_argument("--recording", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--journal", type=Path, required=True, help="where tools note that they were run")
    parser.add_argument("--die-in-tool", type=int, help="the how-maniest tool call since the journal began")
    parser.add_argument("--die-after-runs", type=int, help="how many runs are to be over then")
    parser.add_argument("--streamed", action="store_true")
    given = parser.parse_args()
    recording = Recording.load(given.recording)
    conversation = recording.conversations[given.conversation]

    async def journal(name: str, arguments: dict[str, Any], ctx: ToolContext) -> None:
        with given.journal.open("a") as journal:
            journal.write(json.dumps([ctx.tool_call_id, name, arguments, ctx.idempotency_key]) + "\n")
        if len(given.journal.read_text().splitlines()) == given.die_in_tool:
            die()

    async def played() -> None:
        agent = airline_agent(recording, conversation, airline_model(conversation, given.url), before_tool=journal)
        async with Runner(log=given.log, config=EXACT.model_copy(update={"in_doubt": "retry"})) as runner:
            results = await play(runner, agent, _beginning(conversation, given.die_after_runs), streamed=given.streamed)
            if given.die_after_runs is not None:
                die()
            for result in results:
                print(json.dumps(result.final_text))

    asyncio.run(played())


if __name__ == "__main__":
    main()
