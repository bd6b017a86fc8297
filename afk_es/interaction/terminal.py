"""People who are asked at a terminal: one question at a time, in lines, with nothing in them that could fake a question or an answer."""

from __future__ import annotations

import asyncio
import sys
from typing import Any, TextIO

from afk_es.errors import ConfigurationError
from afk_es.interaction.lines import Lines, is_terminal
from afk_es.interaction.port import ApprovalDecision, ApprovalRequest, InputDecision, InputRequest, PendingRequest
from afk_es.machine.values import clean_text
from afk_es.views.printable import compact_json, visible

_SHOWN = 2_000
"""Characters of one value that are shown; whoever decides should see all of what matters, and a screen has an end."""


def user_name() -> str:
    """The name of whoever runs this process, as the operating system has it."""
    import getpass

    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        # A container may run under a number that has no name.
        return "somebody"


class TerminalInteraction:
    """An `InteractionProvider` that asks at a terminal: questions on stderr, answers from stdin.

    Args:
        by: the name under which answers are recorded; default the name of the user.
        input: where answers are read from; default stdin, which must then be a terminal.
        output: where questions are written; default stderr.

    Raises:
        ConfigurationError: stdin is not a terminal and no other input is given.

    Lines are read in a daemon thread, so that a run, and the program, can end while a question is open. What was typed before a question is
    shown is no answer to it.
    """

    def __init__(self, *, by: str | None = None, input: TextIO | None = None, output: TextIO | None = None) -> None:
        if input is None:
            if not is_terminal(sys.stdin):
                raise ConfigurationError(
                    "questions are asked at a terminal, and stdin is none; run it in one, hand in the streams "
                    "(TerminalInteraction(input=, output=)), or use interaction_mode='external' and answer from elsewhere"
                )
            input = sys.stdin
        self._by = by if by is not None else user_name()
        self._lines = Lines(input)
        self._output = output
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def request_approval(self, request: ApprovalRequest) -> ApprovalDecision:
        """See `InteractionProvider.request_approval`."""
        async with self._turn_of_mine():
            try:
                return await self._approval(request)
            except asyncio.CancelledError:
                self._withdrawn(request)
                raise

    async def request_input(self, request: InputRequest) -> InputDecision:
        """See `InteractionProvider.request_input`."""
        async with self._turn_of_mine():
            try:
                return await self._input(request)
            except asyncio.CancelledError:
                self._withdrawn(request)
                raise

    async def _approval(self, request: ApprovalRequest) -> ApprovalDecision:
        self._show(request, f"{request.tool_name} wants to run", request.reason)
        outcomes = {"y": "granted", "yes": "granted", "n": "denied", "no": "denied", "d": "deferred", "defer": "deferred"}
        while (outcome := outcomes.get((await self._line("allow it? [y]es, [n]o, [d]efer: ")).strip().lower())) is None:
            self._say("please answer y, n or d")
        reason = "" if outcome == "granted" else (await self._line("reason (Enter for none): ")).strip()
        return ApprovalDecision.model_validate({"outcome": outcome, "by": self._by, "reason": clean_text(reason) or None})

    async def _input(self, request: InputRequest) -> InputDecision:
        self._show(request, f"{request.tool_name} needs your words", request.prompt)
        line = await self._line("your words (/deny or /defer to give none): ")
        command = line.strip().lower()
        if command in ("/deny", "/defer"):
            outcome = {"/deny": "denied", "/defer": "deferred"}[command]
            return InputDecision.model_validate({"outcome": outcome, "by": self._by})
        return InputDecision(outcome="answered", by=self._by, value=clean_text(line.rstrip("\r\n")))

    def _turn_of_mine(self) -> asyncio.Lock:
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._turn, self._loop = asyncio.Lock(), loop
        return self._turn

    def _show(self, request: PendingRequest, title: str, said: str | None) -> None:
        self._say("")
        self._say(f"? {title}")
        if said:
            self._say(f"  {said}")
        if request.proposed_arguments is not None:
            self._say(f"  the model asked for  {_shown(request.proposed_arguments)}")
            self._say(f"  it would run with    {_shown(request.arguments)}")
        else:
            self._say(f"  arguments  {_shown(request.arguments)}")
        if request.payload:
            self._say(f"  details    {_shown(request.payload)}")
        self._say(f"  rule       {request.rule or 'none'}")
        self._say(f"  agent      {' > '.join(request.agent_path)}")
        self._say(f"  run        {request.run_id}  request {request.request_id}")
        if request.expires_at is not None:
            self._say(f"  until      {request.expires_at.astimezone():%Y-%m-%d %H:%M:%S}, then the fallback answers")

    async def _line(self, prompt: str) -> str:
        self._lines.forget_typed()
        self._write(prompt)
        return await self._lines.next()

    def _withdrawn(self, request: PendingRequest) -> None:
        self._say(f"\n  (withdrawn: {request.request_id} needs no answer here any more)")

    def _say(self, line: str) -> None:
        # One line at a time goes through `visible`: the break that ends it is the only one, whatever a model wrote.
        lead = "\n" if line.startswith("\n") else ""
        self._write(f"{lead}{visible(line.removeprefix(lead))}\n")

    def _write(self, text: str) -> None:
        output = self._output if self._output is not None else sys.stderr
        output.write(text)
        output.flush()


def _shown(value: Any) -> str:
    text = compact_json(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text) - _SHOWN} characters more)"
