"""A log, a module with agents in it, and the command line called in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest
from click.testing import CliRunner, Result

import afk_es
from afk_es.cli import main

ROOT = Path(afk_es.__file__).resolve().parent.parent

AGENTS = '''
from afk_es import Agent, FailSafeConfig, tool
from afk_es.errors import LLMConfigurationError
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext

USAGE = Usage(10, 2, 12)

@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

@tool(read_only=True)
def whoami(ctx: ToolContext) -> str:
    """Who asks."""
    return str(ctx.user_id)

@tool(read_only=True)
def hostile() -> str:
    """Answers with what a terminal would obey, and a lot of it."""
    return "\\x1b[2J\\x1b]0;owned\\x07" + "x" * 1_000_000

def adding(request):
    if request.messages[-1].role == "tool":
        return LLMResponse(text="It is " + request.messages[-1].content.splitlines()[-1] + ".", usage=USAGE, cost_usd=0.5)
    return LLMResponse(text="Let me add.", tool_calls=(ToolCall("c1", "add", {"a": 1, "b": 2}),), usage=USAGE, cost_usd=0.5)

def asking(name):
    def script(request):
        if request.messages[-1].role == "tool":
            return "\\x1b[31mred " + request.messages[-1].content[-20:]
        return LLMResponse(tool_calls=(ToolCall("c1", name, {}),))
    return script

def failing(request):
    return LLMConfigurationError("no such model \\x1b[31m")

def remembering(request):
    return f"I see {sum(message.role == 'user' for message in request.messages)} messages of yours"

agent = Agent(name="adder", model=ScriptedModel(adding), tools=[add], instructions="Add.")
changed = agent.model_copy(update={"instructions": "Multiply."})
hostile_agent = Agent(model=ScriptedModel(asking("hostile")), tools=[hostile])
personal = Agent(model=ScriptedModel(asking("whoami")), tools=[whoami])
broken = Agent(model=ScriptedModel(failing))
mended = Agent(model=ScriptedModel(lambda request: "It is well."))
memory = Agent(model=ScriptedModel(remembering))
not_an_agent = 7
degraded = Agent(
    model=ScriptedModel(adding), tools=[add], max_steps=1, fail_safe=FailSafeConfig(llm_failure_policy="retry_then_degrade")
)

def make():
    return agent

def make_badly():
    raise KeyError("nothing here")
'''


class Afk(Protocol):
    """Calls the command line in this process."""

    def __call__(self, *args: str, input: str | None = None, env: dict[str, str] | None = None) -> Result: ...


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the log of the test is; nothing is there yet."""
    return tmp_path / "log.db"


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The path of a module with agents. What loading it leaves behind is put back."""
    path = tmp_path / "desk_of_the_test.py"
    path.write_text(AGENTS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(path)
    sys.modules.pop("desk_of_the_test", None)


@pytest.fixture
def afk(log: Path) -> Afk:
    """The command line, with AFK_ES_LOG set to the log of the test."""

    def call(*args: str, input: str | None = None, env: dict[str, str] | None = None) -> Result:
        return CliRunner(env={"AFK_ES_LOG": str(log), **(env or {})}).invoke(main, list(args), input=input, prog_name="afk-es")

    return call


@pytest.fixture
def ran(afk: Afk, agents: str) -> Callable[..., str]:
    """Runs an agent of the module, and gives the run's id."""

    def run(name: str = "agent", message: str = "1 and 2", *options: str) -> str:
        result = afk("run", f"{agents}:{name}", message, *options)
        return next(word for word in result.stderr.split() if word.startswith("run_"))

    return run


Program = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def program(log: Path, tmp_path: Path) -> Iterator[Program]:
    """Starts the command line in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*args: str, cwd: Path = tmp_path, **environment: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log), **environment}
        process = subprocess.Popen(
            [sys.executable, "-m", "afk_es.cli", *args], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
