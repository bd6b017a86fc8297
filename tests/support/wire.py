"""Where a hostile server speaks: lines on a process's stdout, or the raw bytes of an HTTP answer. It knows nothing of what it carries."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

Message = dict[str, Any]


class Wire(Protocol):
    """The way back for what is said after one message of the client."""

    async def say(self, text: str) -> None:
        """A line, or one event of a stream: whole, as the transport frames it."""
        ...

    async def raw(self, data: bytes) -> None:
        """Bytes, unframed."""
        ...

    async def end(self) -> None:
        """Never say anything again here."""
        ...

    async def die(self) -> None:
        """The process is gone, or the connection is reset."""
        ...


async def send(wire: Wire, message: Any) -> None:
    """A JSON value."""
    await wire.say(json.dumps(message))


async def answer(wire: Wire, request: Message, result: Any) -> None:
    """The result of a request."""
    await send(wire, {"jsonrpc": "2.0", "id": request["id"], "result": result})


async def refuse(wire: Wire, request: Message, code: int, message: str) -> None:
    """The error of a request."""
    await send(wire, {"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})


class Journal:
    """What a server was told, in a file, so that it outlives the server."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, entry: Any) -> None:
        """Keep it, with one system call."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(file)

    def entries(self) -> list[Any]:
        """All of it, in order."""
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


Heard = Callable[[Wire, Message], Coroutine[Any, Any, None]]
"""What a server does about a message."""

Fetched = Callable[["Answer", str, str], Coroutine[Any, Any, None]]
"""What a server does about another request than a POST: its method and path."""


# ------------------------------------------------------------------------------------------------------------------------------- stdio


class Lines:
    """Stdout."""

    async def say(self, text: str) -> None:
        await self.raw(text.encode("utf-8", "surrogatepass") + b"\n")

    async def raw(self, data: bytes) -> None:
        # In a thread: a client that does not read must not keep the server from hearing.
        await asyncio.to_thread(_write, data)

    async def end(self) -> None:
        os.close(1)

    async def die(self) -> None:
        os._exit(3)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


async def on_stdio(heard: Heard, *, stays: bool = False) -> None:
    """Serve this process's stdin until it ends; `stays`: and then do not go."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=2**26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    wire = Lines()
    at_work: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        task = loop.create_task(heard(wire, json.loads(line)))
        at_work.add(task)
        task.add_done_callback(at_work.discard)
    if stays:
        await asyncio.Event().wait()
    os._exit(0)


# -------------------------------------------------------------------------------------------------------------------------------- HTTP


class Answer:
    """The answer to one POST: a stream of events, unless bytes come first."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.begun = False

    async def say(self, text: str) -> None:
        if not self.begun:
            await self.raw(head(200, {"content-type": "text/event-stream"}))
        await self.raw(b"event: message\ndata: " + text.encode("utf-8", "surrogatepass") + b"\n\n")

    async def raw(self, data: bytes) -> None:
        self.begun = True
        self._writer.write(data)
        await self._writer.drain()

    async def end(self) -> None:
        self._writer.close()

    async def die(self) -> None:
        self._writer.transport.abort()


def nothing(status: int) -> bytes:
    """A whole answer without a body."""
    return head(status, {"content-length": "0"})


def head(status: int, headers: dict[str, str] | None = None) -> bytes:
    """The head of an answer that ends when the connection does."""
    fields = {"connection": "close"} | (headers or {})
    return "\r\n".join([f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in fields.items()), "", ""]).encode()


class Post(dict[str, Any]):
    """A message that came by HTTP, with the path and the headers of its request."""

    path: str
    headers: dict[str, str]


@asynccontextmanager
async def on_http(heard: Heard, fetched: Fetched) -> AsyncIterator[str]:
    """Serve the address that is yielded, which ends without a slash."""
    at_work: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        at_work.add(task)
        try:
            await _one(reader, writer, heard, fetched)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            at_work.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**26)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(at_work):
            task.cancel()
        await asyncio.gather(*at_work, return_exceptions=True)


async def _one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: Heard, fetched: Fetched) -> None:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    method, path, _version = lines[0].split(" ")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    wire = Answer(writer)
    if method != "POST":
        await fetched(wire, method, path)
        return
    message = Post(json.loads(body))
    message.path, message.headers = path, headers
    await heard(wire, message)
    if not wire.begun:
        await wire.raw(nothing(202))
