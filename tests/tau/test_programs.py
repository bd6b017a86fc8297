"""Whole programs of a user with a LiteLLM model: nobody closes anything, warnings are errors, and the program ends when its work has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.openai_server import OpenAIServer
from tests.support.tau import FIXTURE, Recording
from tests.tau.airline import airline_responder

pytestmark = [pytest.mark.tau, pytest.mark.kill]

_REPOSITORY = Path(__file__).parents[2]

_HEAD = """
import asyncio, sys, time
from afk_es import Agent, Runner
from afk_es.llms.litellm import LiteLLMModel
from tests.support.tau import FIXTURE, Recording
from tests.tau.airline import EXACT, airline_agent, airline_model, play

url, path = sys.argv[1:]
recording = Recording.load(FIXTURE)
conversation = recording.conversations["tau-12-0"]
other = recording.conversations["tau-38-2"]
"""

_THREE_SYNC_RUNS = (
    _HEAD
    + """
agent = airline_agent(recording, conversation, airline_model(conversation, url))
runner = Runner(log=path, config=EXACT)
for run in conversation.runs[:3]:
    print(runner.run_sync(agent, user_message=run.user_message, thread_id="t").final_text == run.final_text)
"""
)

_A_MODEL_THAT_IS_A_STRING = (
    _HEAD
    + """
import os
os.environ["OPENAI_BASE_URL"] = url
os.environ["OPENAI_API_KEY"] = "no-key-needed"
agent = airline_agent(recording, conversation, "openai/" + conversation.key)
runner = Runner(log=path, config=EXACT)
for run in conversation.runs[:3]:
    print(runner.run_sync(agent, user_message=run.user_message, thread_id="t").final_text == run.final_text)
"""
)

# Runners come to their end, again and again, while others have calls under way.
_RUNNERS_IN_ONE_LOOP = (
    _HEAD
    + """
async def short(name, runs):
    agent = airline_agent(recording, conversation, "openai/" + conversation.key)
    for run in conversation.runs[:3]:
        result = await Runner(log=path + name, config=EXACT).run(agent, user_message=run.user_message, thread_id="t")
        runs.append(result.final_text == run.final_text)

async def long(runs):
    agent = airline_agent(recording, other, airline_model(other, url))
    async with Runner(log=path + ".long", config=EXACT) as runner:
        runs += [result.state == "completed" for result in await play(runner, agent, other, streamed=True)]

async def main():
    import os
    os.environ["OPENAI_BASE_URL"] = url
    os.environ["OPENAI_API_KEY"] = "no-key-needed"
    runs = []
    await asyncio.gather(short("a", runs), long(runs), short("b", runs))
    print(*runs, sep="\\n")

asyncio.run(main())
"""
)


@pytest.mark.parametrize(
    ("program", "runs"),
    [(_THREE_SYNC_RUNS, 3), (_A_MODEL_THAT_IS_A_STRING, 3), (_RUNNERS_IN_ONE_LOOP, 10)],
    ids=["three run_syncs", "a model string and OPENAI_BASE_URL", "several Runners in one loop"],
)
def test_a_program_works_without_closing_anything_and_ends_at_once(program: str, runs: int, tmp_path: Path) -> None:
    told = 'import atexit; atexit.register(lambda: print("over", time.time()))\n'
    with OpenAIServer(airline_responder(Recording.load(FIXTURE))) as server:
        done = subprocess.run(
            # Warnings are errors and, where they come too late to be raised, are printed: stderr has to be empty.
            [
                sys.executable,
                "-W",
                "error",
                "-c",
                program.replace("recording =", told + "recording =", 1),
                server.url,
                str(tmp_path / "log.db"),
            ],
            cwd=_REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        ended = time.time()
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    *answers, over = done.stdout.splitlines()
    assert answers == ["True"] * runs
    assert ended - float(over.split()[1]) < 5
