"""`run` and `resume`: the answer on stdout, all else on stderr, and an exit code that says how it ended."""

from __future__ import annotations

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Afk, Program


def test_the_answer_is_all_of_stdout_and_stderr_says_how_to_look_at_the_run(afk: Afk, agents: str) -> None:
    result = afk("run", f"{agents}:agent", "1 and 2")
    assert (result.exit_code, result.stdout) == (0, "It is 3.\n")
    assert "add -> 3" in result.stderr
    assert "afk-es show run_" in result.stderr


def test_a_tool_that_reports_its_progress_is_seen_to_go_on(afk: Afk, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "from afk_es import Agent, tool\n"
        "from afk_es.llms import LLMResponse, ToolCall\n"
        "from afk_es.testing import ScriptedModel\n"
        "from afk_es.tools import ToolContext\n"
        "@tool\n"
        "def work(ctx: ToolContext) -> str:\n"
        "    'Work.'\n"
        "    ctx.report_progress(1)\n"
        "    ctx.report_progress(2, 4, 'half of it')\n"
        "    return 'done'\n"
        "agent = Agent(model=ScriptedModel([LLMResponse(tool_calls=(ToolCall('c1', 'work', {}),)), 'ok']), tools=[work])\n"
    )
    result = afk("run", f"{tmp_path}/slow.py:agent", "go")
    assert result.exit_code == 0
    told = [line.strip() for line in result.stderr.splitlines() if line.strip().startswith("work")]
    assert told == ["work ...", "work 1", "work 2/4: half of it", "work -> done"]


@pytest.mark.parametrize("target", ["make", "agent"])
def test_the_attribute_may_be_an_agent_or_a_function_that_gives_one(target: str, afk: Afk, agents: str) -> None:
    assert afk("run", f"{agents}:{target}", "x").exit_code == 0


def test_a_module_is_found_from_the_current_directory(afk: Afk, agents: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(agents).parent)
    assert afk("run", "desk_of_the_test:agent", "x").stdout == "It is 3.\n"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module:agent", "there is no module 'no_such_module'"),
        ("./no_such_file.py:agent", "there is no file"),
        ("agent", "name an agent as MODULE:AGENT"),
        ("{agents}:nothing", "its agents are: agent, changed"),
        ("{agents}:agnet", "did you mean 'agent'?"),
        ("{agents}:mkae", "did you mean 'make'?"),
        ("math:agent", "there is no agent in it"),
        ("{agents}:not_an_agent", "is of the type int, not an Agent"),
        ("{agents}:make_badly", "KeyError: 'nothing here'"),
        ("{raises}:agent", "NameError: name 'undefined' is not defined"),
        ("{lacks}:agent", "No module named 'not_installed_anywhere'"),
    ],
)
def test_an_agent_that_cannot_be_had_is_one_clear_line(target: str, told: str, afk: Afk, agents: str, log: Path, tmp_path: Path) -> None:
    (tmp_path / "raises.py").write_text("x = 1\nundefined\n")
    (tmp_path / "lacks.py").write_text("import not_installed_anywhere\n")
    result = afk("run", target.format(agents=agents, raises=tmp_path / "raises.py", lacks=tmp_path / "lacks.py"), "x")
    assert result.exit_code == 2
    assert told in result.stderr
    assert "Traceback" not in result.stderr
    assert not log.exists(), "nothing is written before the agent is there"


def test_the_message_may_come_from_stdin_and_the_context_as_json(afk: Afk, agents: str, log: Path) -> None:
    result = afk("run", f"{agents}:personal", "-", "--context", '{"user_id": "ada"}', input="who am I")
    assert result.exit_code == 0
    assert "whoami -> ada" in result.stderr
    shown = json.loads(afk("log", "--type", "run_started", "--format", "json").stdout)
    assert shown["events"][0]["data"]["user_message"] == "who am I"


@pytest.mark.parametrize("context", ["[1]", "{", "ada"])
def test_a_context_that_is_not_an_object_is_wrong_usage(context: str, afk: Afk, agents: str) -> None:
    result = afk("run", f"{agents}:agent", "x", "--context", context)
    assert result.exit_code == 2
    assert "--context is one JSON object" in result.stderr


def test_a_thread_remembers(afk: Afk, agents: str) -> None:
    afk("run", f"{agents}:memory", "one", "--thread", "t1")
    assert afk("run", f"{agents}:memory", "two", "--thread", "t1").stdout == "I see 2 messages of yours\n"
    assert afk("verify").exit_code == 0


def test_a_failed_run_is_a_negative_answer_and_its_error_is_on_stderr(afk: Afk, agents: str) -> None:
    result = afk("run", f"{agents}:broken", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "failed: the model call failed: no such model \\x1b[31m" in result.stderr


def test_a_degraded_run_answers_and_says_what_is_missing(afk: Afk, agents: str) -> None:
    result = afk("run", f"{agents}:degraded", "x")
    assert result.exit_code == 0
    assert "Incomplete:" in result.stdout
    assert "degraded: max_steps reached" in result.stderr


def test_the_result_as_json_and_the_stream_as_json_lines(afk: Afk, agents: str) -> None:
    result = json.loads(afk("--format", "json", "run", f"{agents}:agent", "x").stdout)
    assert (result["schema"], result["state"], result["final_text"]) == ("afk_es.result/1", "completed", "It is 3.")
    lines = [json.loads(line) for line in afk("run", f"{agents}:agent", "x", "--format", "jsonl").stdout.splitlines()]
    assert {line["schema"] for line in lines[:-1]} == {"afk_es.stream_event/1"}
    assert "".join(line.get("text_delta", "") for line in lines) == "Let me add.It is 3."
    assert lines[-1]["schema"] == "afk_es.result/1"


def test_text_comes_as_it_is_to_a_pipe_and_harmless_to_a_terminal(afk: Afk, agents: str, log: Path) -> None:
    assert afk("run", f"{agents}:hostile_agent", "x").stdout.startswith("\x1b[31mred")
    outer, inner = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "AFK_ES_LOG": str(log)}
    arguments = [sys.executable, "-m", "afk_es.cli", "run", f"{agents}:hostile_agent", "x"]
    with subprocess.Popen(arguments, stdout=inner, stderr=subprocess.PIPE, env=env) as process:
        _notes, errors = process.communicate(timeout=60)
    os.close(inner)
    shown = os.read(outer, 65_536)
    os.close(outer)
    assert shown.count(b"\\x1b[31mred") == 1, "a streamed answer is not printed again"
    assert b"\x1b[31mred" not in shown
    assert b"\x1b]0;owned" not in errors


# ------------------------------------------------------------------------------------------------------------------------------ resume


def test_a_run_that_had_ended_gives_its_answer_and_nothing_runs(afk: Afk, agents: str, ran: Callable[..., str]) -> None:
    run_id = ran()
    before = afk("log", run_id, "--format", "json").stdout
    result = afk("resume", run_id, f"{agents}:agent")
    assert (result.exit_code, result.stdout) == (0, "It is 3.\n")
    assert "nothing was run again" in result.stderr
    assert afk("log", run_id, "--format", "json").stdout == before


def _cut(log: Path, after: int) -> None:
    """Leave the log as a process leaves it that dies after so many events."""
    connection = sqlite3.connect(log)
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM events WHERE seq > ?", (after,))
    connection.commit()
    connection.close()


def test_a_crashed_run_is_shown_as_crashed_and_goes_on(afk: Afk, agents: str, ran: Callable[..., str], log: Path) -> None:
    ran()
    _cut(log, after=8)
    assert afk("runs").stdout.splitlines()[1].startswith("crashed")
    assert "its process died after seq 8" in afk("show").stdout
    result = afk("resume", "@last-failed", f"{agents}:agent")
    assert (result.exit_code, result.stdout) == (0, "It is 3.\n")
    assert afk("verify").exit_code == 0


def test_another_agent_is_refused_and_may_be_allowed(afk: Afk, agents: str, ran: Callable[..., str], log: Path) -> None:
    ran()
    _cut(log, after=8)
    result = afk("resume", "@last", f"{agents}:changed")
    assert result.exit_code == 2
    assert "instructions 'Add.' -> 'Multiply.'" in result.stderr
    assert "--allow-agent-change" in result.stderr
    assert afk("resume", "@last", f"{agents}:changed", "--allow-agent-change").exit_code == 0
    assert afk("verify").exit_code == 0


def test_an_unknown_run_is_not_found(afk: Afk, agents: str, ran: Callable[..., str]) -> None:
    ran()
    assert afk("resume", "nothing", f"{agents}:agent").exit_code == 3


# ----------------------------------------------------------------------------------------------------------------------------- signals

WAITING = '''
import asyncio
from afk_es import Agent, tool
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel

@tool(read_only=True)
async def wait() -> str:
    """Waits until the file `go` is there."""
    import pathlib
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.01)
    return "done"

@tool(read_only=True)
def block() -> str:
    """Cannot be cancelled."""
    import threading
    threading.Event().wait()
    return "never"

def script(name):
    def answer(request):
        return "all done" if request.messages[-1].role == "tool" else LLMResponse(tool_calls=(ToolCall("c1", name, {}),))
    return answer

agent = Agent(model=ScriptedModel(script("wait")), tools=[wait])
stubborn = Agent(model=ScriptedModel(script("block")), tools=[block])
'''


@pytest.mark.kill
def test_ctrl_c_lays_the_run_down_and_says_how_to_go_on(program: Program, afk: Afk, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    process = program("run", "waiting:agent", "x")
    assert process.stderr is not None
    assert process.stderr.readline().strip() == "wait ..."
    process.send_signal(signal.SIGINT)
    _out, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "afk_es.cli resume run_" in errors
    assert afk("runs").stdout.splitlines()[1].startswith("interrupted")
    (tmp_path / "go").touch()
    out, errors = program("resume", "@last", "waiting:agent").communicate(timeout=30)
    assert out == "all done\n", errors


@pytest.mark.kill
def test_a_second_ctrl_c_ends_a_process_that_a_tool_holds_up(program: Program, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(WAITING)
    process = program("run", "waiting:stubborn", "x")
    assert process.stderr is not None
    assert process.stderr.readline().strip() == "block ..."
    process.send_signal(signal.SIGINT)
    while "interrupted;" not in (line := process.stderr.readline()):
        assert line
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
