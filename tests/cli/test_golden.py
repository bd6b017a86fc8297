"""`afk-es golden`: recorded, checked, updated and reviewed as somebody would do it, with every way in which that may fail."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from afk_es.core import Runner
from afk_es.evals import Golden
from tests.cli.conftest import ROOT, Afk, Program

SHOP = '''
from afk_es import Agent, PolicyEngine, PolicyRule, tool
from afk_es.llms import LLMResponse, ToolCall, Usage
from afk_es.testing import ScriptedModel

@tool(read_only=True)
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b

def adding(request):
    if request.messages[-1].role == "tool":
        return LLMResponse(text="It is 3.", usage=Usage(10, 2, 12), cost_usd=0.25)
    return LLMResponse(tool_calls=(ToolCall("c1", "add", {"a": 1, "b": 2}),), usage=Usage(10, 2, 12), cost_usd=0.25)

strict = PolicyEngine([PolicyRule(rule_id="no-adding", action="deny", condition=lambda event: event.tool_name == "add", reason="no")])

adder = Agent(name="adder", model=ScriptedModel(adding), tools=[add], instructions="Add.")
'''


class Shop:
    """A directory with an agent's module, a log with a run of it, and its goldens."""

    def __init__(self, directory: Path, afk: Afk) -> None:
        self.directory = directory
        self.file = directory / "shop_for_goldens.py"
        self.goldens = directory / "goldens"
        self._afk = afk

    def __call__(self, *words: str, **given: Any) -> Result:
        """`afk-es golden ...`, with the module as it is now."""
        sys.modules.pop("shop_for_goldens", None)
        return self._afk("golden", *words, **given)

    def facts(self, *words: str, **given: Any) -> Any:
        return json.loads(self(*words, "--format", "json", **given).stdout)

    def edit(self, old: str, new: str) -> None:
        """Change the agent's code."""
        text = self.file.read_text()
        assert old in text
        self.file.write_text(text.replace(old, new))

    def golden(self, name: str = "sum") -> Path:
        return self.goldens / f"{name}.golden.jsonl"


@pytest.fixture
def shop(tmp_path: Path, afk: Afk, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """With one run, of `shop_for_goldens:adder`. What loading the module leaves behind is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # Two versions of a file within a second are one to the cache of compiled code.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = Shop(tmp_path, afk)
    made.file.write_text(SHOP)
    assert afk("run", "shop_for_goldens:adder", "1 and 2").exit_code == 0
    yield made
    sys.modules.pop("shop_for_goldens", None)


@pytest.fixture
def recorded(shop: Shop) -> Shop:
    """With a golden of that run."""
    result = shop("record", "--name", "sum", "--agent", "shop_for_goldens:adder")
    assert result.exit_code == 0, result.output
    return shop


class TestRecord:
    """A golden of a run."""

    def test_it_is_written_and_checked_at_once(self, shop: Shop) -> None:
        result = shop("record", "--name", "sum", "--agent", "shop_for_goldens:adder", "--mode", "contract")
        assert result.exit_code == 0, result.output
        assert "wrote goldens/sum.golden.jsonl" in result.stderr
        assert "today's agent: golden sum (contract) passed" in result.stderr
        golden = Golden.read(shop.golden())
        assert (golden.name, golden.mode, golden.header.agent) == ("sum", "contract", "shop_for_goldens:adder")

    def test_the_agent_is_found_by_its_name(self, shop: Shop) -> None:
        facts = shop.facts("record", "-o", "sum.golden.jsonl")
        assert (facts["schema"], facts["name"], facts["agent"]) == ("afk_es.golden_recorded/1", "sum", "shop_for_goldens:adder")
        assert facts["report"]["outcome"] == "passed"

    def test_without_an_agent_it_is_recorded_all_the_same(self, shop: Shop) -> None:
        shop.file.rename(shop.directory / "elsewhere.txt")
        result = shop("record", "--name", "sum")
        assert (result.exit_code, "no agent here is called 'adder'" in result.stderr) == (0, True)
        checked = shop("check")
        assert checked.exit_code == 3
        assert "names no agent" in checked.stdout

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            ((), 2, "say what the golden is called"),
            (("-o", "sum.json"), 2, "ends with .golden.jsonl"),
            (("--name", "sum", "--agent", "shop_for_goldens:nobody"), 2, "has no 'nobody'"),
            (("--name", "sum", "--agent", "nowhere:adder"), 2, "there is no module 'nowhere'"),
            (("run_nowhere", "--name", "sum"), 3, "run_nowhere"),
            (("--name", "sum", "--mode", "odd"), 2, "odd"),
        ],
    )
    def test_what_makes_no_sense_is_said_and_nothing_is_written(self, shop: Shop, words: tuple[str, ...], code: int, says: str) -> None:
        result = shop("record", *words)
        assert (result.exit_code, says in result.stderr) == (code, True), result.output
        assert not shop.goldens.exists()

    def test_a_golden_that_is_there_is_not_replaced_unasked(self, recorded: Shop) -> None:
        before = recorded.golden().read_bytes()
        result = recorded("record", "--name", "sum")
        assert (result.exit_code, "is there already" in result.stderr) == (2, True)
        assert recorded("record", "--name", "sum", "--force").exit_code == 0
        assert recorded.golden().read_bytes() == before

    def test_never_in_ci(self, shop: Shop) -> None:
        result = shop("record", "--name", "sum", env={"CI": "true"})
        assert (result.exit_code, "not updated in CI" in result.stderr) == (2, True)
        assert not shop.goldens.exists()


class TestCheck:
    """Today's agents on what is recorded."""

    def test_it_holds_and_asks_nobody(self, recorded: Shop, afk: Afk) -> None:
        before = afk("runs", "--format", "json").stdout
        assert recorded("check").exit_code == 0
        assert recorded("check", "sum").exit_code == 0
        assert recorded("check", "goldens").exit_code == 0
        assert recorded("check", str(recorded.golden()), "--agent", "shop_for_goldens:adder", "--mode", "trajectory").exit_code == 0
        assert afk("runs", "--format", "json").stdout == before

    @pytest.mark.parametrize(
        ("old", "new", "kind"),
        [
            ('"Add."', '"Multiply."', "prompt"),
            ("Add two numbers.", "Subtract.", "tool_schema"),
            ('instructions="Add."', 'instructions="Add.", max_steps=7', "limit"),
        ],
    )
    def test_a_change_is_told_with_its_class_in_text_and_json(self, recorded: Shop, old: str, new: str, kind: str) -> None:
        recorded.edit(old, new)
        result = recorded("check")
        assert result.exit_code == 1
        assert kind in result.stdout
        (report,) = recorded.facts("check")["checks"]
        assert (report["outcome"], report["divergences"][0]["kind"]) == ("diverged", kind)

    def test_an_agent_that_cannot_be_loaded_is_not_measurable_and_the_others_are_checked(self, recorded: Shop) -> None:
        golden = Golden.read(recorded.golden())
        text = golden.text().replace("shop_for_goldens:adder", "gone:adder").replace('"name":"sum"', '"name":"lost"')
        recorded.golden("lost").write_text(text)
        recorded.golden("torn").write_text(golden.text()[:-40])
        result = recorded("check")
        assert result.exit_code == 3
        assert "1 of 3 goldens hold" in result.stdout
        assert "there is no module 'gone'" in result.stdout
        recorded.edit('"Add."', '"Multiply."')
        assert recorded("check").exit_code == 1, "a divergence weighs more"

    @pytest.mark.parametrize("body", ["raise SystemExit(0)", "def adder():\n    raise SystemExit(0)"], ids=["module", "function"])
    def test_a_module_that_exits_is_no_check_that_passed(self, recorded: Shop, body: str) -> None:
        """A script without a guard exits with 0, and 0 is what a check says whose goldens hold."""
        recorded.file.write_text(body + "\n")
        result = recorded("check", "--agent", "shop_for_goldens:adder")
        assert (result.exit_code, "SystemExit: 0" in result.stderr) == (2, True)
        # Named by the golden itself, it is one agent of many.
        assert recorded("check").exit_code == 3

    def test_a_coroutine_is_no_agent_and_is_not_left_behind(self, recorded: Shop) -> None:
        recorded.file.write_text("async def adder():\n    pass\n")
        result = recorded("check", "--agent", "shop_for_goldens:adder")
        assert (result.exit_code, "is of the type coroutine, not an Agent" in result.stderr) == (2, True)

    def test_what_a_given_agent_is_not_is_wrong_usage(self, recorded: Shop) -> None:
        result = recorded("check", "--agent", "shop_for_goldens:add")
        assert result.exit_code == 2

    @pytest.mark.parametrize("words", [("nothing",), ("nothing.golden.jsonl",), ("--dir", "elsewhere")])
    def test_a_golden_that_is_not_there_is_not_found(self, recorded: Shop, words: tuple[str, ...]) -> None:
        result = recorded("check", *words)
        assert (result.exit_code, "golden" in result.stderr) == (3, True)

    def test_reports_in_files(self, recorded: Shop) -> None:
        assert recorded("check", "--junit", "o.xml", "--html", "o.html", "--report", "o.json").exit_code == 0
        assert json.loads(Path("o.json").read_text())["outcome"] == "passed"
        assert Path("o.xml").read_text().count("<testcase") == 1

    def test_secrets_of_todays_agent_are_kept_back(self, recorded: Shop) -> None:
        recorded.edit('"Add."', '"Add. password=hunter2hunter2"')
        for words in (("check",), ("check", "--format", "json"), ("review",), ("review", "--format", "json"), ("update",)):
            result = recorded(*words)
            assert (result.exit_code, "hunter2" in result.output) == (1, False)


class TestPolicy:
    """A run of a Runner with a policy of its own is checked with it."""

    @pytest.fixture
    def denied(self, shop: Shop, log: Path) -> Shop:
        """With a golden of a run in which that policy denied the call."""
        sys.modules.pop("shop_for_goldens", None)
        module = import_module("shop_for_goldens")
        result = Runner(log=str(log), policy_engine=module.strict).run_sync(module.adder, user_message="1 and 2")
        assert not result.tool_executions[0].success
        words = ("record", "@last", "--name", "denied", "--policy", "shop_for_goldens:strict")
        assert "passed" in shop(*words).stderr
        return shop

    def test_check(self, denied: Shop) -> None:
        without = denied("check")
        assert (without.exit_code, "policy" in without.stdout) == (1, True)
        assert denied("check", "--policy", "shop_for_goldens:strict").exit_code == 0

    def test_update(self, denied: Shop) -> None:
        denied.edit('"Add."', '"Multiply."')
        result = denied("update", "--accept", "behaviour", "--policy", "shop_for_goldens:strict")
        assert result.exit_code == 0, result.output
        assert "no-adding" in denied.golden("denied").read_text()

    def test_what_a_runner_takes_for_no_policy(self, denied: Shop) -> None:
        for name, says in (("adder", "is no PolicyEngine"), ("none", "has no 'none'")):
            result = denied("check", "--policy", f"shop_for_goldens:{name}")
            assert (result.exit_code, says in result.stderr) == (2, True), result.output


class TestUpdate:
    """Goldens written anew, in categories."""

    def test_without_acceptance_it_only_says_what_there_would_be(self, recorded: Shop) -> None:
        before = recorded.golden().read_bytes()
        assert recorded("update").exit_code == 0
        recorded.edit('"Add."', '"Multiply."')
        result = recorded("update")
        assert (result.exit_code, "sum: behaviour: " in result.stdout, "--accept behaviour" in result.stderr) == (1, True, True)
        assert recorded("update", "--accept", "representation").exit_code == 1
        assert recorded.golden().read_bytes() == before

    def test_behaviour_is_recorded_by_a_live_run_that_is_in_the_log(self, recorded: Shop, afk: Afk) -> None:
        recorded.edit('"Add."', '"Multiply."')
        result = recorded("update", "sum", "--accept", "behaviour")
        assert result.exit_code == 0, result.output
        assert "which may cost" in result.stderr
        assert "it cost $0.50" in result.stderr
        assert len(json.loads(afk("runs", "--format", "json").stdout)["runs"]) == 2
        assert "Multiply." in recorded.golden().read_text()
        assert Golden.read(recorded.golden()).header.agent == "shop_for_goldens:adder"
        assert recorded("check").exit_code == 0

    def test_facts(self, recorded: Shop) -> None:
        recorded.edit('"Add."', '"Multiply."')
        (update,) = recorded.facts("update", "--accept", "behaviour")["updates"]
        assert (update["category"], update["done"], update["cost_usd"]) == ("behaviour", True, 0.5)

    def test_a_run_that_differs_each_time_is_not_written(self, recorded: Shop) -> None:
        before = recorded.golden().read_bytes()
        recorded.edit("from afk_es import", "import itertools\nfrom afk_es import")
        recorded.edit('instructions="Add."', "instructions=lambda ctx, numbers=itertools.count(): str(next(numbers))")
        result = recorded("update", "--accept", "behaviour")
        assert (result.exit_code, "does not do again" in result.stdout) == (1, True), result.output
        assert recorded.golden().read_bytes() == before

    def test_a_file_that_says_the_same_in_another_way_is_written_as_today(self, recorded: Shop) -> None:
        golden = recorded.golden()
        good = golden.read_bytes()
        golden.write_bytes(good.replace(b'"digest":"', b'"digest":"0'))
        assert "representation" in recorded("update").stdout
        result = recorded("update", "--accept", "representation")
        assert (result.exit_code, golden.read_bytes() == good) == (0, True), result.output

    def test_what_is_unused_is_deleted_when_it_is_named(self, recorded: Shop) -> None:
        result = recorded("update", "--accept", "unused")
        assert (result.exit_code, "a whole test run knows" in result.stderr) == (2, True)
        assert recorded("update", "--accept", "all").exit_code == 0
        assert recorded.golden().exists()
        assert recorded.facts("update", "sum", "--accept", "unused")["updates"] == [
            {"path": "goldens/sum.golden.jsonl", "category": "unused", "done": True}
        ]
        assert not recorded.golden().exists()

    @pytest.mark.parametrize("accept", ["behaviour", "representation", "unused", "all"])
    def test_never_in_ci(self, recorded: Shop, accept: str) -> None:
        recorded.edit('"Add."', '"Multiply."')
        result = recorded("update", "sum", "--accept", accept, env={"CI": "1"})
        assert (result.exit_code, "not updated in CI" in result.stderr) == (2, True)
        assert recorded.golden().exists()
        assert recorded("update", env={"CI": "1"}).exit_code == 1, "to look is allowed"

    def test_words_that_are_no_categories(self, recorded: Shop) -> None:
        result = recorded("update", "--accept", "behavor")
        assert (result.exit_code, "do you mean 'behaviour'?" in result.stderr) == (2, True)


class TestReview:
    """One golden after another."""

    def test_without_a_terminal_it_says_what_there_would_be_to_do(self, recorded: Shop) -> None:
        assert "1 golden: 1 hold" in recorded("review").stdout
        before = recorded.golden().read_bytes()
        recorded.edit('"Add."', '"Multiply."')
        result = recorded("review", input="a\n")
        assert result.exit_code == 1
        assert "+ actual:   Multiply." in result.stdout
        assert "to accept: the agent runs live once" in result.stdout
        assert recorded.golden().read_bytes() == before
        facts = recorded.facts("review")
        assert (facts["goldens"], facts["differing"][0]["category"]) == (1, "behaviour")

    def test_at_a_terminal_each_is_accepted_skipped_or_left(self, recorded: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("b", "c"):
            assert recorded("record", "--name", name).exit_code == 0
        recorded.edit('"Add."', '"Multiply."')
        monkeypatch.setattr("afk_es.cli.golden_review.at_terminal", lambda: True)
        left = recorded("review", input="s\nq\n")
        assert (left.exit_code, "2 of 3 goldens looked at" in left.stdout) == (1, True)
        some = recorded("review", input="s\na\ns\n")
        assert (some.exit_code, "wrote goldens/c.golden.jsonl" in some.stdout) == (1, True), some.output
        assert [report["outcome"] for report in recorded.facts("check")["checks"]] == ["diverged", "passed", "diverged"]
        rest = recorded("review", input="x\na\na\n")
        assert (rest.exit_code, "2 differ, 2 of them written anew" in rest.stdout) == (0, True), rest.output
        assert recorded("check").exit_code == 0

    def test_one_that_cannot_be_measured_cannot_be_accepted(self, recorded: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        recorded.golden().write_text("no golden")
        monkeypatch.setattr("afk_es.cli.golden_review.at_terminal", lambda: True)
        result = recorded("review")
        assert (result.exit_code, "to accept" in result.stdout) == (3, False)

    def test_at_a_real_terminal(self, recorded: Shop, log: Path) -> None:
        recorded.edit('"Add."', '"Multiply."')
        ours, theirs = pty.openpty()
        env = {**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log)}
        command = [sys.executable, "-m", "afk_es.cli", "golden", "review"]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=recorded.directory, env=env)
        os.close(theirs)
        seen = b""
        while b"[q]uit" not in seen:
            seen += os.read(ours, 1_000)
        os.write(ours, b"a\n")
        while b"written anew" not in seen:
            seen += os.read(ours, 1_000)
        assert process.wait(timeout=60) == 0, seen
        os.close(ours)
        assert recorded("check").exit_code == 0


class TestList:
    """Which goldens there are."""

    def test_text_and_json(self, recorded: Shop) -> None:
        recorded.golden("torn").write_text("no golden\n")
        result = recorded("list")
        assert result.exit_code == 0
        assert "shop_for_goldens:adder" in result.stdout
        assert "torn" in result.stdout
        facts = recorded.facts("list")
        assert [(row["name"], row["problem"] is None) for row in facts["goldens"]] == [("sum", True), ("torn", False)]
        lines = [json.loads(line) for line in recorded("list", "--format", "jsonl").stdout.splitlines()]
        assert [line["path"] for line in lines] == [row["path"] for row in facts["goldens"]]

    def test_none(self, shop: Shop) -> None:
        assert shop("list").exit_code == 3


def test_a_verb_that_is_nearly_one_is_asked_about(afk: Afk) -> None:
    result = afk("golden", "chekc")
    assert (result.exit_code, "Did you mean 'check'?" in result.stderr) == (2, True)


def test_from_anywhere_in_processes_of_their_own(program: Program, tmp_path: Path, ran: Callable[..., str]) -> None:
    run_id = ran()
    for words, code, said in (
        (("record", run_id, "--name", "a", "--agent", "desk_of_the_test:agent"), 0, "passed"),
        (("list",), 0, "desk_of_the_test:agent"),
        (("check",), 0, "PASSED"),
        (("check", "--agent", "desk_of_the_test:changed"), 1, "Multiply."),
        (("update", "--agent", "desk_of_the_test:changed"), 1, "behaviour"),
        (("review", "--agent", "desk_of_the_test:changed"), 1, "to accept"),
    ):
        environment = {"CI": ""} if words[0] == "record" else {}
        process = program("golden", *words, PYTEST_XDIST_WORKER="", **environment)
        out, err = process.communicate(timeout=100)
        assert process.returncode == code, (words, out, err)
        assert said in out + err
        assert "Traceback" not in err
