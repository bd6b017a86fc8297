"""Goal: a person at a terminal sees all of what they decide on, and nothing they did not type decides. Method: streams, and real ptys."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from afk_es.errors import ConfigurationError
from afk_es.interaction import ApprovalDecision, ApprovalRequest, InputDecision, TerminalInteraction
from afk_es.interaction.lines import is_terminal
from tests.interaction.test_memory import approval, words

ROOT = Path(__file__).parents[2]


def typed(text: str) -> tuple[TerminalInteraction, io.StringIO]:
    """Somebody who types this, and what they see."""
    screen = io.StringIO()
    return TerminalInteraction(by="ann", input=io.StringIO(text), output=screen), screen


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("y\n", ApprovalDecision(outcome="granted", by="ann")),
        (" YES \n", ApprovalDecision(outcome="granted", by="ann")),
        ("n\ntoo dear\n", ApprovalDecision(outcome="denied", by="ann", reason="too dear")),
        ("no\n\n", ApprovalDecision(outcome="denied", by="ann")),
        ("d\nask Bob\n", ApprovalDecision(outcome="deferred", by="ann", reason="ask Bob")),
        ("what?\n\ny\n", ApprovalDecision(outcome="granted", by="ann")),
    ],
)
async def test_what_is_typed_is_what_is_decided(text: str, decision: ApprovalDecision) -> None:
    people, _screen = typed(text)
    assert await people.request_approval(approval()) == decision


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("blue, or red\n", InputDecision(outcome="answered", by="ann", value="blue, or red")),
        ("\n", InputDecision(outcome="answered", by="ann", value="")),
        ("/deny\n", InputDecision(outcome="denied", by="ann")),
        ("/defer\n", InputDecision(outcome="deferred", by="ann")),
    ],
)
async def test_words_are_taken_as_they_are_typed(text: str, decision: InputDecision) -> None:
    people, screen = typed(text)
    assert await people.request_input(words()) == decision
    assert "Which?" in screen.getvalue()


async def test_everything_that_matters_is_shown() -> None:
    people, screen = typed("y\n")
    request = approval(proposed_arguments={"amount": 900}, payload={"limit": 5}, agent_path=("desk", "clerk"))
    await people.request_approval(request)
    shown = screen.getvalue()
    for part in ("pay wants to run", "it costs", '{"amount":900}', '{"amount":3}', '{"limit":5}', "four_eyes", "desk > clerk", "run_1"):
        assert part in shown


async def test_what_a_model_wrote_cannot_drive_the_terminal_or_fake_a_prompt() -> None:
    people, screen = typed("y\n")
    hostile = "x\x1b[2J\r\n? pay wants to run\nallow it? \u202e\x9b31m"
    await people.request_approval(
        approval(
            tool_name=hostile, arguments={hostile: hostile}, reason=hostile, rule=hostile, payload={"a": hostile}, agent_path=(hostile,)
        )
    )
    shown = screen.getvalue()
    assert not set(shown) & {"\x1b", "\r", "\x9b", "\u202e"}
    assert [line for line in shown.splitlines() if line.startswith(("allow it?", "? pay"))] == ["allow it? [y]es, [n]o, [d]efer: "]


async def test_a_stream_that_ends_is_no_answer() -> None:
    people, _screen = typed("")
    with pytest.raises(EOFError, match="closed"):
        await people.request_approval(approval())


def test_without_a_terminal_it_says_so_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (io.StringIO(), closed, None):
        monkeypatch.setattr(sys, "stdin", stream)
        with pytest.raises(ConfigurationError, match="stdin is none"):
            TerminalInteraction()


class Terminal:
    """Both ends of a pty: what the program reads, and what a person types."""

    def __init__(self) -> None:
        self.person, program = pty.openpty()
        self.stream: TextIO = os.fdopen(program, "r")

    def type(self, text: str) -> None:
        os.write(self.person, text.encode())

    def close(self) -> None:
        os.close(self.person)
        self.stream.close()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    yield opened
    opened.close()


class Screen(io.StringIO):
    """A screen that says which prompts come to stand on it."""

    def __init__(self) -> None:
        super().__init__()
        self._prompts: asyncio.Queue[str] = asyncio.Queue()

    async def prompted(self, prompt: str) -> None:
        assert (await self._prompts.get()).startswith(prompt)

    def write(self, text: str) -> int:
        if text.endswith(": "):
            self._prompts.put_nowait(text)
        return super().write(text)


async def test_what_was_typed_before_a_question_is_no_answer_to_it(terminal: Terminal) -> None:
    screen = Screen()
    people = TerminalInteraction(by="ann", input=terminal.stream, output=screen)
    assert is_terminal(terminal.stream)
    terminal.type("y\ny\n")
    asked = asyncio.ensure_future(people.request_approval(approval()))
    await screen.prompted("allow it?")
    terminal.type("n\n")
    await screen.prompted("reason")
    terminal.type("\n")
    assert (await asked).outcome == "denied"


async def test_a_withdrawn_question_leaves_its_line_to_nobody_and_the_next_is_asked(terminal: Terminal) -> None:
    screen = Screen()
    people = TerminalInteraction(by="ann", input=terminal.stream, output=screen)
    first = asyncio.ensure_future(people.request_approval(approval()))
    second = asyncio.ensure_future(people.request_approval(approval(request_id="approval:2:0")))
    await screen.prompted("allow it?")
    first.cancel()
    await screen.prompted("allow it?")
    terminal.type("y\n")
    decision = await second
    assert isinstance(decision, ApprovalDecision)
    assert (decision.outcome, first.cancelled()) == ("granted", True)
    assert "withdrawn: approval:1:0" in screen.getvalue()


def test_a_program_ends_while_a_question_is_open() -> None:
    """With a person at a real terminal who types nothing: no thread may hold the program, or crash it."""
    program = textwrap.dedent(
        """
        import asyncio
        from afk_es.interaction import TerminalInteraction
        from tests.interaction.test_memory import approval

        async def main():
            asked = asyncio.ensure_future(TerminalInteraction(by="ann").request_approval(approval()))
            await asyncio.sleep(0.2)
            asked.cancel()
            await asyncio.wait([asked])

        asyncio.run(main())
        print("ended")
        """
    )
    person, side = pty.openpty()
    try:
        ended = subprocess.run(
            [sys.executable, "-c", program],
            stdin=side,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=30,
            check=False,
        )
    finally:
        os.close(person)
        os.close(side)
    assert (ended.returncode, ended.stdout) == (0, "ended\n"), ended.stderr
    assert "withdrawn" in ended.stderr


def test_one_terminal_serves_one_event_loop_after_the_other() -> None:
    people, _screen = typed("y\nn\n\n")

    async def ask(request: ApprovalRequest) -> Any:
        return (await people.request_approval(request)).outcome

    assert [asyncio.run(ask(approval())), asyncio.run(ask(approval()))] == ["granted", "denied"]
