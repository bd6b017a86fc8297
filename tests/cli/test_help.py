"""Help and reading are fast because they load little: what a verb does not need is not imported."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from afk_es.cli import VERBS
from tests.cli.conftest import ROOT, Afk

HEAVY = {"litellm", "textual", "hypothesis", "rich", "mcp", "a2a", "starlette", "uvicorn", "jwt"}


def _modules_after(*args: str, log: Path) -> set[str]:
    """The top-level modules that are loaded when the command line has done this."""
    code = f"import sys\nfrom afk_es.cli import main\nmain({list(args)!r}, standalone_mode=False)\nprint('MODULES', *sys.modules)"
    env = {"PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_loads_no_verb_and_nothing_heavy(log: Path) -> None:
    loaded = _modules_after("--help", log=log)
    assert not loaded & {*HEAVY, "pydantic", "aiosqlite", "sqlite3", "asyncio", "msgspec"}
    assert not {name for name in loaded if name.startswith("afk_es.cli.")} - {"afk_es.cli.failures", "afk_es.cli.invocation"}


@pytest.mark.parametrize("verb", ["runs", "log", "show", "tickets", "verify"])
def test_reading_loads_no_agents_and_nothing_heavy(verb: str, log: Path, ran: object) -> None:
    ran()  # type: ignore[operator]  # the fixture is a function
    assert not _modules_after(verb, log=log) & {*HEAVY, "pydantic"}


def test_help_of_a_group_loads_none_of_its_verbs(log: Path) -> None:
    loaded = _modules_after("golden", "--help", log=log)
    assert not loaded & {*HEAVY, "pydantic", "aiosqlite", "sqlite3", "msgspec"}


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_of_the_table_is_a_command_with_that_line_of_help(verb: str, afk: Afk) -> None:
    module, line = VERBS[verb]
    assert getattr(import_module(module), verb.replace("-", "_")).short_help == line
    assert line in " ".join(afk("--help").stdout.split())
    result = afk(verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: afk-es {verb}")


def test_an_unknown_verb_is_wrong_usage(afk: Afk) -> None:
    result = afk("frobnicate")
    assert result.exit_code == 2
    assert "No such command" in result.stderr


def test_a_verb_that_is_nearly_one_is_asked_about(afk: Afk) -> None:
    result = afk("shwo")
    assert result.exit_code == 2
    assert "Did you mean 'show'?" in result.stderr


def test_the_version_is_said_also_in_a_source_tree(afk: Afk) -> None:
    result = afk("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("afk-es ")
