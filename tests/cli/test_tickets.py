"""`tickets`, `resolve` and `fail`: what goes on in the background of a run, and saying what became of it from another terminal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from afk_es.agents import Agent
from afk_es.core import AgentResult, Runner, RunnerConfig
from afk_es.llms import LLMResponse, ToolCall
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolDeferredHandle, tool
from tests.cli.conftest import Afk

HOSTILE = "t\x1b[2J\x07"
Parked = Callable[..., str]


@tool
def order(ticket: str) -> ToolDeferredHandle:
    """Order something."""
    # A handle refuses such an id, and a log that somebody else made may hold one.
    return ToolDeferredHandle.model_construct(ticket_id=ticket, summary=f"ordered {ticket}")


def clerk(*tickets: str) -> Agent:
    calls = tuple(ToolCall(f"c{number}", "order", {"ticket": ticket}) for number, ticket in enumerate(tickets))

    def answer(request: object) -> LLMResponse:
        messages = request.messages  # type: ignore[attr-defined]  # a script is handed an LLMRequest
        return LLMResponse(tool_calls=calls) if len(messages) == 1 else LLMResponse(text=messages[-1].content.splitlines()[-1])

    return Agent(name="clerk", model=ScriptedModel(answer), tools=[order])


@pytest.fixture
def parked(log: Path) -> Parked:
    """Runs a clerk until it waits for its tickets, and gives the run's id."""

    def run(*tickets: str, at_end: str = "park") -> str:
        config = RunnerConfig(background_tool_at_end=at_end)
        return Runner(log=log, config=config).run_sync(clerk(*tickets), user_message="go").run_id

    return run


def resumed(log: Path, run_id: str, *tickets: str) -> AgentResult:
    return asyncio.run(Runner(log=log, config=RunnerConfig(background_tool_at_end="park")).resume(clerk(*tickets), run_id=run_id))


def test_a_ticket_is_listed_resolved_and_taken_in(afk: Afk, log: Path, parked: Parked) -> None:
    run_id = parked("t1")
    header, line = afk("tickets").stdout.splitlines()
    assert header.split() == ["status", "ticket", "tool", "since", "about"]
    assert line.split()[:3] == ["pending", "t1", "order"]
    assert line.endswith("ordered t1")
    result = afk("resolve", run_id, "t1", "--output", '{"parcel": 7}')
    assert (result.exit_code, result.stdout) == (0, "resolved t1\n")
    assert "when it is resumed" in result.stderr
    assert "no background tool going on; --all" in afk("tickets", run_id).stderr
    assert '{"parcel":7} (posted; the run has not taken it in yet)' in afk("tickets", run_id, "--all").stdout
    assert resumed(log, run_id, "t1").final_text == '{"parcel":7}'
    assert "posted" not in afk("tickets", run_id, "--all").stdout
    assert "resolved   order (t1): " in afk("show", run_id).stdout


@pytest.mark.parametrize(("options", "output"), [((), None), (("--text", "a b"), "a b"), (("--output", "[1]"), [1])])
def test_a_result_is_json_or_a_text_or_nothing(options: tuple[str, ...], output: object, afk: Afk, log: Path, parked: Parked) -> None:
    run_id = parked("t1")
    assert afk("resolve", "@last", "t1", *options).exit_code == 0
    (record,) = resumed(log, run_id, "t1").tool_executions
    assert (record.success, record.output) == (True, output)


def test_a_failure_is_told_to_the_model(afk: Afk, log: Path, parked: Parked) -> None:
    run_id = parked("t1")
    assert afk("fail", run_id, "t1", "--error", "sold out").stdout == "failed t1\n"
    assert "sold out" in resumed(log, run_id, "t1").final_text
    assert "failed     order (t1): sold out" in afk("show", run_id).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("resolve", "@last", "t9"), 2, "has no ticket 't9'; open are: 't1'"),
        (("resolve", "@last", "t1", "--output", "{"), 2, "--output is not JSON"),
        # Newer interpreters read it, and Pydantic refuses to render it; either way the way out is told.
        (("resolve", "@last", "t1", "--output", "[" * 5_000 + "]" * 5_000), 2, "JSON"),
        (("resolve", "@last", "t1", "--output", "1", "--text", "1"), 2, "leave one of them out"),
        (("fail", "@last", "t1"), 2, "--error"),
        (("fail", "@last", "t1", "--error", " "), 2, "error is a non-empty string"),
        (("fail", "run_nobody's", "t1", "--error", "x"), 3, "has no run"),
        (("tickets", "run_nobody's"), 3, "has no run"),
        (("resolve", "@last", "\udcff", "--text", "\udcff"), 2, "has no ticket"),
    ],
)
def test_wrong_use_says_the_way_out(arguments: tuple[str, ...], code: int, told: str, afk: Afk, parked: Parked) -> None:
    parked("t1")
    result = afk(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert told in result.stderr


def test_the_first_word_holds_and_a_run_that_has_ended_takes_none(afk: Afk, parked: Parked) -> None:
    parked("t1")
    assert afk("resolve", "@last", "t1").exit_code == 0
    assert "has ended: resolved, which the run has not taken in yet" in afk("fail", "@last", "t1", "--error", "no").stderr
    parked("t1", at_end="report")
    assert "has ended (degraded)" in afk("resolve", "@last", "t1").stderr
    assert "abandoned" in afk("tickets", "--all").stdout


def test_programs_get_json(afk: Afk, parked: Parked) -> None:
    run_id = parked("t1", "t2")
    told = json.loads(afk("resolve", run_id, "t1", "--text", "x", "--format", "json").stdout)
    assert told == {"schema": "afk_es.ticket_ended/1", "run_id": run_id, "ticket_id": "t1", "status": "resolved"}
    assert json.loads(afk("fail", run_id, "t2", "--error", "x", "--format", "jsonl").stdout)["status"] == "failed"
    listing = json.loads(afk("tickets", "--all", "--format", "json").stdout)
    assert (listing["schema"], listing["run_id"]) == ("afk_es.tickets/1", run_id)
    # In the order in which they were opened, which is that in which the two tools came to their ends.
    assert sorted((one["ticket_id"], one["status"], one["taken_in"]) for one in listing["tickets"]) == [
        ("t1", "resolved", False),
        ("t2", "failed", False),
    ]
    lines = [json.loads(line) for line in afk("tickets", "--all", "--format", "jsonl").stdout.splitlines()]
    assert [line["schema"] for line in lines] == ["afk_es.ticket/1"] * 2


def test_what_a_log_holds_cannot_drive_the_terminal(afk: Afk, parked: Parked) -> None:
    parked(HOSTILE)
    assert afk("resolve", "@last", HOSTILE, "--text", HOSTILE).exit_code == 0
    for arguments in (("tickets", "--all"), ("show",), ("log",), ("resolve", "@last", HOSTILE), ("fail", "@last", "x", "--error", "x")):
        assert not {"\x1b", "\x07"} & set(afk(*arguments).output), arguments
