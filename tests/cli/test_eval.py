"""`afk-es eval`: which suites it takes, what it says of them, and how it exits."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Afk, Program

SUITES = '''
import asyncio
from afk_es import Agent, tool
from afk_es.evals import Contains, EvalCase, EvalSuite, EvalSuiteConfig, never
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel

@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

def adding(request):
    if request.messages[-1].role == "tool":
        return LLMResponse(text="It is 3; password=hunter2hunter2", usage=Usage(10, 2, 12), cost_usd=0.5)
    return LLMResponse(tool_calls=(ToolCall("c1", "add", {"a": 1, "b": 2}),), usage=Usage(10, 2, 12), cost_usd=0.5)

async def sleeping(request):
    await asyncio.sleep(600)

agent = Agent(name="adder", model=ScriptedModel(adding), tools=[add])
good = [EvalCase(name="adds", agent=agent, user_message="1 and 2", assertions=[Contains("3")], tags=("sums",))]
bad = [*good, EvalCase(name="adds more", agent=agent, user_message="2 and 2", assertions=[Contains("4")], tags=("more",))]
suite = EvalSuite(bad, config=EvalSuiteConfig(repeats=2, min_pass_rate=0.5))
one = good[0]
slow = [*good, EvalCase(name="hangs", agent=Agent(name="sleeper", model=ScriptedModel(sleeping)), user_message="go")]
idle = [EvalCase(name="idle", agent=agent, user_message="x", expected_state="any", assertions=[never('tool = "drop"', where='tool = "drop"')])]
general = EvalSuite(good, config=EvalSuiteConfig(assertions=[Contains("It is")]))
empty = []
number = 7
strange = [7]

def make():
    return good

async def make_later():
    await asyncio.sleep(0)
    return suite

def make_badly():
    raise KeyError("nothing here")

async def make_badly_later():
    raise KeyError("nothing there")
'''


@pytest.fixture
def suites(tmp_path: Path) -> str:
    """The path of a module with suites in it."""
    path = tmp_path / "suites_of_the_test.py"
    path.write_text(SUITES)
    return str(path)


def report(afk: Afk, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(afk("eval", *args, "--format", "json").stdout)
    assert found["schema"] == "afk_es.evals/1"
    return found


class TestWhatItSays:
    """The table, its twins, the files, and the exit code."""

    def test_a_suite_that_passes(self, afk: Afk, suites: str, log: Path) -> None:
        result = afk("eval", f"{suites}:good")
        assert result.exit_code == 0, result.output
        assert "PASSED" in result.stdout
        assert "passed adds" in result.stderr
        assert log.exists(), "its Runners are on the log of --db"

    def test_a_suite_that_does_not(self, afk: Afk, suites: str) -> None:
        result = afk("eval", f"{suites}:bad")
        assert result.exit_code == 1
        assert "1 of 2 rows passed" in result.stdout
        assert "contains '4'" in result.stdout
        assert "afk-es debug" in result.stdout

    def test_text_and_json_say_the_same(self, afk: Afk, suites: str) -> None:
        found = report(afk, f"{suites}:bad")
        rows = {row["name"]: row for row in found["suite"]["results"]}
        assert (found["exit_code"], rows["adds"]["outcome"], rows["adds more"]["outcome"]) == (1, "passed", "failed")
        lines = [json.loads(line) for line in afk("eval", f"{suites}:bad", "--format", "jsonl").stdout.splitlines()]
        assert [line["kind"] for line in lines] == ["summary", "row", "row"]

    def test_files_in_every_form(self, afk: Afk, suites: str, tmp_path: Path) -> None:
        files = [tmp_path / "out" / name for name in ("a.json", "b.jsonl", "c.md", "d.html", "e.xml")]
        options = [word for path in files[:3] for word in ("--report", str(path))]
        result = afk("eval", f"{suites}:bad", *options, "--html", str(files[3]), "--junit", str(files[4]))
        assert result.exit_code == 1
        assert all(f"wrote {path}" in result.stderr for path in files)
        assert json.loads(files[0].read_text())["suite"]["failed"] == 1
        assert "adds more" in files[2].read_text()
        assert files[3].read_text().startswith("<!")
        assert [case.get("name") for case in ElementTree.parse(files[4]).iter("testcase")] == ["adds", "adds more"]

    def test_secrets_are_kept_back_and_shown_to_whoever_must_see_them(self, afk: Afk, suites: str) -> None:
        for name in ("good", "bad"):
            assert "hunter2" not in afk("eval", f"{suites}:{name}", "--format", "json").output
            assert "hunter2" not in afk("eval", f"{suites}:{name}").output
        assert "hunter2" in afk("eval", f"{suites}:good", "--format", "json", "--show-secrets").stdout

    @pytest.mark.parametrize("name", ["idle", "empty"])
    def test_nothing_that_was_judged_is_not_measurable(self, afk: Afk, suites: str, name: str) -> None:
        result = afk("eval", f"{suites}:{name}")
        assert result.exit_code == 3, result.output
        assert "NOT MEASURABLE" in result.stdout

    def test_a_form_that_cannot_be_told_is_refused_before_anything_runs(self, afk: Afk, suites: str, log: Path, tmp_path: Path) -> None:
        for words in (("--report", "evals.txt"), ("--html", str(tmp_path))):
            result = afk("eval", f"{suites}:good", *words)
            assert result.exit_code == 2
        assert not log.exists()


class TestSuites:
    """What MODULE:SUITE may be."""

    @pytest.mark.parametrize(("name", "rows"), [("good", 1), ("suite", 4), ("one", 1), ("make", 1), ("make_later", 4)])
    def test_a_suite_cases_or_what_gives_them(self, afk: Afk, suites: str, name: str, rows: int) -> None:
        found = report(afk, f"{suites}:{name}")
        assert (found["outcome"], found["suite"]["total"]) == ("passed", rows)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            (":number", "a sequence of EvalCase"),
            (":strange", "made of EvalCase objects"),
            (":agent", "is a Agent, not an EvalSuite"),
            (":make_badly", "raised KeyError: 'nothing here'"),
            (":make_badly_later", "raised KeyError: 'nothing there'"),
            (":zzz", "has no 'zzz'; it has: "),
            (":goood", "did you mean 'good'?"),
            ("", "does not name a suite; name a suite as MODULE:SUITE"),
        ],
    )
    def test_what_is_none_is_wrong_usage(self, afk: Afk, suites: str, name: str, says: str) -> None:
        result = afk("eval", f"{suites}{name}")
        assert result.exit_code == 2, result.output
        assert says in result.stderr
        assert not result.stdout

    def test_a_module_that_raises_when_it_is_imported(self, afk: Afk, tmp_path: Path) -> None:
        (tmp_path / "raising_evals.py").write_text("import nothing_of_that_name")
        result = afk("eval", f"{tmp_path}/raising_evals.py:suite")
        assert (result.exit_code, "nothing_of_that_name" in result.stderr) == (2, True)

    def test_a_dataset(self, afk: Afk, suites: str, tmp_path: Path) -> None:
        data = tmp_path / "cases.jsonl"
        data.write_text('{"name": "a", "user_message": "1 and 2", "assertions": [{"contains": "3"}]}\n{"user_message": "x"}\n')
        found = report(afk, str(data), "--agent", f"{suites}:agent")
        assert [row["name"] for row in found["suite"]["results"]] == ["a", "cases-2"]
        for words, says in (
            ((str(data),), "a dataset has no agent: name it with --agent"),
            ((str(data), "--agent", f"{suites}:number"), "not an Agent"),
            ((str(tmp_path / "none.json"), "--agent", f"{suites}:agent"), "none.json"),
            ((f"{suites}:good", "--agent", f"{suites}:agent"), "--agent is for a dataset"),
        ):
            result = afk("eval", *words)
            assert (result.exit_code, says in result.stderr) == (2, True), result.output

    def test_a_dataset_with_a_row_that_is_no_case_is_told_by_its_place(self, afk: Afk, suites: str, tmp_path: Path) -> None:
        data = tmp_path / "cases.jsonl"
        data.write_text('{"user_message": "x"}\n{"user_mesage": "y"}\n')
        result = afk("eval", str(data), "--agent", f"{suites}:agent")
        assert (result.exit_code, "user_message" in result.stderr, "2" in result.stderr) == (2, True, True)


class TestOptions:
    """They go before what the suite says."""

    def test_only_some_cases(self, afk: Afk, suites: str) -> None:
        for words in (("-k", "more"), ("-k", "adds m*"), ("--tag", "more"), ("-k", "MORE", "--tag", "more", "--tag", "x")):
            assert {row["name"] for row in report(afk, f"{suites}:bad", *words)["suite"]["results"]} == {"adds more"}
        result = afk("eval", f"{suites}:bad", "-k", "nothing like it")
        assert (result.exit_code, "no case that fits" in result.stderr) == (3, True)

    def test_how_it_runs(self, afk: Afk, suites: str) -> None:
        found = report(afk, f"{suites}:suite", "--repeats", "3", "--mode", "sequential", "--max-concurrency", "2")["suite"]
        assert (found["total"], found["execution_mode"], found["max_concurrency"], found["widest"]) == (6, "sequential", 2, 1)
        assert report(afk, f"{suites}:suite", "--min-pass-rate", "0.9")["outcome"] == "failed"
        assert report(afk, f"{suites}:bad", "--min-pass-rate", "0")["outcome"] == "passed"
        stopped = report(afk, f"{suites}:suite", "--fail-fast", "--mode", "sequential", "-k", "more")["suite"]
        assert (stopped["failed"], stopped["not_run"]) == (1, 1)

    def test_time_for_an_attempt(self, afk: Afk, suites: str) -> None:
        rows = report(afk, f"{suites}:slow", "--timeout", "2")["suite"]["results"]
        assert [(row["name"], row["outcome"]) for row in rows] == [("adds", "passed"), ("hangs", "error")]


class TestRecordedRuns:
    """The same criteria, asked of runs that have happened."""

    def test_they_are_judged_as_the_cases_that_they_were(self, afk: Afk, suites: str, log: Path) -> None:
        afk("eval", f"{suites}:bad")
        before = len(json.loads(afk("runs", "--format", "json").stdout)["runs"])
        found = report(afk, f"{suites}:bad", "--rescore", "all")
        assert {row["name"]: row["outcome"] for row in found["suite"]["results"]} == {"adds": "passed", "adds more": "failed"}
        assert len(json.loads(afk("runs", "--format", "json").stdout)["runs"]) == before, "nothing was run"
        assert afk("eval", f"{suites}:bad", "--rescore", "all").exit_code == 1
        assert afk("eval", f"{suites}:good", "--rescore", "all").exit_code == 0
        assert afk("eval", f"{suites}:bad", "--rescore", "all", "--min-pass-rate", "0.5").exit_code == 0

    def test_runs_that_are_of_no_case(self, afk: Afk, suites: str, log: Path) -> None:
        afk("run", f"{suites}:agent", "something else")
        result = afk("eval", f"{suites}:good", "--rescore", "@last")
        assert (result.exit_code, "1 of 1 runs fit no case" in result.stderr) == (3, True)
        general = afk("eval", f"{suites}:general", "--rescore", f"{log}:@last")
        assert (general.exit_code, "by the suite's own criteria alone" in general.stderr) == (0, True)

    @pytest.mark.parametrize(("words", "code"), [(("--rescore", "run_nowhere"), 3), (("--rescore", "all", "--rescore", "@last"), 2)])
    def test_what_makes_no_sense_is_said(self, afk: Afk, suites: str, words: tuple[str, ...], code: int) -> None:
        afk("eval", f"{suites}:good")
        assert afk("eval", f"{suites}:good", *words).exit_code == code


def test_from_anywhere_in_a_process_of_its_own(program: Program, suites: str, tmp_path: Path) -> None:
    process = program("eval", "suites_of_the_test:suite", "--junit", "evals.xml")
    out, err = process.communicate(timeout=100)
    assert process.returncode == 0, err
    assert "PASSED" in out
    assert "Traceback" not in err
    assert (tmp_path / "evals.xml").exists()


def test_ctrl_c_ends_it_with_the_table_of_what_was_done(program: Program, suites: str) -> None:
    process = program("eval", "suites_of_the_test:slow")
    assert process.stderr is not None
    for line in process.stderr:
        if "adds" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "hangs" in out
    assert "cancelled" in out
    assert "Traceback" not in err
