"""A server as a subprocess, spoken to in lines over its stdin and stdout: as the SDK's own transport, for servers that nobody vouches for.

The SDK's reads a line of any length, at a cost that grows with the square of it, and lets the server write to this program's terminal. Here
a line has a bound, and what a server writes to stderr goes to the log, and the last of it into the error when it dies.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process, SubprocessStreamProtocol
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import mcp_types
from mcp.client._transport import TransportStreams
from mcp.client.stdio import FORCE_KILL_TIMEOUT, PROCESS_TERMINATION_TIMEOUT, StdioServerParameters, get_default_environment, stdio_client
from mcp.shared.message import SessionMessage

from afk_es.errors import ToolUnavailableError
from afk_es.mcp.remote_results import cleaned

_LOG = logging.getLogger("afk_es.mcp")

_CHUNK_BYTES = 2**16

_SHOWN_CHARS = 300
"""Of a line that is logged, or part of an error."""

_LINES_LOGGED = 1_000
"""Of one server's stderr. What it writes beyond that is read, so that it can go on, and let go."""

_LAST_WORDS_S = 0.3
"""What its exit code and the end of its stderr have for coming after the end of its stdout."""

_FLUSHED_S = 0.5
"""What it has for taking what was said to it before its stdin is closed."""

_REAPED_S = 2.0
_LOOK_S = 0.01
_CLOSED = (anyio.ClosedResourceError, anyio.BrokenResourceError)


def spoken_to(parameters: StdioServerParameters, max_bytes: int) -> Any:
    """A transport for the SDK's Client. The subprocess begins when it is entered, and has ended when it is left.

    Args:
        max_bytes: of one line. A longer one ends the connection, which then fails with a ToolUnavailableError that says so. Not on Windows,
            where the transport is the SDK's own.
    """
    # There a subprocess and what it starts are held together by what only the SDK has at hand.
    return stdio_client(parameters) if sys.platform == "win32" else _posix(parameters, max_bytes)


@asynccontextmanager
async def _posix(parameters: StdioServerParameters, max_bytes: int) -> AsyncIterator[TransportStreams]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.subprocess_exec(
        lambda: SubprocessStreamProtocol(_CHUNK_BYTES, loop),
        parameters.command,
        *parameters.args,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=get_default_environment() | (parameters.env or {}),
        cwd=parameters.cwd,
        # So that it is ended with all that it has started, and takes no Ctrl-C that is meant for us.
        start_new_session=True,
    )
    # From here to the task group nothing is awaited: a cancellation in between would leave the process behind.
    server = _Subprocess(Process(transport, protocol, loop), max_bytes)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.hear)
            tasks.start_soon(server.hear_complaints)
            tasks.start_soon(server.tell)
            try:
                yield server.read, server.write
            finally:
                # All of it ends in time, so whoever is cancelled here still sees to it.
                with anyio.CancelScope(shield=True):
                    await server.end()
                tasks.cancel_scope.cancel()
    finally:
        transport.close()


class _TooLong(Exception):
    """A line that is longer than it may be."""


class _Subprocess:
    """One subprocess, and the streams of messages to and from it.

    Attributes:
        read: what it says. Lines that are no messages come as exceptions, as from the SDK's transports.
        write: what is said to it.
    """

    def __init__(self, process: Process, max_bytes: int) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._max_bytes = max_bytes
        self._heard, self.read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
        self.write, self._said = anyio.create_memory_object_stream[SessionMessage](0)
        self._flushed = asyncio.Event()
        self._silenced = asyncio.Event()
        self._last_words = ""
        self._ending = False

    async def hear(self) -> None:
        """Pass on what it says.

        Raises:
            ToolUnavailableError: it says no more, or too much at once.
        """
        try:
            async with self._heard:
                async for line in self._lines():
                    await self._heard.send(_message(line))
                # Whoever heard before this that nothing more comes would go away, and never know why.
                reason = await self._why()
        except _CLOSED:
            # Nobody listens any more.
            pass
        except _TooLong:
            raise ToolUnavailableError(f"it said more than {self._max_bytes} bytes at once, and is not listened to any more") from None
        else:
            if not self._ending:
                raise ToolUnavailableError(reason)
        # One that is stuck in saying something does not hear that it should go.
        while await self._stdout.read(_CHUNK_BYTES):
            pass

    async def _lines(self) -> AsyncGenerator[bytes, None]:
        line = bytearray()
        while chunk := await self._stdout.read(_CHUNK_BYTES):
            *ended, rest = chunk.split(b"\n")
            for each in ended:
                line += each
                if len(line) > self._max_bytes:
                    raise _TooLong
                yield bytes(line)
                line.clear()
            line += rest
            if len(line) > self._max_bytes:
                raise _TooLong

    async def _why(self) -> str:
        """Why it says no more. What it complained of at the end may still be on its way."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._silenced.wait()
                await self._gone(_LAST_WORDS_S)
        code = self._process.returncode
        how = "it closed its output" if code is None else f"it ended with exit code {code}"
        return f"{how}, and had said: {self._last_words}" if self._last_words else how

    async def hear_complaints(self) -> None:
        """Log what it writes to stderr, and keep the last of it. However much it is, it can go on."""
        logged, begun = 0, b""
        while chunk := await self._stderr.read(_CHUNK_BYTES):
            *ended, rest = (begun + chunk).split(b"\n")
            begun = rest[: 4 * _SHOWN_CHARS]
            for text in filter(None, map(_visible, ended)):
                self._last_words = text
                logged += 1
                if logged <= _LINES_LOGGED:
                    _LOG.info("server process %d: %s", self._process.pid, text)
        self._last_words = _visible(begun) or self._last_words
        self._silenced.set()

    async def tell(self) -> None:
        """Pass on what is said to it."""
        try:
            async with self._said:
                async for message in self._said:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    self._stdin.write(text.encode("utf-8", "replace") + b"\n")
                    await self._stdin.drain()
        except (*_CLOSED, OSError):
            # It may live on and hear nothing: whoever waits for an answer is told that none will come.
            await self._heard.aclose()
        finally:
            self._flushed.set()

    async def end(self) -> None:
        """Let it take what was said, close its stdin, and end it, with what it has started, where it does not go by itself."""
        self._ending = True
        self.read.close()
        self.write.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._flushed.wait(), _FLUSHED_S)
        self._stdin.close()
        if not await self._gone(PROCESS_TERMINATION_TIMEOUT):
            self._signal(signal.SIGTERM)
            if not await self._gone(FORCE_KILL_TIMEOUT):
                self._signal(signal.SIGKILL)
                if not await self._gone(_REAPED_S):
                    _LOG.warning("server process %d is still there after it was killed", self._process.pid)
        await self._heard.aclose()
        await self._said.aclose()

    def _signal(self, number: signal.Signals) -> None:
        # The whole group, which has its leader's id.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    async def _gone(self, timeout_s: float) -> bool:
        # Not `wait()`: that waits for the ends of its pipes too, which a process that it started may hold.
        with anyio.move_on_after(timeout_s):
            while self._process.returncode is None:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_LOOK_S)
        return self._process.returncode is not None


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(mcp_types.jsonrpc_message_adapter.validate_json(line.decode("utf-8", "replace"), by_name=False))
    except ValueError as error:
        _LOG.warning("a line that is no message was passed over: %s", _visible(line))
        return error


def _visible(line: bytes) -> str:
    return cleaned(line[: 4 * _SHOWN_CHARS].decode("utf-8", "replace"), _SHOWN_CHARS).strip()
