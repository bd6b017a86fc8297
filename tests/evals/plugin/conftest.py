"""A project of somebody who tests an agent: a module with the agent, tests, and a pytest that has the plugin by its entry point."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

# What the plugin imports when it is used, so that each pytest in this process need not import it anew.
import afk_es.evals.plugin.fixture
import afk_es.evals.plugin.report_file  # noqa: F401

ROOT = Path(__file__).parents[3]

AGENT = '''
from pathlib import Path

from afk_es import Agent, tool
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

ASKED = Path(__file__).with_name("asked.txt")


@tool
def pay(amount: int) -> str:
    """Pay back."""
    with ASKED.open("a") as file:
        file.write("tool\\n")
    return f"paid {amount}"


def script(request):
    with ASKED.open("a") as file:
        file.write("model\\n")
    if request.messages[-1].role == "tool":
        return "Done."
    return LLMResponse(tool_calls=(ToolCall("c1", "pay", {"amount": len(request.messages[-1].content)}),))


agent = Agent(name="desk", model=ScriptedModel(script), tools=[pay], instructions="Be kind.")
'''

TEST = """
from desk import agent

def test_pays(golden):
    golden.run(agent, user_message="Hello")
"""

INI = """
[pytest]
asyncio_mode = auto
pythonpath = .
asyncio_default_fixture_loop_scope = function
addopts = -p no:cacheprovider -p no:benchmark -p no:hypothesispytest -p no:pytest_cov -p no:anyio
"""


class Project:
    """The project.

    Attributes:
        path: its directory.
        asked: how often its model or its tools have been reached.
    """

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path

    def write(self, **modules: str) -> None:
        """Write modules by their names."""
        for name, text in modules.items():
            (self.path / f"{name}.py").write_text(text, encoding="utf-8")

    def change(self, old: str = "Be kind.", new: str = "Be rude.") -> None:
        """Change the agent's code."""
        text = (self.path / "desk.py").read_text()
        assert old in text
        (self.path / "desk.py").write_text(text.replace(old, new))

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process."""
        return self.pytester.runpytest_inprocess("-p", "no:xdist", *arguments)

    def run_apart(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in a process of its own, as it has to for workers."""
        return self.pytester.runpytest_subprocess(*arguments, timeout=60)

    def goldens(self) -> list[str]:
        """The files there are, from the project's directory."""
        return sorted(path.relative_to(self.path).as_posix() for path in self.path.rglob("*.golden.jsonl"))

    @property
    def asked(self) -> int:
        """See the class."""
        file = self.path / "asked.txt"
        return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Project:
    site = entry_point_in(tmp_path_factory.mktemp("site"))
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    for name in ("CI", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    # Modules are written twice within a second, which caches of bytecode cannot tell apart.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (pytester.path / "pytest.ini").write_text(INI)
    made = Project(pytester)
    made.write(desk=AGENT, test_desk=TEST)
    return made


def entry_point_in(site: Path) -> Path:
    """A directory in which pytest finds the plugin as it does where afk_es is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = site / f"afk_es-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    plugins = [f"{name} = {target}\n" for name, target in project["entry-points"]["pytest11"].items()]
    (info / "entry_points.txt").write_text("".join(["[pytest11]\n", *plugins]))
    return site


@pytest.fixture
def python(project: Project) -> Callable[..., str]:
    """Runs a line of Python in a process of its own, in the project; what it printed."""

    def python(code: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, *options, "-c", code], cwd=project.path, env=dict(os.environ), capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python
