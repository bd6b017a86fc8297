"""Goal: what a run waits for is seen and answered, and a run controlled, from another terminal. Method: runs that lie there, and live ones."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from afk_es.views.printable import visible
from tests.cli.conftest import ROOT, Afk, Program

DESK = '''
import asyncio
from pathlib import Path
from afk_es import Agent, PolicyEngine, PolicyRule, tool
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

@tool
def refund(order: str, amount: float) -> str:
    """Refund an order."""
    return f"refunded {amount:g} for {order!r}"

@tool
def colour(order: str) -> str:
    """What colour it should have."""
    return "grey"

@tool
async def wait() -> str:
    """Wait for a file to appear."""
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return "went"

def asking(name, **arguments):
    def script(request):
        last = list(request.messages)[-1]
        if last.role == "tool":
            return "Done: " + last.content.splitlines()[-1]
        return LLMResponse(tool_calls=(ToolCall("c1", name, arguments),))
    return ScriptedModel(script)

def ruled(action, **more):
    return PolicyEngine([PolicyRule(rule_id="four_eyes", action=action, subjects=("tool",), condition=lambda event: True, **more)])

HOSTILE = "A-17\\x1b[2J\\u202e\\n  yes  afk-es approve other"
agent = Agent(
    name="desk",
    model=asking("refund", order=HOSTILE, amount=900.0),
    tools=[refund],
    policy_engine=ruled("request_approval", reason="It is \\x1b[31mdear.", updated_tool_args={"amount": 850.0}),
)
words = Agent(model=asking("colour", order="A-17"), tools=[colour], policy_engine=ruled("request_user_input", request_payload={"prompt": "Which?"}))
put_off = Agent(model=asking("refund", order="A-17", amount=1.0), tools=[refund], policy_engine=ruled("defer"))
waiting = Agent(model=asking("wait"), tools=[wait])
'''


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The path of a module with agents whose calls wait for people."""
    path = tmp_path / "desk_of_people.py"
    path.write_text(DESK)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(path)
    sys.modules.pop("desk_of_people", None)


@pytest.fixture
def parked(afk: Afk, desk: str) -> Callable[[str], str]:
    """Runs an agent of the module until it waits, and gives the run's id."""

    def run(name: str = "agent") -> str:
        result = afk("run", "--external", f"{desk}:{name}", "do it", "--format", "json")
        told = json.loads(result.stdout)
        assert (result.exit_code, told["state"], len(told["pending"])) == (1, "interrupted", 1)
        assert "waits for" in result.stderr
        return str(told["run_id"])

    return run


def test_a_call_is_seen_approved_and_run_when_the_run_is_resumed(afk: Afk, desk: str, parked: Callable[[str], str]) -> None:
    run_id = parked("agent")
    seen = afk("approvals")
    assert seen.exit_code == 0
    for part in (
        "refund wants to run",
        "amount=900.0",
        "amount=850.0",
        "four_eyes",
        f"afk-es approve {run_id[4:16]}",
        "the fallback answers in",
    ):
        assert part in seen.stdout
    approved = afk("approve", run_id, "--by", "ann", "--reason", "fine")
    assert (approved.exit_code, approved.stdout) == (0, f"approved: run {run_id}\n")
    assert f"go on with it: afk-es resume {run_id} MODULE:AGENT" in approved.stderr
    assert "waits for anybody" in afk("approvals").stderr
    again = afk("approve", run_id)
    assert (again.exit_code, "was answered: granted by ann" in again.stderr) == (2, True)
    resumed = afk("resume", run_id, f"{desk}:agent")
    assert resumed.exit_code == 0
    assert "refunded 850 for 'A-17" in resumed.stdout
    assert "granted by ann: fine" in afk("log", run_id).stdout


def test_a_call_is_denied_with_a_reason(afk: Afk, desk: str, parked: Callable[[str], str]) -> None:
    run_id = parked("agent")
    assert afk("deny", run_id, "approval:1:0", "--by", "ann", "--reason", "too dear").exit_code == 0
    assert afk("resume", run_id, f"{desk}:agent").stdout == "Done: Error: too dear (by ann)\n"


def test_words_are_given(afk: Afk, desk: str, parked: Callable[[str], str]) -> None:
    run_id = parked("words")
    assert "Which?" in afk("approvals", run_id).stdout
    assert afk("approve", run_id).exit_code == 2
    assert afk("answer", run_id, "blue", "--request", "input:1:0", "--by", "ann").exit_code == 0
    assert afk("resume", run_id, f"{desk}:words").stdout == "Done: blue\n"


def test_a_run_that_is_resumed_without_an_answer_waits_on_as_it_did(afk: Afk, desk: str, parked: Callable[[str], str]) -> None:
    run_id = parked("agent")
    again = afk("resume", run_id, f"{desk}:agent")
    assert (again.exit_code, "refund waits for approval" in again.stderr) == (1, True)
    assert "approval_resolved" not in afk("log", run_id).stdout


def test_what_a_rule_put_off_waits_without_a_term(afk: Afk, desk: str, parked: Callable[[str], str]) -> None:
    run_id = parked("put_off")
    assert "put off, without a term" in afk("approvals").stdout
    assert afk("approve", run_id).exit_code == 0
    assert afk("resume", run_id, f"{desk}:put_off").stdout == "Done: refunded 1 for 'A-17'\n"


def test_without_a_word_on_people_a_call_that_needs_them_is_denied(afk: Afk, desk: str) -> None:
    result = afk("run", f"{desk}:agent", "do it")
    assert (result.exit_code, "nobody answered" in result.stdout) == (0, True)


def test_what_a_model_wrote_can_neither_drive_the_terminal_nor_fake_a_command(afk: Afk, parked: Callable[[str], str]) -> None:
    run_id = parked("agent")
    for result in (afk("approvals"), afk("approve", run_id, "--by", "\x1b[31mann", "--reason", "\x1b[2J"), afk("log", run_id)):
        for text in (result.stdout, result.stderr):
            assert text == visible(text, multiline=True)
            assert not [line for line in text.splitlines() if "approve other" in line and line.lstrip().startswith("yes")]


def test_the_list_is_json_too(afk: Afk, parked: Callable[[str], str]) -> None:
    run_ids = [parked("agent"), parked("words")]
    told = json.loads(afk("approvals", "--format", "json").stdout)
    assert (told["schema"], [request["run_id"] for request in told["pending"]]) == ("afk_es.approvals/1", run_ids)
    lines = [json.loads(line) for line in afk("approvals", "--format", "jsonl").stdout.splitlines()]
    assert [(line["schema"], line["kind"]) for line in lines] == [("afk_es.approval/1", "approval"), ("afk_es.approval/1", "input")]
    one = json.loads(afk("approvals", run_ids[1], "--format", "json").stdout)
    assert [request["request_id"] for request in one["pending"]] == ["input:1:0"]
    sent = json.loads(afk("deny", run_ids[1], "--format", "json").stdout)
    assert (sent["schema"], sent["said"], sent["status"], sent["run_id"]) == ("afk_es.receipt/1", "denied", "posted", run_ids[1])
    assert json.loads(afk("deny", run_ids[0], "--format", "jsonl").stdout)["status"] == "posted"


@pytest.mark.parametrize(
    ("args", "code", "told"),
    [
        (("approve", "no_such_run"), 3, "has no run"),
        (("approve", "@last", "approval:9:0"), 2, "no pending request 'approval:9:0'"),
        (("approve", "@last", "--by", "fallback"), 2, "name who did"),
        (("approve", "@last", "--by", " "), 2, "by is a non-empty string"),
        (("answer", "@last", "blue"), 2, "approve or deny it"),
        (("pause", "@last"), 2, "not running"),
        (("unpause", "@last"), 2, "not running"),
        (("interrupt", "@last"), 2, "laid down already"),
        (("approvals", "no_such_run"), 3, "has no run"),
        (("approve", "./no_such.db"), 3, "there is no log"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(afk: Afk, parked: Callable[[str], str], args: tuple[str, ...], code: int, told: str) -> None:
    parked("agent")
    result = afk(*args)
    assert (result.exit_code, told in result.stderr, len(result.stderr.splitlines())) == (code, True, 1), result.stderr


def test_without_a_log_nothing_is_made(afk: Afk, log: Path) -> None:
    for verb in (("approvals",), ("approve", "@last"), ("cancel", "@last")):
        assert afk(*verb).exit_code == 3
    assert not log.exists()


def test_a_run_that_lies_there_is_cancelled_without_its_agent(afk: Afk, parked: Callable[[str], str]) -> None:
    run_id = parked("agent")
    result = afk("cancel", run_id, "--reason", "no more", "--by", "ann")
    assert (result.exit_code, "taken it in" in result.stderr) == (0, True)
    assert json.loads(afk("runs", "--format", "json").stdout)["runs"][0]["state"] == "cancelled"
    assert afk("cancel", run_id).exit_code == 2


def test_a_live_run_is_paused_goes_on_and_is_interrupted(afk: Afk, desk: str, program: Program, tmp_path: Path) -> None:
    process = program("run", f"{desk}:waiting", "do it")
    deadline = time.monotonic() + 30
    while "tool_started" not in afk("log").stdout:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for verb in ("pause", "unpause", "pause"):
        result = afk(verb, "@last", "--by", "ann")
        assert (result.exit_code, "taken it in" in result.stderr) == (0, True), result.stderr
    assert afk("pause", "@last").exit_code == 2
    assert afk("interrupt", "@last", "--reason", "enough").exit_code == 0
    _stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, "interrupted: enough" in stderr) == (1, True)


def at_a_terminal(log: Path, *args: str) -> tuple[subprocess.Popen[bytes], int]:
    """The command line with a person before it, and the person's end of the terminal."""
    person, side = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log)}
    process = subprocess.Popen(
        [sys.executable, "-m", "afk_es.cli", *args], stdin=side, stdout=subprocess.PIPE, stderr=side, env=environment, cwd=log.parent
    )
    os.close(side)
    return process, person


def seen_until(person: int, prompt: str) -> str:
    shown = b""
    while prompt.encode() not in shown:
        shown += os.read(person, 65536)
    return shown.decode()


def test_a_person_at_the_terminal_is_asked_puts_it_off_and_is_asked_again_on_resume(afk: Afk, desk: str, log: Path) -> None:
    process, person = at_a_terminal(log, "run", "--interactive", f"{desk}:agent", "do it")
    shown = seen_until(person, "allow it?")
    assert "refund wants to run" in shown
    assert "\x1b[2J" not in shown
    os.write(person, b"d\n")
    seen_until(person, "reason")
    os.write(person, b"later\n")
    seen_until(person, "interrupted; look at it")
    process.communicate(timeout=30)
    os.close(person)
    assert process.returncode == 1
    assert "put off, without a term" in afk("approvals").stdout
    process, person = at_a_terminal(log, "resume", "--interactive", "@last", f"{desk}:agent")
    seen_until(person, "allow it?")
    os.write(person, b"y\n")
    stdout, _stderr = process.communicate(timeout=30)
    os.close(person)
    assert (process.returncode, b"refunded 850" in stdout) == (0, True)


def test_interactive_without_a_terminal_is_an_error_before_anything_is_written(afk: Afk, desk: str, log: Path) -> None:
    result = afk("run", "--interactive", f"{desk}:agent", "do it")
    assert (result.exit_code, "stdin is none" in result.stderr) == (2, True)
    assert not log.exists()
