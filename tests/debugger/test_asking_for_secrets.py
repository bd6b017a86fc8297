"""What is kept back cannot be found out by asking: whatever can be searched or watched is judged on what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from afk_es import Agent, Runner, tool
from afk_es.cli import main
from afk_es.debugger.bisection import bisect
from afk_es.debugger.expression import parse
from afk_es.debugger.finding import Phrase, find
from afk_es.debugger.matching import Search
from afk_es.debugger.opening import reading
from afk_es.debugger.recording import Recording
from afk_es.debugger.watching import changes, evaluate
from afk_es.llms import LLMResponse, ToolCall
from afk_es.redaction import MARK, Redaction
from afk_es.testing import ScriptedModel
from tests.debugger.assistant.test_answers import Assistant

SECRET = "marzipan-4711"


@tool
def sign_in(user: str, token: str, more: dict[str, Any]) -> str:
    """Sign in."""
    return f"{user} is in"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of one run, whose secrets stand under names that say so."""
    path = tmp_path_factory.mktemp("secrets") / "runs.db"
    call = ToolCall("c1", "sign_in", {"user": "ann", "token": SECRET, "more": {"api.key": SECRET, "pin": {"password": 4711}}})
    agent = Agent(name="clerk", model=ScriptedModel([LLMResponse(tool_calls=(call,)), "Done."]), tools=[sign_in])
    runner = Runner(log=path)
    runner.run_sync(agent, user_message=f"Sign in with password: {SECRET}", context={"credentials": SECRET})
    return path


TELLING = [
    'data.tool_calls[0].arguments.token ~ "marz"',
    "data.tool_calls[0].arguments.token ~ /^m/",
    'data.tool_calls[0].arguments.token > "m" and data.tool_calls[0].arguments.more["api.key"] < "n"',
    "len(data.tool_calls[0].arguments.token) = 13",
    f'data.tool_calls[0].arguments.token in ["{SECRET}"]',
    'data ~ "marz"',
    'args.token ~ "marz"',
    'args ~ "marz"',
    'args.more["api.key"] ~ "marz"',
    "args.more.pin.password > 4000",
    'state.context.credentials ~ "marz"',
    'state ~ "marz"',
    'before.context ~ "marz"',
    'messages[0].content ~ "marz"',
    'state.messages[1].tool_calls[0].arguments.token ~ "marz"',
    'state.batch ~ "marz"',
]
"""Questions that hold somewhere in the log, by what is kept back alone."""


async def hits(log: Path, where: str, redaction: Redaction | None) -> list[int]:
    async with reading(str(log)) as opened:
        [record] = await opened.runs()
        recording = await Recording.open(opened, record.run_id)
        return [scope.event.seq async for scope in Search(recording, redaction=redaction).hits(parse(where))]


@pytest.mark.parametrize("where", TELLING)
async def test_a_condition_on_what_is_kept_back_holds_nowhere(where: str, log: Path) -> None:
    assert await hits(log, where, None)
    assert not await hits(log, where, Redaction())


@pytest.mark.parametrize("where", TELLING)
async def test_an_assistant_finds_out_no_letter_of_a_secret(where: str, log: Path) -> None:
    assert (await Assistant(log).ask("log", where=where))["first"] is None
    assert (await Assistant(log, redaction=None).ask("log", where=where))["first"] is not None


@pytest.mark.parametrize("verb", ["log", "find"])
def test_nor_does_whoever_reads_on_the_command_line(verb: str, log: Path) -> None:
    words = [verb, "--db", str(log), "--where", TELLING[0], "--format", "jsonl"]
    assert not CliRunner().invoke(main, words).stdout
    assert CliRunner().invoke(main, [*words, "--show-secrets"]).stdout


def test_nor_does_a_text_a_trace_or_a_bisection(log: Path) -> None:
    for words in (
        ["find", "marz"],
        ["trace", "--print", "seq", "--at", TELLING[0]],
        ["bisect", "--expr", 'state.context ~ "marz"'],
    ):
        asked = [words[0], "--db", str(log), *words[1:]]
        assert CliRunner().invoke(main, asked).exit_code == 1, words
        assert CliRunner().invoke(main, [*asked, "--show-secrets"]).exit_code == 0, words


def test_a_traced_answer_says_what_is_shown(log: Path) -> None:
    words = [
        "trace",
        "--db",
        str(log),
        "--at",
        "type = tool_started",
        "--print",
        "args.token",
        "--print",
        'args.token ~ "marz"',
        "--format",
        "jsonl",
    ]
    told = CliRunner().invoke(main, [word.replace("tool_started", '"tool_started"') for word in words]).stdout
    assert f'"args.token":"{MARK}"' in told.replace(" ", "")
    assert "true" not in told


@pytest.mark.parametrize(
    ("where", "count"),
    [
        (f'data.tool_calls[0].arguments.token = "{MARK}"', 1),
        ('data.tool_calls[0].arguments.token ~ "redact"', 1),
        ('data.tool_calls[0].arguments.user = "ann"', 1),
        ('args.user = "ann" and args.token ~ "REDACTED"', 1),
        ('type = "tool_started" and len(messages) = 2', 1),
        ('exists args.token and type = "tool_started"', 1),
        ('status = "completed" and state.tool_calls = 1', 1),
    ],
)
async def test_what_is_shown_can_be_asked_for(where: str, count: int, log: Path) -> None:
    assert len(await hits(log, where, Redaction())) >= count


async def test_a_store_is_asked_for_nothing_that_stands_for_a_registered_value(log: Path) -> None:
    """Where the mark itself is a secret, another stands in its place, and may make a word with what is beside it."""
    assert await hits(log, 'output = "a********"', Redaction(values=["redacted", "nn is in"]))
    assert await hits(log, 'data.tool_calls[0].arguments.token = "********"', Redaction(values=["redacted", SECRET]))


async def test_a_watch_and_a_value_tell_what_is_shown(log: Path) -> None:
    async with reading(str(log)) as opened:
        [record] = await opened.runs()
        recording = await Recording.open(opened, record.run_id)
        search = Search(recording, redaction=Redaction())
        watched = [change async for change in changes(recording, "context.credentials", search=search)]
        assert {change.new for change in watched} <= {MARK}
        assert await evaluate(recording, parse("state.context.credentials"), 3, search=search) == MARK
        assert not await find(recording, Phrase("marz"), search=search)
        assert (await bisect(recording, parse('state.context.credentials ~ "marz"'), search=search)).first is None
