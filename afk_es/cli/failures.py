"""What goes wrong, as one line on stderr and an exit code. A traceback is for our bugs only."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import click

from afk_es.errors import AfkError, CorruptLogError, InvariantError, LogError, RunNotFoundError, TaskNotFoundError, UsageError

OK = 0
NEGATIVE = 1
WRONG_USAGE = 2
NOT_FOUND = 3
INTEGRITY = 4
INTERRUPTED = 130
BROKEN_PIPE = 141
"""128 + SIGPIPE: what a shell reports of any program whose reader left."""


@contextmanager
def reported() -> Iterator[None]:
    """Turns our exceptions, Ctrl-C and a reader that left into exits."""
    _open_what_is_closed()
    _encode_anything()
    try:
        yield
    except click.UsageError as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            raise  # A group without a verb: what it holds is our own help.
        # Click names what it was given as it is, and that may have come from anybody: a file's name in a wildcard.
        if error.message.isprintable():
            raise
        from afk_es.views.printable import visible

        raise click.UsageError(visible(error.message, multiline=True), error.ctx) from None
    except BrokenPipeError:
        _leave_quietly()
    except KeyboardInterrupt:
        _exit("interrupted", INTERRUPTED)
    except InvariantError as error:
        message = (
            f"this is a bug in afk_es, please report it with the output of `afk-es log {shlex.quote(error.run_id)} --format json`: {error}"
        )
        _exit(message, INTEGRITY)
    except AfkError as error:
        _exit(str(error), exit_code(error))
    except OSError as error:
        _exit(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", NOT_FOUND)


def exit_code(error: AfkError) -> int:
    """The exit code that an exception of ours means."""
    match error:
        case CorruptLogError():
            return INTEGRITY
        case RunNotFoundError() | TaskNotFoundError() | LogError():
            return NOT_FOUND
        case UsageError():
            return WRONG_USAGE
        case _:
            return NEGATIVE


def _exit(message: str, code: int) -> NoReturn:
    from afk_es.cli import output

    output.echo(f"afk-es: {message}", err=True)
    raise click.exceptions.Exit(code)


def _leave_quietly() -> NoReturn:
    # What is still buffered would raise again when the interpreter flushes it at exit.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise click.exceptions.Exit(BROKEN_PIPE)


def _open_what_is_closed() -> None:
    """Whoever calls us may have closed a stream (`>&-`). Then there is nobody to tell, and that is no reason for a traceback."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process lasts


def _encode_anything() -> None:
    """An ASCII terminal must not turn a log that holds an umlaut into a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
