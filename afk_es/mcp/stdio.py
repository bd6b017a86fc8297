"""A server over the stdin and stdout of its process, ended in order by the end of its input or by a signal.

Nothing but the protocol is on stdout: what tools print goes to stderr, and so does what their own processes write.
"""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from typing import Any, Final

import anyio
from mcp.server.stdio import stdio_server

LONGEST_LINE: Final = 4 * 1024 * 1024
"""Bytes of a message, as over HTTP."""

_TOO_LONG: Final = "a message of more than 4 MiB\n"
"""Stands for a line that is: no JSON, so that its sender is told."""


async def serve_stdio(serve: Callable[[Any, Any], Awaitable[None]], stop: Callable[[], Awaitable[None]], hurry: Callable[[], None]) -> None:
    """Serve this process's stdin and stdout until the input ends, or until SIGTERM or SIGINT comes.

    Args:
        serve: serves the two streams of the SDK's until the first ends.
        stop: awaited at the first signal: takes no more calls, and returns when those under way are over, or have had their time.
        hurry: called at the second, and at the first after the end of the input.
    """
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()
    with ExitStack() as stack:
        lines = await _lines(loop, stack)

        async def ended_by_signal() -> None:
            await signalled.wait()
            await stop()
            if lines is not None:
                lines.end()

        def on_signal() -> None:
            if signalled.is_set() or (lines is not None and lines.ended):
                hurry()
            signalled.set()

        async with stdio_server(stdin=lines) as (read, write), anyio.create_task_group() as tasks:
            with redirect_stdout(sys.stderr), _signals(loop, on_signal):
                tasks.start_soon(ended_by_signal)
                await serve(read, write)
                tasks.cancel_scope.cancel()


@contextmanager
def stdout_kept() -> Iterator[None]:
    """While this lasts, what is printed goes to stderr, whoever prints it: stdout is the protocol's, also before it is spoken."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


class _Lines(anyio.AsyncFile[str]):
    """The lines of a pipe, read by the event loop. A thread that waits for the next line, as a file needs it, would keep the process from
    ending before its client does.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        super().__init__(sys.stdin)
        self._reader = reader
        self._stopped = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        """Read no further."""
        self._stopped.set()

    async def readline(self) -> str:
        """The next line; "" at the end."""
        reading = asyncio.ensure_future(self._reader.readline())
        stopped = asyncio.ensure_future(self._stopped.wait())
        try:
            await asyncio.wait((reading, stopped), return_when=asyncio.FIRST_COMPLETED)
            line = reading.result() if reading.done() else b""
        except ValueError:
            return _TOO_LONG
        finally:
            reading.cancel()
            stopped.cancel()
        self.ended = not line
        return line.decode(errors="replace")


async def _lines(loop: asyncio.AbstractEventLoop, stack: ExitStack) -> _Lines | None:
    """stdin, where it is a pipe, a socket or a terminal; None for all else, a file or /dev/null, which ends by itself and cannot be waited for.
    Others read nothing from it meanwhile.
    """
    mode = os.fstat(0).st_mode
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        return None
    kept = os.dup(0)
    stack.callback(os.close, kept)
    blocking = os.get_blocking(kept)
    # Others have the same pipe open, and may not expect that it does not block.
    stack.callback(os.set_blocking, kept, blocking)
    stack.callback(os.dup2, kept, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    transport, _protocol = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(kept), "rb", 0))
    stack.callback(transport.close)
    return _Lines(reader)


@contextmanager
def _signals(loop: asyncio.AbstractEventLoop, on_signal: Callable[[], None]) -> Iterator[None]:
    """While this lasts, SIGTERM and SIGINT mean this. In another thread than the main one signals are somebody else's."""
    before: dict[signal.Signals, Any] = {}
    try:
        for each in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(each)
            try:
                loop.add_signal_handler(each, on_signal)
            except (ValueError, RuntimeError):
                break
            before[each] = handler
        yield
    finally:
        for each, handler in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, handler)
