"""The verbs that look into a run: find, trace, stats, bisect, and log by places and conditions."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from afk_es import Agent, PolicyEngine, PolicyRule, Runner, tool
from afk_es.agents import PolicyRuleCondition
from afk_es.cli import main
from afk_es.debugger.recording import Progress, Recording
from afk_es.llms import LLMResponse, ToolCall
from afk_es.machine import AgentRunEvent
from afk_es.testing import ScriptedModel
from afk_es.views import visible
from tests.cli.conftest import Afk

Ran = Callable[..., str]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of the recorded runs that `demo --debug` makes."""
    directory = tmp_path_factory.mktemp("demo")
    assert CliRunner().invoke(main, ["demo", "--debug", "--dir", str(directory)]).exit_code == 0
    return directory / "stories.db"


def seqs(text: str) -> list[int]:
    """The seqs that the lines of a table begin with."""
    return [int(line.split()[0]) for line in text.splitlines() if line.split() and line.split()[0].isdigit()]


def test_find_a_text_or_what_holds(afk: Afk, ran: Ran) -> None:
    run_id = ran()
    by_text = afk("find", "LET ME ADD")
    assert by_text.exit_code == 0
    assert "Let me add" in by_text.stdout
    assert seqs(by_text.stdout) == seqs(afk("find", run_id, "let me add").stdout)
    starts = afk("find", 'args.a = 1 and type = "tool_started"')
    assert len(seqs(starts.stdout)) == 1
    assert "add(a=1, b=2)" in starts.stdout
    both = json.loads(afk("find", "--where", 'type = "llm_completed"', "--format", "json").stdout)
    assert (both["schema"], both["run_id"], len(both["events"])) == ("afk_es.find/1", run_id, 2)
    [last] = afk("find", "@last", "--where", "type='llm_completed'", "--last", "-n", "1", "--format", "jsonl").stdout.splitlines()
    assert json.loads(last)["seq"] == both["events"][-1]["seq"]


def test_find_nothing_is_a_negative_answer(afk: Afk, ran: Ran) -> None:
    ran()
    nothing = afk("find", "no such thing")
    assert (nothing.exit_code, nothing.stdout) == (1, "")
    assert "nothing like that" in nothing.stderr
    assert json.loads(afk("find", "no such thing", "--format", "json").stdout)["events"] == []


def test_a_secret_that_is_found_is_not_shown(afk: Afk, ran: Ran) -> None:
    ran("agent", "password=hunter2hunter2 and 1 and 2")
    assert "hunter2" not in afk("find", "hunter2").stdout
    assert "hunter2" in afk("find", "hunter2", "--show-secrets").stdout
    assert "hunter2" not in afk("trace", "--print", "data", "--at", "type:run_started").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("find",), "say what to find"),
        (("find", "a", "b", "c"), "say what to find"),
        (("find", "--where", "tolo = 1"), "did you mean tool"),
        (("trace", "--print", "step", "--at", "toolz:x"), "before a colon may stand"),
        (("trace", "--print", "step", "--at", "error", "--watch", "step"), "leave one of them out"),
        (("bisect",), "say what to look for"),
        (("bisect", "--run", "'"), "no command line"),
        (("bisect", "--run", ""), "names no program"),
        (("bisect", "--run", "x", "--scan"), "--scan goes with --expr"),
        (("log", "--at", "3", "--from", "2"), "leave --from and --to out"),
        (("log", "--from", "nowhere"), "is no position"),
        (("stats", "--from", "999"), "no events there"),
    ],
)
def test_wrong_usage_says_the_way_out(afk: Afk, ran: Ran, words: tuple[str, ...], said: str) -> None:
    ran()
    result = afk(*words)
    assert result.exit_code == 2
    assert said in result.stderr


def test_the_names_are_listed(afk: Afk) -> None:
    assert "tokens of this answer" in afk("find", "--names").stdout


def test_trace_prints_expressions_wherever_something_holds(afk: Afk, ran: Ran) -> None:
    run_id = ran()
    result = json.loads(afk("trace", "--print", "args.b", "--print", "state.step", "--at", "tool:add", "--format", "json").stdout)
    assert (result["schema"], result["run_id"], result["print"]) == ("afk_es.trace/1", run_id, ["args.b", "state.step"])
    assert [sample["values"] for sample in result["samples"]] == [{"args.b": 2, "state.step": 1}]
    costs = afk("trace", "--print", "state.cost_usd", "--watch", "cost_usd").stdout.splitlines()
    assert [line.split()[-1] for line in costs[1:]] == ["0.5", "1.0"]
    everywhere = afk("trace", "--print", "type", "--format", "jsonl").stdout.splitlines()
    assert len(everywhere) == len(afk("log", "--format", "jsonl").stdout.splitlines())
    assert "args.b=2  step=1" in afk("trace", "--print", "args.b", "--print", "step", "--at", "tool:add").stdout
    assert afk("trace", "--print", "step", "--at", "policy:deny").exit_code == 1


def test_stats_count_a_run(afk: Afk, ran: Ran) -> None:
    run_id = ran()
    seen = json.loads(afk("stats", "--format", "json").stdout)
    assert (seen["schema"], seen["metrics"]["run_id"]) == ("afk_es.stats/1", run_id)
    assert seen["types"]["llm_completed"] == 2
    text = afk("stats", "--from", "step:2").stdout
    assert "longest gaps" in text
    assert "tool_started" not in text


def test_bisect_by_an_expression(afk: Afk, ran: Ran) -> None:
    ran()
    proved = afk("bisect", "--expr", "state.llm_calls >= 2")
    assert proved.exit_code == 0
    assert seqs(proved.stdout) == seqs(afk("log", "--type", "llm_called").stdout)[1:]
    assert "proved" in proved.stderr
    walked = json.loads(afk("bisect", "--expr", 'tool = "add"', "--format", "json").stdout)
    assert (walked["schema"], walked["method"], walked["event"]["seq"]) == ("afk_es.bisect/1", "walked", walked["first"])
    never = afk("bisect", "--expr", "state.cost_usd > 99")
    assert (never.exit_code, never.stdout) == (1, "")
    assert "never" in never.stderr


def test_bisect_by_a_program(afk: Afk, ran: Ran) -> None:
    ran()
    code = "import json, sys; sys.exit(json.load(open(sys.argv[1]))['tool_calls'] > 0)"
    found = afk("bisect", "--run", shlex.join([sys.executable, "-c", code, "{state}"]))
    assert found.exit_code == 0
    assert seqs(found.stdout) == seqs(afk("log", "--type", "tool_started").stdout)
    broken = afk("bisect", "--run", shlex.join([sys.executable, "-c", "import sys; sys.exit(130)"]))
    assert broken.exit_code == 2
    assert "answered 130" in broken.stderr


def test_log_takes_places_and_conditions(afk: Afk, ran: Ran) -> None:
    ran()
    every = seqs(afk("log").stdout)
    assert seqs(afk("log", "--at", "tool:add").stdout) == every[2:13]
    assert seqs(afk("log", "--from", "-2").stdout) == every[-3:]
    assert seqs(afk("log", "--from", "50%", "--to", "end").stdout) == every[round(len(every) / 2) - 1 :]
    assert seqs(afk("log", "--where", "cost > 0").stdout) == seqs(afk("log", "--type", "llm_completed").stdout)
    assert "add(a=1, b=2)" in afk("log", "--where", 'type = "tool_started"').stdout
    assert json.loads(afk("log", "--where", "seq > 9999", "--format", "json").stdout)["events"] == []


def test_json_holds_nothing_that_a_terminal_obeys_and_says_the_same(afk: Afk, tmp_path: Path) -> None:
    """JSON escapes C0 only: the controls of C1, bidirectional ones and the two further line breaks would reach the terminal as they are."""
    hostile = "a\x9b31mb \u202eevil\u202c \u2066x\u2069 \u200f \u061c \u2028 \x7f \x85 ünï ☃ 𝄞"
    (tmp_path / "hostile.json").write_text(
        json.dumps({"messages": [{"role": "user", "content": hostile}, {"role": "assistant", "content": hostile}]})
    )
    assert afk("import", str(tmp_path / "hostile.json")).exit_code == 0
    for verb in ("triage", "why", "state", "context", "log", "show"):
        for form in ("json", "jsonl"):
            said = afk(verb, "@last", "--format", form).stdout
            assert [letter for letter in said if visible(letter, multiline=True) != letter] == []
            assert "ünï ☃ 𝄞" in said
    [event, *_] = [json.loads(line) for line in afk("log", "@last", "--format", "jsonl").stdout.splitlines()]
    assert event["data"]["user_message"] == hostile


def test_a_call_stands_with_the_arguments_it_ran_with_in_every_line(afk: Afk, log: Path) -> None:
    """They stand in the answer that asked for it, and were changed by a policy behind it: neither is part of the start's own event."""

    @tool
    def pay(n: int) -> str:
        """Pay."""
        return f"paid {n}"

    rule = PolicyRule(action="allow", subjects=("tool",), condition=PolicyRuleCondition(tool_name="pay"), updated_tool_args={"n": 7})
    calls = (ToolCall("c1", "pay", {"n": 1}), ToolCall("c2", "pay", {"n": 2}))
    model = ScriptedModel([LLMResponse(tool_calls=calls), "done"])
    agent = Agent(name="payer", model=model, tools=[pay], policy_engine=PolicyEngine([rule]))
    Runner(log=log).run_sync(agent, user_message="go")
    for words in (
        ("log", "@last", "--type", "tool_started"),
        ("find", "@last", "--where", "type = 'tool_started'"),
        ("bisect", "@last", "--expr", "type = 'tool_started'"),
        ("why", "@last", "--at", "tool:pay#2"),
    ):
        said = afk(*words).stdout
        assert "pay(n=7)" in said, words
        assert "tool_started pay()" not in said


@pytest.mark.parametrize("far", [0, 3, 250])
@pytest.mark.parametrize(
    "words",
    [
        ("--where", "type in ['tool_started', 'subagent_started']"),
        ("--type", "timer_fired"),
        ("--type", "*"),
        ("--from", "20", "--type", "tool_*"),
    ],
)
def test_a_line_says_the_same_however_few_lines_are_shown(
    demo: Path, monkeypatch: pytest.MonkeyPatch, afk: Afk, far: int, words: tuple[str, ...]
) -> None:
    monkeypatch.setattr("afk_es.debugger.listing.FAR", far)
    for run in ("run_failing", "run_complete", "run_team"):
        whole = afk("log", run, "--db", str(demo)).stdout.splitlines()
        shown = afk("log", run, "--db", str(demo), *words).stdout.splitlines()
        assert set(shown) <= set(whole)
        assert len(shown) > 1 or "timer_fired" in words


def test_what_is_far_from_the_line_before_is_found_and_not_walked_to(demo: Path, monkeypatch: pytest.MonkeyPatch, afk: Afk) -> None:
    monkeypatch.setattr("afk_es.debugger.listing.FAR", 5)
    walked: list[int] = []
    pages = Recording.pages

    def counted(
        self: Recording, *, after: int = 0, before: int | None = None, progress: Progress | None = None
    ) -> AsyncIterator[list[AgentRunEvent]]:
        walked.append((before or 0) - after)
        return pages(self, after=after, before=before, progress=progress)

    monkeypatch.setattr(Recording, "pages", counted)
    assert "run_failed" in afk("log", "run_failing", "--db", str(demo), "--where", "type in ['run_started', 'run_failed']").stdout
    assert sum(walked) < 20
