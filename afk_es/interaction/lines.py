"""Lines that a person types, for an event loop: each is waited for without blocking, and the wait can be given up."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TextIO

_GLANCE_S = 0.1
"""How often a reader of a terminal looks whether anybody still waits for its line."""


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person sits there."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        # It is closed.
        return False


class Lines:
    """Reads lines in a daemon thread, which lives as long as somebody waits for one.

    A line that comes when nobody waits any more is dropped: it would answer a question that its writer had not seen.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._terminal = is_terminal(stream)
        self._lock = threading.Lock()
        self._waiter: asyncio.Future[str] | None = None
        self._reader: threading.Thread | None = None

    async def next(self) -> str:
        """The next line that comes from now on.

        Raises:
            EOFError: there will be no more.
            OSError, ValueError: the stream cannot be read.
        """
        waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        with self._lock:
            self._waiter = waiter
            if self._reader is None:
                self._reader = threading.Thread(target=self._read, name="afk_es terminal", daemon=True)
                self._reader.start()
        try:
            return await waiter
        finally:
            with self._lock:
                if self._waiter is waiter:
                    self._waiter = None

    def forget_typed(self) -> None:
        """Drop what was typed at the terminal and not read yet."""
        if not self._terminal:
            return
        with suppress(ImportError, OSError):
            import termios

            termios.tcflush(self._stream.fileno(), termios.TCIFLUSH)

    def _read(self) -> None:
        while self._wait_for_input():
            line: str | Exception
            try:
                line = self._stream.readline()
            except Exception as error:  # noqa: BLE001 - a stream that the caller made; whoever waits for the line is told
                line = error
            with self._lock:
                waiter, self._waiter = self._waiter, None
                if waiter is None and not self._terminal:
                    # Whoever waits next starts another reader; this line is nobody's.
                    self._reader = None
                    return
                if waiter is not None:
                    self._reader = None
                    _hand_over(waiter, line)
                    return

    def _wait_for_input(self) -> bool:
        """Whether there is a line, or the stream has to be asked to know; False once nobody waits.

        A thread that sat in `readline` on stdin while the interpreter ends would hold the lock that the interpreter needs to close it.
        """
        if not self._terminal:
            return True
        import select

        while True:
            with self._lock:
                if self._waiter is None:
                    self._reader = None
                    return False
            try:
                ready, _, _ = select.select([self._stream], [], [], _GLANCE_S)
            except (OSError, ValueError):
                # No terminal that can be watched, as on Windows, or closed: reading it will tell.
                return True
            if ready:
                return True


def _hand_over(waiter: asyncio.Future[str], line: str | Exception) -> None:
    def settle() -> None:
        if waiter.done():
            return
        if isinstance(line, Exception):
            waiter.set_exception(line)
        elif not line:
            waiter.set_exception(EOFError("the terminal was closed"))
        else:
            waiter.set_result(line)

    # The event loop may have ended meanwhile, and then nobody waits.
    with suppress(RuntimeError):
        waiter.get_loop().call_soon_threadsafe(settle)
