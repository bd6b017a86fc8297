"""`compact`: what a thread's next run sees becomes less; what was done is on stdout, how to look at it on stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Afk, Program
from tests.support.openai_server import OpenAIServer


@pytest.fixture
def talked(afk: Afk, ran: Callable[..., str]) -> str:
    """A thread of three turns."""
    for number in range(3):
        ran("memory", f"message {number}", "--thread", "t")
    return "t"


def test_turns_are_dropped_and_the_next_run_sees_the_rest(talked: str, afk: Afk, agents: str) -> None:
    result = afk("compact", talked, "--max-turns", "1")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("4 messages dropped; the model now sees 3 messages, about ")
    assert "look at it with: afk-es log run_" in result.stderr
    assert afk("run", f"{agents}:memory", "again", "--thread", talked).stdout == "I see 3 messages of yours\n"
    assert "thread_compacted" in afk("log", result.stderr.split()[0]).stdout
    assert afk("verify").exit_code == 0


def test_a_thread_within_the_maxima_is_left_alone(talked: str, afk: Afk) -> None:
    result = afk("compact", talked, "--max-messages", "100")
    assert (result.exit_code, result.stdout.split(":")[0]) == (0, "nothing to do")
    assert len(json.loads(afk("runs", "--format", "json").stdout)["runs"]) == 3


def test_json_names_its_schema(talked: str, afk: Afk) -> None:
    told = json.loads(afk("compact", talked, "--max-messages", "2", "--keep-last-turns", "1", "--format", "json").stdout)
    assert (told["schema"], told["compacted"], told["kept_messages"], told["summary"]) == ("afk_es.compaction/1", True, 3, None)


def test_a_model_by_name_sums_up(talked: str, program: Program) -> None:
    with OpenAIServer(lambda body: {"content": "They sent messages."}) as server:
        process = program(
            "compact", talked, "--max-messages", "1", "--model", "gpt-4o-mini", OPENAI_BASE_URL=server.url, OPENAI_API_KEY="none"
        )
        stdout, stderr = process.communicate(timeout=100)
        assert process.returncode == 0, stderr
        assert stdout.splitlines()[1] == "They sent messages."
        (request,) = server.requests
    assert '"message 0"' in request.body["messages"][1]["content"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("t",), 2, "say how much may stay"),
        (("t", "--max-turns", "1", "--instructions", "short"), 2, "name it with --model"),
        (("t", "--max-turns", "0"), 2, "x>=1"),
        (("nobody", "--max-turns", "1"), 3, "has no thread 'nobody'"),
    ],
)
def test_wrong_use_is_one_clear_line(arguments: tuple[str, ...], code: int, told: str, talked: str, afk: Afk) -> None:
    result = afk("compact", *arguments)
    assert result.exit_code == code
    assert told in result.stderr


def test_a_log_that_is_not_there_is_not_made(afk: Afk, log: Path) -> None:
    assert afk("compact", "t", "--max-turns", "1").exit_code == 3
    assert not log.exists()
