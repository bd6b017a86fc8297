"""`--golden-update` accepts what it names and nothing else: never in CI, never in a parallel worker, and what is unused only when that is certain."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.evals.plugin.conftest import Project

TWO = """
from desk import agent

def test_pays(golden):
    golden.run(agent, user_message="Hello")

def test_pays_more(golden):
    golden.run(agent, user_message="Hello, hello")
"""


@pytest.fixture
def recorded(project: Project) -> Project:
    """Two tests and their goldens."""
    project.write(test_desk=TWO)
    project.run("--golden-update=new").assert_outcomes(passed=2)
    return project


def contents(project: Project) -> dict[str, bytes]:
    return {name: (project.path / name).read_bytes() for name in project.goldens()}


def test_behaviour_is_recorded_anew_live_and_new_alone_does_not_accept_it(recorded: Project) -> None:
    before, asked = contents(recorded), recorded.asked
    recorded.change()
    recorded.run("--golden-update=new,representation,unused").assert_outcomes(failed=2)
    assert (contents(recorded), recorded.asked) == (before, asked)
    result = recorded.run("--golden-update=behaviour")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["updated (behaviour)  goldens/test_desk/test_pays.golden.jsonl, a run that completed", "goldens: 2 updated"]
    )
    assert recorded.asked == 2 * asked
    changed = contents(recorded)
    assert all(b"Be rude." in changed[name] and b"Be kind." not in changed[name] for name in before)
    recorded.run().stdout.fnmatch_lines(["goldens: 2 passed"])


def test_behaviour_is_recorded_anew_from_what_the_golden_says_where_the_test_does_not(recorded: Project) -> None:
    recorded.write(test_desk=TWO.replace('run(agent, user_message="Hello")', "check(agent)"))
    recorded.change()
    recorded.run("--golden-update=behaviour").assert_outcomes(passed=2)
    assert b'"user_message":"Hello"' in contents(recorded)["goldens/test_desk/test_pays.golden.jsonl"]


def test_a_file_that_says_the_same_in_another_way_is_written_anew_and_nothing_is_run(recorded: Project) -> None:
    before, asked = contents(recorded), recorded.asked
    name = "goldens/test_desk/test_pays.golden.jsonl"
    header, *facts = before[name].decode().splitlines()
    (recorded.path / name).write_text("\n".join([header, *(fact.replace('":', '": ') for fact in facts)]) + "\n")
    written = contents(recorded)
    recorded.run("--golden-update=new,behaviour,unused").stdout.fnmatch_lines(["goldens: 2 passed"])
    assert contents(recorded) == written != before
    result = recorded.run("--golden-update=representation")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"updated (representation)  {name}", "goldens: 1 passed, 1 updated"])
    assert contents(recorded) == before
    assert recorded.asked == asked


def test_a_golden_that_went_along_with_its_renamed_test_gets_the_name(recorded: Project) -> None:
    recorded.write(test_desk=TWO.replace("test_pays(", "test_refunds("))
    old = recorded.path / "goldens/test_desk/test_pays.golden.jsonl"
    new = old.rename(old.with_name("test_refunds.golden.jsonl"))
    recorded.run().assert_outcomes(passed=2)
    recorded.run("--golden-update=representation").stdout.fnmatch_lines(["goldens: 1 passed, 1 updated"])
    assert b'"name":"test_refunds"' in new.read_bytes().splitlines()[0]


def test_unused_goldens_are_named_and_deleted_when_that_is_asked_for(recorded: Project) -> None:
    recorded.write(
        test_desk=TWO.replace("test_pays_more(golden)", "test_nothing()").replace('golden.run(agent, user_message="Hello, hello")', "pass")
    )
    result = recorded.run()
    result.stdout.fnmatch_lines([
        "unused  goldens/test_desk/test_pays_more.golden.jsonl", "*--golden-update=unused deletes them", "goldens: 1 passed, 1 unused"
    ])  # fmt: skip
    assert len(recorded.goldens()) == 2
    result = recorded.run("--golden-update=unused")
    result.stdout.fnmatch_lines(["deleted  goldens/test_desk/test_pays_more.golden.jsonl", "goldens: 1 passed, 1 unused, deleted"])
    assert recorded.goldens() == ["goldens/test_desk/test_pays.golden.jsonl"]


def test_goldens_of_a_module_that_is_gone_are_unused(recorded: Project) -> None:
    recorded.write(test_other=TWO)
    recorded.run("--golden-update=new")
    (recorded.path / "test_desk.py").unlink()
    recorded.run("test_other.py").stdout.fnmatch_lines(["goldens: 2 passed"])
    recorded.run().stdout.fnmatch_lines(["goldens: 2 passed, 2 unused"])
    recorded.run("--golden-update=unused")
    assert recorded.goldens() == ["goldens/test_other/test_pays.golden.jsonl", "goldens/test_other/test_pays_more.golden.jsonl"]
    assert not (recorded.path / "goldens/test_desk").exists()


SKIPPED = TWO.replace("def test_pays_more", "import pytest\n\n@pytest.mark.skip\ndef test_pays_more")
FAILING = TWO.replace('golden.run(agent, user_message="Hello, hello")', "assert False")
BY_NAME = TWO.replace(
    "test_pays_more(golden):\n", 'test_by_name(request):\n    assert False\n    golden = request.getfixturevalue("golden")\n'
)


@pytest.mark.parametrize(
    ("tests", "arguments", "doubt"),
    [
        (TWO, ["-k", "more"], "1 of the tests were deselected"),
        (TWO, ["test_desk.py::test_pays"], "single tests were asked for by their node ids"),
        (TWO, ["--setup-only"], "no test was run"),
        (SKIPPED, [], "test_desk.py::test_pays_more takes the fixture and has not passed"),
        (FAILING, [], "test_desk.py::test_pays_more takes the fixture and has not passed"),
        (FAILING.replace("more", "a"), ["-x"], "takes the fixture and has not passed"),
        (BY_NAME, [], "not every test of test_desk.py has passed"),
    ],
)
def test_where_a_test_may_not_have_asked_yet_nothing_is_deleted(recorded: Project, tests: str, arguments: list[str], doubt: str) -> None:
    recorded.write(test_desk=tests)
    result = recorded.run("--golden-update=unused", *arguments)
    result.stdout.fnmatch_lines([f"not looked for unused ones: *{doubt}*"])
    assert len(recorded.goldens()) == 2


def test_where_a_module_could_not_be_collected_nothing_is_deleted(recorded: Project) -> None:
    recorded.write(test_broken="import nothing_of_that_name", test_desk="def test_nothing():\n    pass\n")
    result = recorded.run("--golden-update=unused", "--continue-on-collection-errors")
    result.stdout.fnmatch_lines(["not looked for unused ones: test_broken.py could not be collected"])
    assert len(recorded.goldens()) == 2


def test_another_directory_is_left_alone(recorded: Project) -> None:
    """Its modules were not collected, so nobody knows what they ask for."""
    there = recorded.pytester.mkdir("there") / "goldens" / "test_far"
    there.mkdir(parents=True)
    (there / "far.golden.jsonl").write_text("{}")
    recorded.run("--golden-update=unused", "test_desk.py").stdout.fnmatch_lines(["goldens: 2 passed"])
    assert "there/goldens/test_far/far.golden.jsonl" in recorded.goldens()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("--golden-update", "--golden-update names what it accepts"),
        ("--golden-update=", "--golden-update names what it accepts"),
        ("--golden-update=behavoiur", "do you mean 'behaviour'"),
        ("--golden-update=all,new", "'all' stands alone"),
    ],
)
def test_what_is_accepted_has_to_be_named(project: Project, argument: str, message: str) -> None:
    result = project.run(argument)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: *{message}*", "  new *", "  behaviour *", "  representation *", "  unused *"])
    assert (project.goldens(), project.asked) == ([], 0)


@pytest.mark.parametrize(("value", "refused"), [("true", True), ("1", True), ("false", False), ("", False)])
def test_nothing_is_updated_in_ci(project: Project, monkeypatch: pytest.MonkeyPatch, value: str, refused: bool) -> None:
    monkeypatch.setenv("CI", value)
    result = project.run("--golden-update=all")
    assert (result.ret == pytest.ExitCode.USAGE_ERROR) is refused
    assert bool(project.goldens()) is not refused
    if refused:
        result.stderr.fnmatch_lines(["ERROR: *not updated in CI*"])


@pytest.mark.parametrize("workers", ["-n2", "-n1", "--tx=2*popen --dist=load"])
def test_nothing_is_updated_by_parallel_workers(project: Project, workers: str) -> None:
    result = project.run_apart("--golden-update=new", *workers.split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *parallel workers would write the same files*-n 0*"])
    assert (project.goldens(), project.asked) == ([], 0)


def test_without_workers_xdist_is_no_hindrance(project: Project) -> None:
    project.run_apart("--golden-update=new", "-n0").assert_outcomes(passed=1)
    assert len(project.goldens()) == 1


def test_two_sessions_at_once_leave_whole_files(project: Project) -> None:
    """Each moves a whole file into place; whoever is later has the last word."""
    project.write(test_desk=TWO)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", "--golden-update=all"]
    sessions = [subprocess.Popen(command, cwd=project.path, stdout=subprocess.PIPE, text=True) for _each in range(2)]
    for session in sessions:
        out, _nothing = session.communicate(timeout=60)
        assert session.returncode == 0, out
    assert len(project.goldens()) == 2
    assert [path for path in Path(project.path / "goldens/test_desk").iterdir() if not path.name.endswith(".golden.jsonl")] == []
    project.run().stdout.fnmatch_lines(["goldens: 2 passed"])
