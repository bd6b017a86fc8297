"""`afk-es mcp serve`: what may be named, what is refused before anything is served, and a server over HTTP that a client calls."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from afk_es.cli.mcp_serve import load_server
from afk_es.errors import ConfigurationError
from tests.cli.conftest import ROOT, Afk

MODULE = """
from afk_es.agents import Agent
from afk_es.agents import PolicyEngine, PolicyRule
from afk_es.mcp import MCPServer
from afk_es.testing import ScriptedModel
from afk_es.tools import ToolContext, ToolRegistry, tool

@tool(read_only=True)
def who(ctx: ToolContext) -> str:
    "Say who calls."
    return ctx.user_id

def plain(a: int) -> int:
    "Give it back."
    return a

clerk = Agent(name="clerk", model=ScriptedModel([]))
tools = [who, plain]
both = (who, clerk)
registry = ToolRegistry([who])
server = MCPServer([who], name="own", log=":memory:")
nothing = []
number = 7
policy = PolicyEngine(rules=[PolicyRule(rule_id="no", action="deny", reason="not today", condition=lambda event: event.tool_name == "who")])

def made():
    return [who]

def broken():
    raise ValueError("no tools today")
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that is named in these tests, in the current directory."""
    (tmp_path / "mcp_shop.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("mcp_shop", None)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("who", ("who",)),
        ("clerk", ("clerk",)),
        ("tools", ("who", "plain")),
        ("both", ("who", "clerk")),
        ("registry", ("who",)),
        ("made", ("who",)),
        ("server", ("who",)),
    ],
)
def test_what_may_be_named(name: str, names: tuple[str, ...]) -> None:
    assert load_server(f"mcp_shop:{name}", {}).names() == names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "mcp_shop:nothing is empty"),
        ("number", "mcp_shop:number is of the type int, not tools, agents, or an MCPServer"),
        ("toolz", "mcp_shop has no 'toolz'; did you mean 'tools'?"),
        ("broken", "mcp_shop:broken raised ValueError: no tools today"),
    ],
)
def test_what_may_not(name: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_server(f"mcp_shop:{name}", {})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("mcp_shop:tools", "--stdio", "--http", "127.0.0.1:0"), "--stdio and --http are two ways"),
        (("mcp_shop:tools", "--token-env", "TOKEN"), "are for --http"),
        (("mcp_shop:tools", "--jwks", "https://issuer.example/keys", "--audience", "me"), "are for --http"),
        (("mcp_shop:tools", "--http", "127.0.0.1:0", "--jwks", "https://issuer.example/keys"), "needs --audience"),
        (("mcp_shop:tools", "--http", "127.0.0.1:0", "--algorithm", "RS256"), "are about the tokens of --jwks"),
        (("mcp_shop:tools", "--http", "8000"), "--http is HOST:PORT"),
        (("mcp_shop:tools", "--http", "127.0.0.1:70000"), "--http is HOST:PORT"),
        (("mcp_shop:tools", "--http", "192.0.2.1:8000"), "192.0.2.1 can be reached from elsewhere"),
        (
            ("mcp_shop:tools", "--http", "127.0.0.1:0", "--token-env", "ABSENT"),
            "the environment variable 'ABSENT' of --token-env is not set",
        ),
        (("mcp_shop:tools", "--http", "127.0.0.1:0", "--token-env", "a=A", "--token-env", "b=B"), "is another caller's as well"),
        (("mcp_shop:tools", "--rate", "many"), "--rate is CALLS/SECONDS"),
        (("mcp_shop:tools", "--rate", "0/60"), "--rate is CALLS/SECONDS"),
        (("mcp_shop:server", "--name", "x"), "is an MCPServer, which has its log and options where it is made"),
        (("mcp_shop:tools", "--policy", "mcp_shop:number"), "not a PolicyEngine"),
        (("no_such_module:tools",), "there is no module 'no_such_module' here"),
        (("tools",), "'tools' does not name tools"),
    ],
)
def test_what_cannot_be_served_is_wrong_usage(words: tuple[str, ...], message: str, afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("A", "B"):
        monkeypatch.setenv(name, "one-token-of-two-callers")
    done = afk("mcp", "serve", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stdout == ""


@contextmanager
def serving(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that serves over HTTP, and where; ended in the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "afk_es.cli", "mcp", "serve", *words, "--http", "127.0.0.1:0"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "ALICE": "token-of-alice-0123", "BOB": "token-of-bob-012345"},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        assert line.startswith("serving who, plain at http://127.0.0.1:"), line + process.stderr.read()
        yield process, line.split(" at ")[1].split(";")[0]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def call(url: str, token: str, name: str) -> str:
    """What the tool says to the bearer of that token."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return " ".join(getattr(each, "text", "") for each in (await client.call_tool(name)).content)


def test_callers_have_the_names_of_their_tokens_until_the_server_is_ended() -> None:
    with serving("mcp_shop:tools", "--db", "calls.db", "--token-env", "alice=ALICE", "--token-env", "BOB") as (process, url):
        assert asyncio.run(call(url, "token-of-alice-0123", "who")) == "alice"
        assert asyncio.run(call(url, "token-of-bob-012345", "who")) == "BOB"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (0, "")
        assert "token-of" not in err


def test_a_policy_and_a_rate_hold(afk: Afk) -> None:
    with serving("mcp_shop:tools", "--db", "calls.db", "--policy", "mcp_shop:policy", "--rate", "1/3600") as (_process, url):
        assert "not today" in asyncio.run(call(url, "unused", "who"))
        assert "too many calls" in asyncio.run(call(url, "unused", "who"))
