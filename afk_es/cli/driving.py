"""A run driven from the command line: its text and tools as they come, Ctrl-C, and how to go on afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec

from afk_es.cli import output
from afk_es.cli.failures import BROKEN_PIPE, INTERRUPTED, NEGATIVE, OK
from afk_es.cli.invocation import Invocation
from afk_es.core import AgentResult, AgentStreamEvent
from afk_es.views import clipped, compact_json, visible

_WHOLE = ("completed", "degraded")


class Screen:
    """Writes what a run tells as it goes: its text to stdout where that is a terminal, a line for each tool to stderr."""

    def __init__(self, invocation: Invocation) -> None:
        self._format = invocation.format
        self._db = invocation.db
        self._live = invocation.format == "text" and sys.stdout.isatty()
        self._raw = not self._live and not invocation.markdown
        self._streamed = ""
        self._reader_left = False

    def show(self, event: AgentStreamEvent) -> None:
        """Write what there is to say of an event. A reader that has left does not end the run."""
        if self._format == "jsonl" and event.result is None:
            self._write(lambda: output.write_json_line(_stream_json(event)))
        if event.type == "text_delta":
            self._show_text(event.text_delta or "")
        elif event.type == "step_started":
            self._end_line()
            self._streamed = ""
        elif event.tool_name is not None:
            self._end_line()
            output.note(f"  {clipped(_tool_line(event), output.width() - 2)}")

    def end(self, result: AgentResult) -> int:
        """Write the result and how to look at the run; answers the exit code."""
        if self._format == "text":
            self._write(lambda: self._write_answer(result))
        else:
            data = {"schema": "afk_es.result/1", **result.model_dump(mode="json")}
            self._write(lambda: (output.write_json if self._format == "json" else output.write_json_line)(data))
        if result.error:
            output.note(f"{result.state}: {visible(result.error)}", "mark" if result.state in ("degraded", "interrupted") else "bad")
        for request in result.pending:
            verb = ("approve",) if request.kind == "approval" else ("answer", "TEXT", "--request")
            words = (verb[0], request.run_id, *verb[1:], request.request_id)
            output.note(f"{request.tool_name} waits for {request.kind}; answer with: {output.command(*words, db=self._db)}", "mark")
        output.note(f"{result.run_id} {result.state}; look at it with: {output.command('show', result.run_id, db=self._db)}")
        if self._reader_left:
            return BROKEN_PIPE
        return OK if result.state in _WHOLE else NEGATIVE

    def _show_text(self, text: str) -> None:
        if not self._live:
            return
        self._streamed += text
        self._write(lambda: output.echo(visible(text, multiline=True), nl=False))

    def _end_line(self) -> None:
        if self._live and self._streamed and not self._streamed.endswith("\n"):
            self._write(output.echo)
            self._streamed += "\n"

    def _write_answer(self, result: AgentResult) -> None:
        if result.state == "failed":
            # Its final text is the error, which goes to stderr.
            self._end_line()
        elif self._raw:
            # As it is: stdout is data here, and nobody's terminal.
            sys.stdout.write(result.final_text + "\n" if result.final_text else "")
            sys.stdout.flush()
        elif self._streamed.strip() == result.final_text.strip():
            self._end_line()
        else:
            self._end_line()
            output.echo(visible(result.final_text, multiline=True))

    def _write(self, write: Callable[[], None]) -> None:
        if self._reader_left:
            return
        try:
            write()
        except BrokenPipeError:
            self._reader_left = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _stream_json(event: AgentStreamEvent) -> dict[str, Any]:
    told = {name: value for name in event.__struct_fields__ if (value := getattr(event, name)) is not None}
    return {"schema": "afk_es.stream_event/1", **msgspec.to_builtins(told)}


def _tool_line(event: AgentStreamEvent) -> str:
    match event.type:
        case "tool_started":
            return f"{event.tool_name} ..."
        case "tool_progress":
            so_far = f"{event.progress:g}" + (f"/{event.total:g}" if event.total is not None else "")
            return f"{event.tool_name} {so_far}{': ' if event.message else ''}{event.message}"
        case "tool_completed" if event.tool_success:
            return f"{event.tool_name} -> {compact_json(event.tool_output)}"
        case "tool_completed":
            return f"{event.tool_name} failed: {event.tool_error}"
        case "tool_deferred":
            return f"{event.tool_name} goes on in the background as ticket {event.ticket_id}"
        case "tool_background_resolved":
            return f"{event.tool_name} (ticket {event.ticket_id}) -> {compact_json(event.tool_output)}"
        case "tool_background_failed":
            return f"{event.tool_name} (ticket {event.ticket_id}) failed: {event.tool_error}"
        case _:
            return f"{event.tool_name} {event.type.removeprefix('tool_')}"


class Interrupts:
    """Ctrl-C: the first lays the run down so that it can be resumed, the second ends the process at once.

    Attributes:
        asked: whether there was a first.
    """

    def __init__(self) -> None:
        self.asked: bool = False
        self._resume_command = ""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._interrupt: Callable[[str], Awaitable[None]] | None = None
        self._asking: asyncio.Future[None] | None = None

    def watch(self, interrupt: Callable[[str], Awaitable[None]], resume_command: str) -> None:
        """From now on this is how the run is interrupted, and gone on with. Call it in the event loop that drives the run."""
        self._resume_command = resume_command
        self._loop = asyncio.get_running_loop()
        self._interrupt = interrupt

    @contextmanager
    def installed(self) -> Iterator[None]:
        """While this lasts, Ctrl-C means this. It outlasts the event loop, which may have to wait for a tool's thread."""
        before = signal.signal(signal.SIGINT, self._on_signal)
        try:
            yield
        finally:
            # After a first one the process is about to end, and a second one may come until it has.
            if not self.asked:
                signal.signal(signal.SIGINT, before)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._loop is None:
            raise KeyboardInterrupt
        if self.asked:
            os._exit(INTERRUPTED)
        self.asked = True
        output.note(f"\ninterrupting; go on later with: {self._resume_command}\n(Ctrl-C again ends the process at once)", "mark")
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ask)

    def _ask(self) -> None:
        assert self._interrupt is not None
        self._asking = asyncio.ensure_future(self._interrupt("Ctrl-C"))


def finish(code: int, interrupts: Interrupts) -> None:
    """Leave with the code of the run, or of Ctrl-C."""
    if interrupts.asked:
        code = INTERRUPTED
    if code:
        raise click.exceptions.Exit(code)
