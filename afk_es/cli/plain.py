"""The line debugger at a terminal, or fed by a script: reads lines, has the headless half do them, writes what it answers.

At a terminal there is a prompt, and readline where Python has it; otherwise there is nothing but answers. History is kept in memory only:
what was asked of a run is nobody's business.
"""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from afk_es.cli import output
from afk_es.cli.failures import INTERRUPTED, NEGATIVE, OK, exit_code
from afk_es.cli.reading import Name, opened
from afk_es.debugger.keyframe_file import KeyframeFile
from afk_es.debugger.plain import Console, completions, execute
from afk_es.errors import AfkError, ConfigurationError, InvariantError
from afk_es.log import EventLog
from afk_es.redaction import Redaction
from afk_es.views import visible

PROMPT = "(afk-es) "


F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Script:
    """What is to be done before anybody is asked, as the options of a verb have it.

    Attributes:
        files: of lines.
        commands: lines, after those of the files.
        batch: nobody is asked afterwards.
    """

    files: tuple[Path, ...] = ()
    commands: tuple[str, ...] = ()
    batch: bool = False


NOTHING_FIRST = Script()


def plain_options(command: F) -> F:
    """Adds --plain, and -x, -e and --batch, which mean it; handed to the command as `plain`: a `Script`, or None where nobody asked for it."""

    @functools.wraps(command)
    def call(*args: Any, plain: bool, files: tuple[Path, ...], commands: tuple[str, ...], batch: bool, **options: Any) -> Any:
        script = Script(files, commands, batch) if plain or files or commands or batch else None
        return command(*args, plain=script, **options)

    wrapped: Any = call
    wrapped = click.option("--batch", is_flag=True, help="With -x or -e: leave when they are done.")(wrapped)
    wrapped = click.option("-e", "commands", multiple=True, metavar="COMMAND", help="Do a line of --plain first; may be repeated.")(wrapped)
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    wrapped = click.option("-x", "files", multiple=True, type=path, metavar="FILE", help="Do the lines of a file first; may be repeated.")(
        wrapped
    )
    return click.option("--plain", is_flag=True, help="A line at a time in gdb's words, for screen readers and scripts.")(wrapped)  # type: ignore[no-any-return]


class Line(NamedTuple):
    """A line of a script, and where it stands; one that a person typed stands nowhere."""

    text: str
    place: str = ""


def run_plain(
    name: Name,
    *,
    at: str | None = None,
    script: Script = NOTHING_FIRST,
    redaction: Redaction | None = None,
) -> int:
    """Debug a run by lines: first those of the files, then the commands, then, unless it is a batch, those of stdin.

    Args:
        name: the log and the run that are meant.
        at: where the cursor begins, a position; None: at the start.
        script: what is done before stdin is read.
        redaction: what is kept back; None for nothing.

    Returns:
        The exit code. A script's is that of its last negative answer, 0 without one; it ends at the first line that cannot be done. A
        person at a terminal has seen the answers, and leaves with 0.

    Raises:
        AfkError: there is no such log, run or position.
        OSError: a file cannot be read.
    """
    first = [*_of_files(script.files), *(Line(command, f"-e {command!r}") for command in script.commands)]
    if name.location == ":memory:":
        raise ConfigurationError("a log in memory is gone with its process; name a file with --db")
    interactive = not script.batch and sys.stdin is not None and sys.stdin.isatty()
    with asyncio.Runner() as runner:
        log = runner.run(opened(name.location))
        try:
            console = runner.run(_opened(log, name.run, at or "start", redaction))
            face = _Face(runner, console)
            face.begin()
            if face.script(first) and not script.batch:
                if interactive:
                    face.talk()
                    return OK
                face.script(_of_stdin())
            return face.code
        finally:
            runner.run(log.close())


async def _opened(log: EventLog, run: str, at: str, redaction: Redaction | None) -> Console:
    return await Console.open(log, run, at=at, redaction=redaction, keyframes=KeyframeFile())


def _of_files(files: Iterable[Path]) -> Iterator[Line]:
    for path in files:
        for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            yield Line(text, f"{path}:{number}")


def _of_stdin() -> Iterator[Line]:
    for number, text in enumerate(sys.stdin, 1):
        yield Line(text, f"stdin:{number}")


class _Face:
    """Between the lines and the console. It has the event loop run for one command at a time, so that Ctrl-C ends the command alone."""

    def __init__(self, runner: asyncio.Runner, console: Console) -> None:
        self._runner = runner
        self._console = console
        self.code: int = OK

    def begin(self) -> None:
        """Say which run it is, and where the cursor stands."""
        console = self._console
        output.echo(f"run {visible(console.recording.run_id)}")
        for line in self._runner.run(_here(console)):
            output.echo(line)

    def script(self, lines: Iterable[Line]) -> bool:
        """Do the lines of a script; whether to go on afterwards. An empty line and one that begins with # mean nothing in it."""
        for line in lines:
            text = line.text.strip()
            if not text or text.startswith("#"):
                continue
            try:
                if not self._do(text):
                    return False
            except KeyboardInterrupt:
                output.note("interrupted", "bad")
                self.code = INTERRUPTED
                return False
            except AfkError as error:
                output.note(f"afk-es: {line.place}: {error}", "bad")
                self.code = exit_code(error)
                return False
        return True

    def talk(self) -> None:
        """Do what a person says, until they leave. A mistake costs a line, and Ctrl-C what runs at the moment."""
        _make_comfortable()
        output.note("help lists the commands; an empty line does the last one again; Ctrl-C ends what runs, quit or Ctrl-D leaves")
        while True:
            try:
                text = input(PROMPT)
                if not self._do(text):
                    return
            except EOFError:
                output.echo()
                return
            except KeyboardInterrupt:
                output.note("\ninterrupted; the cursor is where it was", "mark")
            except InvariantError:
                raise
            except AfkError as error:
                output.note(str(error), "bad")

    def _do(self, text: str) -> bool:
        reply = self._runner.run(execute(self._console, text))
        for line in reply.lines:
            output.echo(line)
        if not reply.ok:
            self.code = NEGATIVE
        return not reply.quit


async def _here(console: Console) -> tuple[str, ...]:
    return console.written([await console.line(console.session.seq)]).lines


def _make_comfortable() -> None:
    """History and completion of commands, where this Python has readline."""
    with suppress(ImportError):
        import readline

        found: list[str] = []

        def complete(text: str, index: int) -> str | None:
            if index == 0:
                found[:] = completions(text) if readline.get_begidx() == 0 else []
            return found[index] if index < len(found) else None

        readline.set_completer(complete)
        readline.set_completer_delims(" ")
        readline.parse_and_bind("tab: complete")
