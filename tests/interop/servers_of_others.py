"""Our client at servers in JavaScript: the reference servers of the older protocol, and one on the official SDK of the newer."""

from __future__ import annotations

import re
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

from afk_es.mcp import MCPClient
from afk_es.tools import ToolContext, ToolResult
from tests.interop.report import LEGACY, MODERN, Meeting
from tests.interop.workshop import ROOT, Workshop

READY_S = 20.0


async def met(where: Workshop) -> AsyncIterator[Meeting]:
    """Our client at each of them."""
    async for each in _everything(where):
        yield each
    async for each in _files(where):
        yield each
    for era, protocol in ((LEGACY, "legacy"), (MODERN, MODERN)):
        async with MCPClient(where.script("modern.mjs"), prefix="", protocol=protocol) as client:
            yield await _tried(client, "JavaScript SDK 2", "stdio", era, "add", {"a": 1, "b": 2}, '"sum": 3')
            yield await _tried(client, "JavaScript SDK 2", "stdio", era, "fail", {}, "it cannot be done")


async def _everything(where: Workshop) -> AsyncIterator[Meeting]:
    command = where.package("server-everything")
    async with MCPClient([*command, "stdio"], name="everything", prefix="", env={"PATH": where.environment["PATH"]}) as client:
        async for each in _at_everything(client, "stdio"):
            yield each
    with _listening(where, [*command, "streamableHttp"]) as url:
        async with MCPClient(url, name="everything", prefix="") as client:
            async for each in _at_everything(client, "HTTP"):
                yield each


async def _at_everything(client: MCPClient, transport: str) -> AsyncIterator[Meeting]:
    tools = {tool.name for tool in await client.tools()}
    server = "server-everything"
    yield Meeting("MCPClient", server, transport, LEGACY, "list tools", "passed" if "echo" in tools else "FAILED", f"{len(tools)} tools")
    yield await _tried(client, server, transport, LEGACY, "echo", {"message": "Grüße"}, "Grüße")
    yield await _tried(client, server, transport, LEGACY, "get-sum", {"a": 2, "b": 3}, "5")
    yield await _tried(client, server, transport, LEGACY, "get-structured-content", {"location": "Chicago"}, "temperature")
    yield await _tried(client, server, transport, LEGACY, "get-tiny-image", {}, "image")
    told: list[float] = []
    context = ToolContext(progress=lambda done, total, what: told.append(done))
    arguments = {"duration": 0.3, "steps": 3}
    yield await _tried(client, server, transport, LEGACY, "trigger-long-running-operation", arguments, "completed", context, told)
    yield await _tried(client, server, transport, LEGACY, "get-sum", {"a": "two", "b": 3}, "invalid arguments for get-sum")


async def _files(where: Workshop) -> AsyncIterator[Meeting]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/note.txt"
        command = [*where.package("server-filesystem"), directory]
        async with MCPClient(command, name="files", prefix="files_") as client:
            server, write = "server-filesystem", {"path": path, "content": "hello"}
            yield await _tried(client, server, "stdio", LEGACY, "files_write_file", write, "note.txt")
            yield await _tried(client, server, "stdio", LEGACY, "files_read_text_file", {"path": path}, "hello")
            yield await _tried(
                client, server, "stdio", LEGACY, "files_read_text_file", {"path": "/etc/passwd"}, "outside allowed directories"
            )


async def _tried(
    client: MCPClient,
    theirs: str,
    transport: str,
    era: str,
    name: str,
    arguments: dict[str, Any],
    wanted: str,
    context: ToolContext | None = None,
    told: list[float] | None = None,
) -> Meeting:
    """A call, and whether its result or its error says what it has to, and whether progress was told where it is asked for."""
    tool = next((each for each in await client.tools() if each.name == name), None)
    if tool is None:
        return Meeting("MCPClient", theirs, transport, era, name, "FAILED", "there is no such tool")
    result = await tool.call(arguments, context or ToolContext())
    assert isinstance(result, ToolResult)
    said = str(result.output if result.success else result.error)
    fits = wanted.replace('"', "") in said.replace("'", "").replace('"', "") and (told is None or bool(told))
    return Meeting("MCPClient", theirs, transport, era, name, "passed" if fits else "FAILED", "" if fits else said[:200])


@contextmanager
def _listening(where: Workshop, command: list[str]) -> Iterator[str]:
    """The URL of a server that listens at a port of ours: it takes no 0, and so one is asked for that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        command, cwd=ROOT, env={**where.environment, "PORT": str(port)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(rf"listening on port {port}", line):
                break
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.communicate()
