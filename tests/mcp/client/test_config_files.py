"""The JSON in which other programs keep their servers is read as clients; what is wrong with it is said, and no value of it is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mcp.client.stdio import StdioServerParameters

from afk_es.errors import ConfigurationError
from afk_es.mcp import MCPClient, read_config
from afk_es.mcp.targets import Address, Command

SECRET = "s3cret"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mcp.json"


def write(file: Path, **servers: Any) -> Path:
    file.write_text(json.dumps({"mcpServers": servers}))
    return file


def target(client: MCPClient) -> Any:
    return client._target


def test_commands_and_addresses_are_read(file: Path) -> None:
    write(
        file,
        time={"command": "uvx", "args": ["mcp-server-time", "--tz=${TZ:-UTC}"], "env": {"TOKEN": "${TOKEN}"}, "cwd": "below"},
        wiki={"type": "http", "url": "https://example.org/${env:PLACE}", "headers": {"Authorization": "Bearer ${TOKEN}"}},
        off={"command": "x", "disabled": True},
    )
    time, wiki = read_config(file, environ={"TOKEN": SECRET, "PLACE": "mcp"})
    assert target(time) == Command("uvx", ("mcp-server-time", "--tz=UTC"), {"TOKEN": SECRET}, str(file.parent / "below"))
    assert target(wiki) == Address("https://example.org/mcp", {"Authorization": f"Bearer {SECRET}"})
    assert SECRET not in f"{time!r} {wiki!r} {target(time)!r} {target(wiki)!r}"


def test_a_name_of_the_file_becomes_one_of_ours(file: Path) -> None:
    file.write_text(json.dumps({"servers": {"My Server": {"command": "x"}}}))
    (client,) = read_config(file)
    assert client.name == "My_Server"


def test_only_those_that_are_named_and_only_those_are_trusted(file: Path) -> None:
    write(file, a={"command": "x"}, b={"command": "y"})
    (b,) = read_config(file, names=["b"], trusted=["b"])
    assert b.name == "b"
    assert b._catalogue._trusted
    with pytest.raises(ConfigurationError, match="has no server 'c'; there are: a, b"):
        read_config(file, trusted=["c"])


WRONG: list[tuple[Any, str]] = [
    ("no JSON {", "is not JSON"),
    ([], 'has no "mcpServers"'),
    ({"mcpServers": {"a": 7}}, "server 'a' is"),
    ({"servers": {"a": {"type": "http", "command": "x"}}}, "server 'a' has no url"),
    ({"mcpServers": {"a": {}}}, "server 'a' has neither a command nor a url"),
    ({"mcpServers": {"a": {"command": SECRET, "args": [7]}}}, "server 'a': Expected `str`, got `int`"),
    ({"mcpServers": {"a": {"command": SECRET, "url": SECRET}}}, "has a command and a url"),
    ({"mcpServers": {"a": {"type": "sse", "url": SECRET}}}, "speaks HTTP[+]SSE"),
    ({"mcpServers": {"a": {"type": "ws", "url": SECRET}}}, "type is stdio or http, not 'ws'"),
    ({"mcpServers": {"a": {"url": f"{SECRET}.org"}}}, "is a URL such as"),
    ({"mcpServers": {"a": {"url": "http://x", "headers": {"A": f"{SECRET}\n"}}}}, "header 'A' is a text of one line"),
    ({"mcpServers": {"a": {"command": "x", "env": {"K": "${GONE}"}}}}, "env K wants the environment variable GONE, which is not set"),
    (
        {"mcpServers": {"a": {"command": "x", "args": ["${input:key}"]}}},
        "args has '[$]{input:key}', which means something to another program",
    ),
]


@pytest.mark.parametrize(("content", "reason"), WRONG)
def test_what_cannot_work_is_said_without_a_value(file: Path, content: Any, reason: str) -> None:
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ConfigurationError, match=reason) as caught:
        read_config(file, environ={})
    assert SECRET not in str(caught.value)


def test_a_file_that_there_is_not_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        read_config(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((["uvx"], {"headers": {"A": "b"}}), "headers belong to a URL"),
        (("http://x", {"env": {}}), "env belong to a command"),
        (("uvx mcp-server-time", {}), "write a command as a list"),
        (("ftp://x", {}), "is a URL such as"),
        (([], {}), "a command is a list of texts"),
        ((object(), {}), "this is object"),
        ((StdioServerParameters(command="x"), {"env": {"A": "b"}}), "give them there"),
        ((["x"], {"name": "a b"}), "server name 'a b' must be"),
        ((["x"], {"timeout_s": 0}), "timeout_s must be above 0"),
        ((["x"], {"protocol": "2.0"}), "protocol is 'auto', 'legacy' or a version"),
        ((["x"], {"tools": "find"}), "tools is a sequence of names"),
    ],
)
def test_a_client_that_cannot_work_is_refused_when_it_is_made(arguments: tuple[Any, dict[str, Any]], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        MCPClient(arguments[0], **arguments[1])


@pytest.mark.parametrize(
    ("aim", "name"),
    [("https://api.example.org:8000/mcp", "api_example_org"), (["/usr/bin/mcp-server.py"], "mcp-server"), (["uvx", "x"], "uvx")],
)
def test_a_server_has_a_name_of_its_target_s(aim: Any, name: str) -> None:
    assert MCPClient(aim).name == name
