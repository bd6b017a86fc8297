"""Goal: `afk-es mcp serve` is a server that a client starts, speaks to by stdin and stdout, and ends; also when it is killed.

Method: real processes, the SDK's client, and a tool that leaves marks in a file of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters

from afk_es.core import AgentRunEvent
from afk_es.mcp import IDEMPOTENCY_KEY
from tests.mcp.server.served import ERAS, Era, only_run, text_of

both_eras = pytest.mark.parametrize("era", ERAS)
ROOT = Path(__file__).parents[3]
SERVE = ["-m", "afk_es.cli", "mcp", "serve", "tests.mcp.server.shop:tools", "--db", "calls.db"]

HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


def call(name: str, key: str | None = None, **arguments: Any) -> dict[str, Any]:
    """A request for a call of the older protocol."""
    params: dict[str, Any] = {"name": name, "arguments": arguments}
    if key is not None:
        params["_meta"] = {IDEMPOTENCY_KEY: key}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}


class Served:
    """A server process, spoken to line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.stdin = process.stdin
        self.stdout = process.stdout

    async def send(self, *messages: dict[str, Any]) -> None:
        """Send these."""
        self.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        await self.stdin.drain()

    async def result(self, request_id: int = 1) -> dict[str, Any]:
        """The result of that request. Every line is a message of the protocol."""
        while True:
            message = json.loads(await self.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            if message.get("id") == request_id:
                found: dict[str, Any] = message["result"]
                return found


@asynccontextmanager
async def served(directory: Path, *command: str) -> AsyncIterator[Served]:
    """`afk-es mcp serve` in that directory, greeted, and killed in the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(command or SERVE),
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        server = Served(process)
        await server.send(HELLO)
        await server.result(0)
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def marked(directory: Path) -> list[str]:
    """The marks of the tool, once there are any."""
    async with asyncio.timeout(30):
        while not ((directory / "marks").exists() and (directory / "marks").stat().st_size):  # noqa: ASYNC110 - the file is another process's
            await asyncio.sleep(0.01)
    return (directory / "marks").read_text().splitlines()


def last(events: list[AgentRunEvent]) -> tuple[str, str]:
    return events[-1].type, events[-1].message


@both_eras
async def test_the_sdk_s_client_starts_it_and_nothing_but_the_protocol_is_on_stdout(era: Era, tmp_path: Path) -> None:
    """The client would say so: it reads every line as a message."""
    strange: list[object] = []

    async def note(message: object) -> None:
        if isinstance(message, Exception):
            strange.append(message)

    with (tmp_path / "stderr").open("w+") as stderr:
        params = StdioServerParameters(command=sys.executable, args=SERVE, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        async with Client(_to(params, stderr), mode=era, message_handler=note) as client:
            assert text_of(await client.call_tool("add", {"a": 1, "b": 2})) == "3"
        stderr.seek(0)
        assert stderr.read().splitlines() == [
            "a module that prints when it is imported",
            "a tool that prints",
            "a tool that writes to the descriptor",
            "a tool whose process prints",
        ]
    assert strange == []
    assert last(await only_run(tmp_path / "calls.db"))[0] == "run_completed"


def _to(params: StdioServerParameters, stderr: Any) -> Any:
    from mcp.client.stdio import stdio_client

    return stdio_client(params, errlog=stderr)


@pytest.mark.parametrize(
    ("key", "end"), [("k", ("run_interrupted", "the server ends")), (None, ("run_cancelled", "the client cancelled the call"))]
)
async def test_the_end_of_its_input_is_its_end_and_runs_are_laid_down(tmp_path: Path, key: str | None, end: tuple[str, str]) -> None:
    async with served(tmp_path) as server:
        await server.send(call("pay", key, order="A1"))
        await marked(tmp_path)
        server.stdin.close()
        if key is not None:
            # It waits for the call, as whoever named it may come again; a second signal says that there is no time. Two of one kind may come as one.
            server.process.send_signal(signal.SIGTERM)
            server.process.send_signal(signal.SIGINT)
        assert await server.process.wait() == 0
    assert last(await only_run(tmp_path / "calls.db")) == end


async def test_a_signal_lets_calls_come_to_their_end_and_takes_no_more(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await server.send(call("pay", order="A1"))
        await marked(tmp_path)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread((tmp_path / "go").touch)
        assert (await server.result())["content"][0]["text"] == "pay A1 is done"
        assert await server.process.wait() == 0
        assert await server.stdout.read() == b""
    assert last(await only_run(tmp_path / "calls.db"))[0] == "run_completed"


@pytest.mark.kill
@pytest.mark.parametrize(
    ("name", "marks", "text"),
    [("pay", 1, "the outcome of this call is unknown"), ("look_up", 2, "look_up A1 is done")],
)
async def test_a_server_that_was_killed_is_started_again_and_the_same_call_goes_on(
    tmp_path: Path, name: str, marks: int, text: str
) -> None:
    async with served(tmp_path) as server:
        await server.send(call(name, "k", order="A1"))
        await marked(tmp_path)
        server.process.kill()
        await server.process.wait()
    (tmp_path / "go").touch()
    async with served(tmp_path) as server:
        await server.send(call(name, "k", order="A1"))
        first = await server.result()
        await server.send(call(name, "k", order="A1"))
        assert await server.result() == first
    assert text in first["content"][0]["text"]
    assert first.get("isError", False) == (name == "pay")
    assert await marked(tmp_path) == [f"{name} A1"] * marks


async def test_a_message_that_is_too_long_is_answered_and_not_the_end(tmp_path: Path) -> None:
    async with served(tmp_path) as server:
        await server.send(call("add", a=1, b=2, c="x" * 5_000_000), {**call("add", a=1, b=2), "id": 2})
        assert (await server.result(2))["content"][0]["text"] == "3"


async def test_a_file_may_be_its_input(tmp_path: Path) -> None:
    """As of whoever tries it: `afk-es mcp serve ... < requests`. A file has an end, and no need of an event loop."""
    (tmp_path / "requests").write_text(json.dumps(HELLO) + "\n")
    with (tmp_path / "requests").open() as requests:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *SERVE,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=requests,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _err = await process.communicate()
    assert process.returncode == 0
    assert json.loads(out.splitlines()[0])["id"] == 0


async def test_nothing_may_be_its_input(tmp_path: Path) -> None:
    """As of a service manager, whose programs read /dev/null. It cannot be waited for, and has its end at once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *SERVE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, err = await asyncio.wait_for(process.communicate(), 30)
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, out) == (0, b"")
    assert b"Traceback" not in err


async def test_whoever_tries_it_in_a_terminal_is_told_what_it_waits_for(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *SERVE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=theirs,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stderr is not None
        told = ""
        while "over stdio" not in told:
            line = await asyncio.wait_for(process.stderr.readline(), 30)
            assert line, "it ended and told nothing"
            told = line.decode()
        assert "meant to be a program that starts this command; --http serves over HTTP; Ctrl-C ends it" in told
    finally:
        process.kill()
        await process.wait()
        os.close(ours)
        os.close(theirs)


async def test_without_a_stdin_it_is_said_that_there_is_none(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "sh",
        "-c",
        'exec "$0" "$@" <&-',
        sys.executable,
        *SERVE,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _out, err = await process.communicate()
    assert process.returncode == 2
    assert err.decode().splitlines() == [
        "afk-es: stdin is closed, and over stdio the client speaks there; --http HOST:PORT serves over HTTP"
    ]
