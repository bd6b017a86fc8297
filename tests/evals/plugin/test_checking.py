"""A test that asks for a golden: it is checked offline, fails with the first divergence, and what is not recorded is said to be missing."""

from __future__ import annotations

import json

import pytest

from tests.evals.plugin.conftest import Project

NEW = "--golden-update=new"


def test_a_golden_is_recorded_once_and_from_then_on_nobody_is_asked(project: Project) -> None:
    recorded = project.run(NEW)
    recorded.assert_outcomes(passed=1)
    recorded.stdout.fnmatch_lines(["recorded  goldens/test_desk/test_pays.golden.jsonl, a run that completed", "goldens: 1 new"])
    assert project.goldens() == ["goldens/test_desk/test_pays.golden.jsonl"]
    assert project.asked == 3
    again = project.run()
    again.assert_outcomes(passed=1)
    again.stdout.fnmatch_lines(["goldens: 1 passed"])
    assert project.asked == 3


def test_a_golden_that_is_there_is_not_recorded_again(project: Project) -> None:
    project.run(NEW)
    file = project.path / project.goldens()[0]
    before = file.read_bytes(), file.stat().st_mtime_ns
    project.run(NEW).assert_outcomes(passed=1)
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert project.asked == 3


def test_a_changed_prompt_fails_with_the_first_divergence_and_no_traceback(project: Project) -> None:
    project.run(NEW)
    project.change()
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([
        "*test_pays*",
        "golden test_pays (strict) diverged: prompt instructions",
        "*- expected: Be kind.",
        "*+ actual:   Be rude.",
        "*= goldens =*",
        "diverged  goldens/test_desk/test_pays.golden.jsonl",
        "*- expected: Be kind.",
        "*+ actual:   Be rude.",
        "*--golden-update=behaviour*",
        "goldens: 1 diverged",
        "FAILED test_desk.py::test_pays - Failed: golden test_pays (strict) diverged*",
    ])  # fmt: skip
    result.stdout.no_fnmatch_line("*fixture.py*")
    result.stdout.no_fnmatch_line("*During handling*")
    assert project.asked == 3


def test_a_missing_golden_fails_and_says_how_it_comes_to_be(project: Project) -> None:
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*there is no golden test_pays; record it by one live run: pytest --golden-update=new", "goldens: 1 missing"]
    )
    assert (project.goldens(), project.asked) == ([], 0)
    project.write(test_desk=project_test("golden.check(agent)"))
    project.run(NEW).stdout.fnmatch_lines(["*afk-es golden record RUN -o goldens/test_desk/test_pays.golden.jsonl"])
    assert project.goldens() == []


def project_test(line: str, head: str = "") -> str:
    return f"{head}\nfrom desk import agent\n\ndef test_pays(golden):\n    {line}\n"


def test_in_ci_a_missing_golden_fails_as_well(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    project.run().stdout.fnmatch_lines(["*in CI a missing golden fails: record it on your own machine, and commit the file"])


def test_a_divergence_of_many_goldens_is_told_once(project: Project) -> None:
    project.write(
        test_desk="""
        import pytest
        from desk import agent

        @pytest.mark.parametrize("word", ["one", "two", "three"])
        def test_pays(golden, word):
            golden.run(agent, user_message=word)
        """.replace("\n        ", "\n")
    )
    project.run(NEW)
    project.change()
    result = project.run("--tb=no")
    result.assert_outcomes(failed=3)
    assert result.stdout.str().count("+ actual:   Be rude.") == 1
    result.stdout.fnmatch_lines([
        "  the same in goldens/test_desk/test_pays-two.golden.jsonl, goldens/test_desk/test_pays-three.golden.jsonl", "goldens: 3 diverged"
    ])  # fmt: skip


def test_two_tests_may_share_a_golden_and_both_count(project: Project) -> None:
    project.write(
        test_desk="""
from desk import agent

def test_a(golden):
    golden("shared").run(agent, user_message="Hello")

def test_b(golden):
    golden("shared").run(agent, user_message="Hello")
"""
    )
    project.run(NEW).stdout.fnmatch_lines(["goldens: 1 passed, 1 new"])
    assert project.goldens() == ["goldens/test_desk/shared.golden.jsonl"]
    project.run().stdout.fnmatch_lines(["goldens: 2 passed"])


def test_another_message_than_the_recorded_one_is_a_divergence(project: Project) -> None:
    """The recorded words are what a check says to the agent, so the test's own would be of no consequence."""
    project.run(NEW)
    project.write(test_desk=project_test('golden.run(agent, user_message="Bye")'))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["golden test_pays (strict) diverged: prompt user_message*", "*- expected: Hello", "*+ actual:   Bye"])
    project.write(test_desk=project_test('golden.run(agent, user_message="Hello", context={"customer": 7})'))
    project.run().stdout.fnmatch_lines(["golden test_pays (strict) diverged: prompt context*"])
    project.run("--golden-update=behaviour").assert_outcomes(passed=1)
    project.run().assert_outcomes(passed=1)


def test_a_thread_and_a_secret_of_the_message_are_no_divergence(project: Project) -> None:
    """A golden calls its thread otherwise, and keeps secrets back."""
    line = 'golden.run(agent, user_message="I am customer-42, my key is sk-live-abcdef1234567890", thread_id="customer-42")'
    project.write(test_desk=project_test(line))
    project.run(NEW).assert_outcomes(passed=1)
    assert "abcdef1234567890" not in (project.path / project.goldens()[0]).read_text()
    project.run().assert_outcomes(passed=1)
    project.write(test_desk=project_test(line.replace("I am", "You are")))
    project.run().assert_outcomes(failed=1)


def test_an_agent_that_is_another_each_time_is_not_recorded(project: Project) -> None:
    project.change(
        'instructions="Be kind."', "instructions=lambda context: f'You have been asked {len(ASKED.read_text()) if ASKED.exists() else 0}'"
    )
    result = project.run(NEW)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*was not recorded: offline, the agent does not do again what it has just done"])
    assert project.goldens() == []


def test_a_run_that_was_laid_down_is_not_recorded(project: Project) -> None:
    head = """
from afk_es import PolicyEngine, PolicyRule
from afk_es.core import RunnerConfig
rule = PolicyRule(action="request_approval", condition=lambda event: event.tool_name == "pay", subjects=("tool",))
parked = {"policy_engine": PolicyEngine([rule]), "config": RunnerConfig(interaction_mode="external")}
"""
    project.write(test_desk=project_test('golden.run(agent, user_message="Hello", **parked)', head))
    result = project.run(NEW)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*the live run was interrupted, so it is no golden*", "goldens: 1 not measurable"])
    assert project.goldens() == []


def test_a_file_that_is_no_golden_is_not_measurable(project: Project) -> None:
    project.run(NEW)
    file = project.path / project.goldens()[0]
    file.write_text("<<<<<<< HEAD\n" + file.read_text())
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*test_pays.golden.jsonl:1:*", "goldens: 1 not measurable"])


def test_classes_parameters_and_coroutines_have_goldens_of_their_own(project: Project) -> None:
    project.write(
        test_desk="""
import pytest
from desk import agent

class TestDesk:
    class TestInner:
        @pytest.mark.parametrize("word", ["a/b", "a:b", "EUR", "x" * 300])
        def test_it(self, golden, word):
            golden.run(agent, user_message=word)

async def test_a_coroutine(golden):
    report = await golden.arun(agent, user_message="Hello")
    assert report.ok
    assert (await golden.acheck(agent)).ok

@pytest.fixture
def checked(golden):
    return golden.run(agent, user_message="Hello")

def test_by_a_fixture(checked):
    assert checked.runs[0].same > 5
"""
    )
    project.run(NEW).assert_outcomes(passed=6)
    names = [name.removeprefix("goldens/test_desk/") for name in project.goldens()]
    assert names[0] == "TestDesk.TestInner.test_it-EUR.golden.jsonl"
    assert len({name.casefold() for name in names}) == 6
    assert all(len(name) < 143 and not set(name) & set('<>:"/\\|?*') for name in names)
    project.run().stdout.fnmatch_lines(["goldens: 7 passed"])


def test_names_that_differ_in_case_only_are_told_apart_where_the_file_system_does_not(project: Project) -> None:
    project.run(NEW)
    (file,) = (project.path / name for name in project.goldens())
    header, rest = file.read_text().split("\n", 1)
    file.write_text(header.replace('"name":"test_pays"', '"name":"test_PAYS"') + "\n" + rest)
    project.run().stdout.fnmatch_lines(["*it is the golden 'test_PAYS', which differs in upper and lower case only*"])


def test_a_golden_may_be_named_by_its_file(project: Project) -> None:
    project.write(test_desk=project_test('golden.open("recorded/hello.golden.jsonl").run(agent, user_message="Hello")'))
    project.run(NEW).assert_outcomes(passed=1)
    assert project.goldens() == ["recorded/hello.golden.jsonl"]
    project.write(test_desk=project_test('golden.open("recorded/hello.golden.jsonl").check(agent)'))
    project.run().assert_outcomes(passed=1)


def test_policy_settings_and_runner_of_the_test_are_those_of_both_runs(project: Project) -> None:
    head = """
from afk_es import PolicyEngine, PolicyRule, Runner
denying = PolicyEngine([PolicyRule(action="deny", condition=lambda event: event.tool_name == "pay", reason="no money")])

def runner(log, config):
    return Runner(log=log, config=config, policy_engine=denying)
"""
    project.write(test_desk=project_test('golden.run(agent, user_message="Hello", policy_engine=denying)', head))
    project.run(NEW).assert_outcomes(passed=1)
    assert "no money" in (project.path / project.goldens()[0]).read_text()
    project.run().assert_outcomes(passed=1)
    project.write(test_desk=project_test("golden.check(agent, runner_factory=runner)", head))
    project.run().assert_outcomes(passed=1)
    project.write(test_desk=project_test("golden.check(agent)", head))
    project.run().stdout.fnmatch_lines(["golden test_pays (strict) diverged: policy *"])


def test_how_much_has_to_be_the_same_is_said_by_the_test_then_the_settings_then_the_golden(project: Project) -> None:
    project.run(NEW)
    project.change()
    project.run("-o", "golden_mode=contract").assert_outcomes(passed=1)
    project.write(test_desk=project_test('golden.check(agent, mode="strict")'))
    project.run("-o", "golden_mode=contract").assert_outcomes(failed=1)
    project.write(test_desk=project_test('golden.check(agent, mode="trajectory")'))
    project.run().assert_outcomes(passed=1)
    project.write(test_desk=project_test('golden("other").run(agent, user_message="Hello")'))
    project.run(NEW, "-o", "golden_mode=contract").assert_outcomes(passed=1)
    header = json.loads((project.path / "goldens/test_desk/other.golden.jsonl").read_text().splitlines()[0])
    assert header["mode"] == "contract"


def test_goldens_lie_where_the_settings_say(project: Project) -> None:
    project.run(NEW, "-o", "golden_dir=recorded")
    assert project.goldens() == ["recorded/test_desk/test_pays.golden.jsonl"]


@pytest.mark.parametrize("setting", ["golden_mode=lax", "golden_dir=/abs", "golden_dir="])
def test_a_setting_that_cannot_be_is_wrong_usage(project: Project, setting: str) -> None:
    result = project.run("-o", setting)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {setting.partition('=')[0]} is *"])


def test_where_the_root_directory_is_elsewhere_goldens_still_lie_beside_their_tests(project: Project) -> None:
    tests = project.pytester.mkdir("checks")
    (project.path / "test_desk.py").rename(tests / "test_desk.py")
    (project.path / "desk.py").rename(tests / "desk.py")
    elsewhere = project.pytester.mkdir("elsewhere")
    project.run(NEW, "--rootdir", str(elsewhere), str(tests)).assert_outcomes(passed=1)
    assert project.goldens() == ["checks/goldens/test_desk/test_pays.golden.jsonl"]
    project.run("--rootdir", str(elsewhere), str(tests)).stdout.fnmatch_lines(["goldens: 1 passed"])


def test_the_wrong_method_for_the_kind_of_test_says_which_is_right(project: Project) -> None:
    project.write(
        test_desk="""
from desk import agent

async def test_a_coroutine(golden):
    golden.run(agent, user_message="Hello")

def test_no_agent(golden):
    golden.check("desk:agent")
"""
    )
    result = project.run()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*use `await golden.arun(...)`", "*take an Agent, not str"])
