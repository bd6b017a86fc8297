"""`afk-es export --to golden|pytest`: from a run to a test in one command, with today's agent found by the name that the log has."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from afk_es.cli.agent_search import agents_named
from afk_es.evals import Golden
from tests.cli.conftest import Afk


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in."""
    place = tmp_path_factory.mktemp("place")
    monkeypatch.chdir(place)
    return place


def test_a_golden_is_named_after_the_run_or_as_one_wants(afk: Afk, ran: Callable[..., str], place: Path) -> None:
    run_id = ran()
    result = afk("export", run_id, "--to", "golden")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {run_id}.golden.jsonl" in result.stderr
    assert afk("export", run_id, "--to", "golden").exit_code == 2
    assert afk("export", run_id, "--to", "golden", "-o", "sum.golden.jsonl", "--mode", "trajectory").exit_code == 0
    golden = Golden.read("sum.golden.jsonl")
    assert (golden.name, golden.mode, golden.header.recorded.run) == ("sum", "trajectory", run_id)
    assert afk("export", run_id, "--to", "golden", "-o", "sum.jsonl").exit_code == 2


@pytest.mark.parametrize(("name", "outcome"), [("agent", "passed"), ("make", "passed"), ("changed", "diverged")])
def test_a_test_of_the_agent_that_is_named(afk: Afk, ran: Callable[..., str], agents: str, place: Path, name: str, outcome: str) -> None:
    """And whether the agent of today still keeps it is said at once."""
    result = afk("export", ran(), "--to", "pytest", "--agent", f"{agents}:{name}", "-o", "test_sum.py")
    assert result.exit_code == 0
    assert sorted(os.listdir(place)) == ["test_sum.golden.jsonl", "test_sum.py"]
    assert f"today's agent: golden test_sum (strict) {outcome}" in result.stderr
    source = (place / "test_sum.py").read_text()
    assert f"from desk_of_the_test import {name}" in source
    assert f".check({name}{'()' if name == 'make' else ''})" in source


def test_the_agent_is_found_by_the_name_that_the_log_has(
    afk: Afk, ran: Callable[..., str], agents: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = ran()
    monkeypatch.chdir(Path(agents).parent)
    result = afk("export", run_id, "--to", "pytest", "-o", "test_sum.py")
    assert result.exit_code == 0, result.stderr
    assert "it runs desk_of_the_test:agent, which has the name of the run's agent" in result.stderr
    assert "today's agent: golden test_sum (strict) passed" in result.stderr


def test_an_agent_that_is_not_found_or_not_the_only_one_has_to_be_named(
    afk: Afk, ran: Callable[..., str], agents: str, place: Path
) -> None:
    run_id = ran()
    result = afk("export", run_id, "--to", "pytest")
    assert result.exit_code == 2
    assert "no module here has one called 'adder': name it with --agent MODULE:AGENT" in result.stderr
    for module in ("one", "two"):
        (place / f"{module}.py").write_text("adder = Agent(name='adder', model='m')\n")
    result = afk("export", run_id, "--to", "pytest")
    assert result.exit_code == 2
    assert "--agent one:adder or two:adder" in result.stderr
    assert sorted(os.listdir(place)) == ["one.py", "two.py"]


def test_agents_are_looked_for_without_running_any_code(tmp_path: Path) -> None:
    for name in ("shop/desks", "node_modules", ".hidden", "a/b/c/d"):
        (tmp_path / name).mkdir(parents=True)
    found = {
        "top.py": "raise SystemExit(1)\ndesk = afk_es.Agent(model='m', name='desk')\nother = Agent(name='other', model='m')\n",
        "shop/__init__.py": "desk: Agent = Agent(name='desk', model='m')\n",
        "shop/desks/night.py": "night = Agent(model='m', name='desk')\nnight2 = Agent(model='m', name=NAME)\nnight3 = Agent[str](name='desk')\n",
    }
    hidden = {
        "test_top.py": "desk = Agent(name='desk', model='m')",
        "node_modules/x.py": "desk = Agent(name='desk', model='m')",
        ".hidden/x.py": "desk = Agent(name='desk', model='m')",
        "a/b/c/d/x.py": "desk = Agent(name='desk', model='m')",
        "not-a-module.py": "desk = Agent(name='desk', model='m')",
        "broken.py": "desk = Agent(name='desk'",
        "null.py": "desk = Agent(name='desk')\0",
    }
    for name, text in {**found, **hidden}.items():
        (tmp_path / name).write_text(text)
    assert agents_named("desk", tmp_path) == ("top:desk", "shop:desk", "shop.desks.night:night")
    (tmp_path / "top.py").write_text("desk = Agent(model='m')\n")
    assert agents_named("agent", tmp_path) == ("top:desk",)
    assert agents_named("desk", tmp_path / "nowhere") == ()
