"""`afk-es policy`: what it asks of which runs, what it says, and how it exits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from afk_es.evals import ChangedDecision, Decision, PolicyWhatIf, RunWhatIf, ToolWhatIf
from afk_es.evals.policies.text import policy_lines
from afk_es.views import columns
from tests.cli.conftest import Afk, Program
from tests.support.stories import Stories

POLICIES = """
from afk_es import Agent, PolicyEngine, PolicyRule
from afk_es.agents import PolicyDecision
from afk_es.testing import ScriptedModel

def writes(event):
    return event.tool_read_only is False

strict = PolicyEngine([PolicyRule(rule_id="no-writes", action="deny", condition=writes, subjects=("tool",), reason="nothing is written")])
empty = PolicyEngine()
broken = PolicyEngine([PolicyRule(rule_id="bad", action="deny", condition=lambda event: event.tool_args["nothing"], subjects=("tool",))])
desk = Agent(name="refund-desk", model=ScriptedModel(["x"]), policy_engine=strict)

def ask(event):
    return PolicyDecision(action="request_approval", reason="a tool") if event.tool_name else None

def make():
    return strict

def make_badly():
    raise KeyError("nothing here")

async def waiting(event):
    return None

number = 7
"""


@pytest.fixture
def policies(tmp_path: Path) -> str:
    """The path of a module with policies in it."""
    path = tmp_path / "policies_of_the_test.py"
    path.write_text(POLICIES)
    return str(path)


def facts(afk: Afk, *args: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(afk("policy", *args, "--format", "json").stdout)
    return found


class TestText:
    """What a person reads, in 80 columns."""

    def test_it_says_what_would_change_and_how_sure_that_is(self, afk: Afk, policies: str, stories: Stories) -> None:
        result = afk("policy", f"{policies}:strict", str(stories.log))
        assert result.exit_code == 1
        text = result.stdout
        assert "no model, tool or person was asked: $0.00" in text
        assert "allow → deny by no-writes  (exact)" in text
        assert "done, and would have been denied: " in text
        assert "writes" in text
        assert "bounded: only if the run" in text
        assert max(columns(line) for line in text.splitlines()) <= 80

    def test_nothing_changes(self, afk: Afk, policies: str, stories: Stories) -> None:
        result = afk("policy", f"{policies}:empty", stories.location("failing"))
        assert (result.exit_code, "nothing would be decided otherwise" in result.stdout) == (0, True)
        assert "bounded:" not in result.stdout

    def test_a_rule_that_raises_is_told_of_with_its_place(self, afk: Afk, policies: str, stories: Stories) -> None:
        result = afk("policy", f"{policies}:broken", stories.location("failing"))
        assert "could not be made, and deny for it; the first at run_failing seq " in result.stdout
        assert "KeyError: 'nothing'" in result.stdout

    def test_as_few_runs_as_wanted(self, afk: Afk, policies: str, stories: Stories) -> None:
        result = afk("policy", f"{policies}:strict", str(stories.log), "--limit", "1")
        assert "changed runs more; --format jsonl has them all" in result.stdout


class TestJson:
    """The same facts for programs."""

    def test_it_is_the_answer(self, afk: Afk, policies: str, stories: Stories) -> None:
        found = facts(afk, f"{policies}:strict", str(stories.log))
        assert found.pop("schema") == "afk_es.policy_what_if/1"
        seen = msgspec.convert(found, PolicyWhatIf)
        assert (seen.model_calls, seen.tool_calls, seen.cost_usd) == (0, 0, 0.0)
        text = afk("policy", f"{policies}:strict", str(stories.log)).stdout.splitlines()
        assert text == [line for line, _tone in policy_lines(seen, 80)]

    def test_a_line_for_each_run_and_then_the_sums(self, afk: Afk, policies: str, stories: Stories) -> None:
        whole = facts(afk, f"{policies}:strict", str(stories.log))
        lines = [
            json.loads(line) for line in afk("policy", f"{policies}:strict", str(stories.log), "--format", "jsonl").stdout.splitlines()
        ]
        *rows, sums = lines
        assert {row["schema"] for row in rows} == {"afk_es.run_what_if/1"}
        assert len(rows) == sums["runs"] == whole["runs"]
        assert [row["run_id"] for row in rows if row["changed"]] == [row["run_id"] for row in whole["changed_runs"]]
        del whole["changed_runs"]
        assert sums == whole


class TestPolicies:
    """What MODULE:POLICY may be."""

    @pytest.mark.parametrize(("name", "same"), [("strict", False), ("make", False), ("ask", False), ("desk", False), ("empty", True)])
    def test_an_engine_an_agent_a_function_or_what_gives_one(
        self, afk: Afk, policies: str, stories: Stories, name: str, same: bool
    ) -> None:
        result = afk("policy", f"{policies}:{name}", stories.location("failing"))
        assert result.exit_code == (0 if same else 1), result.output

    def test_runs_of_other_agents_are_left_out_of_an_agents(self, afk: Afk, policies: str, stories: Stories) -> None:
        found = facts(afk, f"{policies}:desk", str(stories.log))
        assert (found["runs"], found["others"] > 5) == (1, True)
        result = afk("policy", f"{policies}:desk", stories.location("looping"))
        assert (result.exit_code, "no run that fits is recorded" in result.stderr) == (3, True)

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            (":number", "is of the type int, not a PolicyEngine"),
            (":make_badly", "raised KeyError: 'nothing here'"),
            (":waiting", "is async, and a policy decides from the event alone"),
            (":absent", "has no 'absent'; it has: "),
            (":stric", "did you mean 'strict'?"),
            ("", "does not name a policy; name a policy as MODULE:POLICY"),
        ],
    )
    def test_what_is_none_is_wrong_usage(self, afk: Afk, policies: str, stories: Stories, name: str, says: str) -> None:
        result = afk("policy", f"{policies}{name}", str(stories.log))
        assert result.exit_code == 2, result.output
        assert says in result.stderr
        assert not result.stdout

    def test_a_module_that_raises_when_it_is_imported(self, afk: Afk, tmp_path: Path) -> None:
        (tmp_path / "raising_policies.py").write_text("raise RuntimeError('not today')")
        result = afk("policy", f"{tmp_path}/raising_policies.py:strict")
        assert (result.exit_code, "RuntimeError: not today" in result.stderr) == (2, True)


class TestRuns:
    """Which runs are asked about."""

    @pytest.mark.parametrize(
        ("options", "runs"),
        [
            (("--agent", "refund-desk"), 1),
            (("--agent", "*-desk", "--state", "failed"), 1),
            (("--thread", "thread_journey"), 2),
            (("--since", "2026-11-17"), 13),
            (("--where", 'type = "run_failed" and step > 10'), 1),
            (("--all",), 13),
            ((), 13),
        ],
    )
    def test_by_options(self, afk: Afk, policies: str, stories: Stories, options: tuple[str, ...], runs: int) -> None:
        assert facts(afk, f"{policies}:empty", str(stories.log), *options)["runs"] == runs

    @pytest.mark.parametrize("since", ["1s", "2099-01-01", "2099-01-01T10:00+02:00"])
    def test_none_that_fits_is_not_found(self, afk: Afk, policies: str, stories: Stories, since: str) -> None:
        result = afk("policy", f"{policies}:empty", str(stories.log), "--since", since)
        assert (result.exit_code, "no run that fits" in result.stderr) == (3, True)

    @pytest.mark.parametrize(
        ("words", "code", "says"),
        [
            (("--since", "yesterday"), 2, "is no time; write 2026-11-20"),
            (("--where", "tool ="), 2, "tool ="),
            (("--state", "odd"), 2, "odd"),
            (("run_nowhere",), 3, "run_nowhere"),
            (("@last", "--all"), 2, "a RUN is named"),
            (("@last", "--agent", "x"), 2, "a RUN is named"),
        ],
    )
    def test_what_makes_no_sense_is_said(
        self, afk: Afk, policies: str, stories: Stories, words: tuple[str, ...], code: int, says: str
    ) -> None:
        result = afk("--db", str(stories.log), "policy", f"{policies}:empty", *words)
        assert result.exit_code == code, result.output
        assert says in result.stderr

    def test_runs_of_one_log_at_a_time(self, afk: Afk, policies: str, stories: Stories, tmp_path: Path) -> None:
        other = stories.copied(tmp_path)
        result = afk("policy", f"{policies}:empty", stories.location("failing"), other.location("looping"))
        assert (result.exit_code, "several logs" in result.stderr) == (2, True)
        result = afk("policy", f"{policies}:empty", str(stories.log), stories.location("looping"))
        assert (result.exit_code, "means all of its runs" in result.stderr) == (2, True)

    def test_of_a_golden(self, afk: Afk, policies: str, stories: Stories, tmp_path: Path) -> None:
        golden = tmp_path / "failing.golden.jsonl"
        assert afk("export", stories.location("failing"), "--to", "golden", "-o", str(golden)).exit_code == 0
        of_log, of_golden = (facts(afk, f"{policies}:strict", where) for where in (stories.location("failing"), str(golden)))
        assert (of_golden["decisions"], of_golden["undone"]) == (of_log["decisions"], of_log["undone"])

    def test_secrets_in_arguments_are_kept_back(self, afk: Afk, policies: str, agents: str, ran: Callable[..., str]) -> None:
        Path(agents).write_text(
            Path(agents).read_text()
            + '''
@tool
def login(password: str) -> str:
    """Log in."""
    return "in"

def logging_in(request):
    if request.messages[-1].role == "tool":
        return "in"
    return LLMResponse(tool_calls=(ToolCall("c1", "login", {"password": "correct horse battery"}),), usage=USAGE)

locked = Agent(model=ScriptedModel(logging_in), tools=[login])
'''
        )
        ran("locked")
        for form in ("text", "json", "jsonl"):
            shown = afk("policy", f"{policies}:strict", "--format", form)
            assert (shown.exit_code, "battery" in shown.stdout, "redacted" in shown.stdout) == (1, False, True)
        assert "battery" in afk("policy", f"{policies}:strict", "--show-secrets").stdout


def test_from_anywhere_in_a_process_of_its_own(program: Program, policies: str, stories: Stories) -> None:
    process = program("policy", "policies_of_the_test:strict", "run_failing", AFK_ES_LOG=str(stories.log))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert "1 run would go elsewhere" in out
    assert "Traceback" not in err


def test_nothing_that_a_model_wrote_can_act() -> None:
    hostile = "\x1b[2J\x1b]0;owned\x07\u202e"
    decision = Decision("deny", hostile, hostile)
    change = ChangedDecision(
        "run_1", 4, 1, "tool_before_execute", hostile, hostile, None, False, {hostile: hostile}, Decision("allow"), decision, "denied",
        ("action",), True, True, hostile,
    )  # fmt: skip
    row = RunWhatIf("run_1", "thread_1", hostile, None, None, 3, 2, 1, change, hostile, 1, (change,))
    seen = PolicyWhatIf(
        ":memory:", 1, 0, 1, 0, 0, 3, 2, 1, 1, 0, 1, 1, change, 1, 1, 1, 1, (ToolWhatIf(hostile, False, 1, 1, 1),), (change,), (row,)
    )
    for width in (1, 20, 80, 200):
        for line, _tone in policy_lines(seen, width):
            assert not set(line) & set("\x1b\x07\u202e"), line
            assert columns(line) <= max(width, 120)
