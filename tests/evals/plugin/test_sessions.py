"""What a session says at its end, with workers and without; what it costs a session that has no golden; and which other plugins it needs: none."""

from __future__ import annotations

import json
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest

from tests.evals.plugin.conftest import Project

MANY = """
import pytest
from desk import agent

@pytest.mark.parametrize("word", ["one", "two", "three", "four"])
def test_pays(golden, word):
    golden.run(agent, user_message=word)

def test_{name}(golden):
    golden("{name}").run(agent, user_message="{name}")
"""


@pytest.fixture
def recorded(project: Project) -> Project:
    """Two directories with five goldens each: in one all have diverged, in the other one has no test any more."""
    (project.path / "test_desk.py").unlink()
    project.write(tool=(project.path / "desk.py").read_text())
    for name in ("a", "b"):
        project.pytester.mkdir(name)
        project.write(**{f"{name}/test_{name}": MANY.replace("{name}", name)})
    (project.path / "b/test_b.py").write_text(MANY.replace("{name}", "b").replace("from desk", "from tool"))
    project.run("--golden-update=new").assert_outcomes(passed=10)
    project.change()
    (project.path / "b/test_b.py").write_text((project.path / "b/test_b.py").read_text().replace(', "four"', ""))
    return project


def section(result: pytest.RunResult) -> list[str]:
    lines = [str(line) for line in result.stdout.lines]
    begin = next(number for number, line in enumerate(lines) if "= goldens =" in line)
    end = next(number for number, line in enumerate(lines) if line.startswith("goldens: "))
    return lines[begin : end + 1]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_section_is_complete_with_workers_and_without(recorded: Project, workers: str) -> None:
    before = recorded.goldens()
    result = recorded.run_apart(f"-n{workers}")
    result.assert_outcomes(failed=5, passed=4)
    lines = section(result)
    assert lines[-1] == "goldens: 4 passed, 5 diverged, 1 unused"
    assert "unused  b/goldens/test_b/test_pays-four.golden.jsonl" in lines
    assert sum("+ actual:   Be rude." in line for line in lines) == 1
    (same,) = (line for line in lines if line.startswith("  the same in "))
    assert same.count("a/goldens/test_a/") == 4
    assert recorded.goldens() == before


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_report_is_complete_with_workers_and_without(recorded: Project, workers: str) -> None:
    recorded.run_apart(f"-n{workers}", "--golden-report=out/report.json")
    report = json.loads((recorded.path / "out/report.json").read_text())
    assert report["outcome"] == "failed"
    checks = {check["path"]: check["outcome"] for check in report["checks"]}
    assert len(checks) == 9
    assert {path: outcome for path, outcome in checks.items() if outcome == "diverged"}.keys() == {
        path for path in checks if path.startswith("a/goldens/test_a/")
    }


def test_the_form_of_the_report_is_what_its_name_ends_with(recorded: Project) -> None:
    recorded.run("--golden-report=report.xml")
    suites = ET.parse(recorded.path / "report.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("9", "5")
    recorded.run("--golden-report=report.html")
    assert "rude" in (recorded.path / "report.html").read_text()
    recorded.run("--golden-report=report.txt")
    lines = (recorded.path / "report.txt").read_text().splitlines()
    assert lines[0] == "goldens: 4 passed, 5 diverged, 1 unused"
    assert "passed  b/goldens/test_b/b.golden.jsonl  b/test_b.py::test_b" in lines
    assert sum("+ actual:   Be rude." in line for line in lines) == 5


def test_a_report_of_missing_goldens_says_why_nothing_was_measured(project: Project) -> None:
    project.run("--golden-report=report.json")
    (check,) = json.loads((project.path / "report.json").read_text())["checks"]
    assert (check["outcome"], check["path"]) == ("not_measurable", "goldens/test_desk/test_pays.golden.jsonl")
    assert "--golden-update=new" in check["reason"]


def test_a_report_that_cannot_be_written_is_not_taken_for_a_pass(project: Project) -> None:
    project.run("--golden-update=new")
    project.pytester.mkdir("report.json")
    result = project.run("--golden-report=report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["--golden-report could not be written: *report.json is a directory*"])


def test_a_worker_that_dies_leaves_unused_goldens_alone(recorded: Project) -> None:
    """Nobody knows what the test that it died with would have asked for."""
    dying = "import os\n\ndef test_dies(golden):\n    os._exit(3)\n"
    (recorded.path / "b/test_b.py").write_text((recorded.path / "b/test_b.py").read_text() + dying)
    lines = section(recorded.run_apart("-n2"))
    assert lines[-1] == "goldens: 4 passed, 5 diverged"


def test_a_session_without_goldens_says_nothing_of_them(project: Project) -> None:
    project.write(test_desk="def test_nothing():\n    pass\n")
    result = project.run()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*goldens*=*")


LOADED = """
import sys
{first}
import pytest
code = pytest.main(["-q", "-p", "no:hypothesispytest", "-p", "no:asyncio", "-p", "no:benchmark", {arguments}])
assert code == 0, code
print("loaded", *sorted(name for name in sys.modules if name.partition(".")[0] in {heavy} or name.startswith("afk_es")))
"""
HEAVY = {"pydantic", "litellm", "textual", "hypothesis", "rich", "msgspec", "aiosqlite", "sqlite3", "click", "afk_es"}


def test_the_plugin_is_free_where_nobody_uses_it(project: Project, python: Callable[..., str]) -> None:
    """It loads pytest and the standard library."""
    project.write(test_desk="def test_nothing():\n    pass\n")
    out = python(LOADED.format(first="", arguments="", heavy=HEAVY))
    names = set(out.splitlines()[-1].split()[1:])
    assert "afk_es.evals.plugin" in names
    assert {name for name in names if not name.startswith("afk_es.evals.plugin")} == {"afk_es", "afk_es.evals"}
    assert not names & {"afk_es.evals.plugin.fixture", "afk_es.evals.plugin.flow", "afk_es.evals.plugin.report_file"}


def test_the_plugin_can_be_left_out(project: Project, python: Callable[..., str]) -> None:
    project.write(test_desk="def test_nothing():\n    pass\n")
    out = python(LOADED.format(first="", arguments='"-p", "no:afk_es"', heavy=HEAVY))
    assert out.splitlines()[-1] == "loaded"


def test_it_needs_no_other_plugin(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither pytest-asyncio nor xdist; and a plugin may be named where none is loaded by itself."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    alone = ("-p", "afk_es.evals.plugin", "-o", "addopts=", "-W", "error", "-W", "ignore::pytest.PytestConfigWarning")
    result = project.run_apart(*alone, "--golden-update=new")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("plugins:*")
    project.run_apart(*alone).assert_outcomes(passed=1)
    project.run_apart("-o", "addopts=").assert_outcomes(errors=1)


def test_the_package_itself_does_without_pytest(python: Callable[..., str]) -> None:
    out = python("import sys, afk_es, afk_es.cli, afk_es.cli.exporting, afk_es.evals; print('pytest' in sys.modules)")
    assert out.strip() == "False"


def test_the_entry_point_is_the_plugin() -> None:
    """What an installed afk_es tells pytest."""
    root = Path(__file__).parents[3]
    points = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert points == {"afk_es": "afk_es.evals.plugin"}
    assert callable(import_module(points["afk_es"]).pytest_addoption)
    assert not any("pytest" in each for each in tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"])
