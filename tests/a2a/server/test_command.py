"""`afk-es a2a serve`: agents of a module, served until the command is ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from a2a.types.a2a_pb2 import TaskState
from click.testing import CliRunner

from afk_es.cli import main
from afk_es.core import Runner
from tests.a2a.server.asking import COMPLETED, answer_of, asker_at

MODULE = """
from afk_es.a2a import A2AServer, ServedAgent
from afk_es.agents import Agent, PolicyEngine, PolicyRule
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import tool

def answer(request):
    return "heard: " + request.messages[-1].content

clerk = Agent(name="clerk", model=ScriptedModel(answer))
boss = ServedAgent(agent=Agent(name="boss", model=ScriptedModel(answer)), description="Decides.")
server = A2AServer(clerk, log=":memory:")
number = 7

@tool
def look() -> None:
    raise SystemExit("it was called")

buyer = Agent(name="buyer", model=ScriptedModel([LLMResponse(tool_calls=(ToolCall("c1", "look", {}),))]), tools=[look])
careful = PolicyEngine(rules=[PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "look")])
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    file = tmp_path / "shop.py"
    file.write_text(MODULE)
    return file


@contextmanager
def serving(*words: str, **environment: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The command, and where it says it is."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "afk_es.cli", "a2a", "serve", *words],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd(), **environment},
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://\S+?(?=;)", line)
        assert found, line + process.stderr.read()
        yield found[0], process
    finally:
        process.kill()
        process.communicate()


async def test_agents_are_served_until_the_command_is_ended(module: Path, tmp_path: Path) -> None:
    words = (f"{module}:clerk", f"{module}:boss", "--token-env", "alice=THE_KEY", "--rate", "100/1", "--db", str(tmp_path / "runs.db"))
    with serving(*words, THE_KEY="a-key-that-is-long-enough") as (url, process):
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{url}/boss/.well-known/agent-card.json")).json()["description"] == "Decides."
            assert (await http.get(f"{url}/clerk/tasks")).status_code == 401
            async with asker_at(f"{url}/clerk", http, token="a-key-that-is-long-enough") as client:
                task = await client.send("hello")
        assert (task.status.state, answer_of(task)) == (COMPLETED, "heard: hello")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    async with Runner(log=tmp_path / "runs.db") as runner:
        assert [record.run_id for record in await runner.log.runs()] == [task.id]


async def test_a_policy_is_asked_and_pages_that_were_named_are_let_in(module: Path, tmp_path: Path) -> None:
    words = (f"{module}:buyer", "--http", "127.0.0.1:0", "--policy", f"{module}:careful", "--allow-origin", "https://app.example")
    with serving(*words, "--db", str(tmp_path / "runs.db")) as (url, _process):
        async with httpx.AsyncClient() as http:
            async with asker_at(url, http) as client:
                assert (await client.send("hello")).status.state == TaskState.TASK_STATE_INPUT_REQUIRED
            for origin, status in (("https://app.example", 200), ("https://other.example", 403)):
                answer = await http.get(f"{url}/.well-known/agent-card.json", headers={"Origin": origin})
                assert answer.status_code == status


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{}:number"], "is of the type int, not an Agent"),
        (["{}:look"], "look is a tool; name an agent that has it"),
        (["{}:server", "--rate", "3/1"], "has its log and options where it is made"),
        (["{}:server", "{}:clerk"], "is served alone"),
        (["{}:clerk", "{}:clerk"], "two agents are named 'clerk'"),
        (["{}:clerk", "--token-env", "NOWHERE"], "'NOWHERE' of --token-env is not set"),
        (["{}:clerk", "--policy", "{}:number"], "not a PolicyEngine"),
        (["{}:server", "--policy", "{}:careful"], "has its log and options where it is made"),
        (["{}:clerk", "--http", "8080"], "--http is HOST:PORT"),
        (["{}:clerk", "--allow-origin", "app.example"], "names sites as browsers do"),
        (["{}:clerk", "--audience", "me"], "are about the tokens of --jwks"),
        (["{}:clerk", "--jwks", "https://issuer.example/keys"], "needs --audience"),
        (["{}:clerk", "--jwks", "https://issuer.example/keys", "--token-env", "X"], "take one"),
        (["{}:clerk", "--rate", "often"], "CALLS/SECONDS"),
        (["{}:clerk", "--push-file", "{}/x.db", "--db", ":memory:"], "name another file with push_file (--push-file)"),
        (["{}:clerk", "--http", "0.0.0.0:0"], "lets everybody in: give it an authenticator (on the command line --token-env or --jwks)"),
        (["{}:clerk", "--http", "example.org:80"], "example.org"),
    ],
)
def test_what_cannot_be_served_is_wrong_usage(words: list[str], told: str, module: Path) -> None:
    answer = CliRunner().invoke(main, ["a2a", "serve", *(word.format(module) for word in words)])
    assert answer.exit_code == 2, answer.output
    assert told in answer.output
