"""`afk-es mcp-config`: the servers of a config file and their tools. No value of an env, a header or an address's query is shown."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Afk
from tests.mcp.client.test_lifetime import RAW

SECRET = "s3cret"


@pytest.fixture
def servers(tmp_path: Path) -> Path:
    file = tmp_path / "mcp.json"
    found = {
        "raw": {"command": sys.executable, "args": [str(RAW), ""], "env": {"TOKEN": SECRET}},
        "gone": {"url": f"http://user:{SECRET}@127.0.0.1:9/mcp?key={SECRET}", "headers": {"Authorization": f"Bearer {SECRET}"}},
    }
    file.write_text(json.dumps({"mcpServers": found}))
    return file


def test_the_servers_of_a_file_are_listed_without_connecting(servers: Path, afk: Afk) -> None:
    result = afk("mcp-config", str(servers))
    assert result.exit_code == 0
    assert "gone http http://127.0.0.1:9/mcp headers Authorization" in " ".join(result.stdout.split())
    assert SECRET not in result.stdout + result.stderr


def test_their_tools_are_listed_where_they_can_be_reached(servers: Path, afk: Afk) -> None:
    result = afk("mcp-config", str(servers), "--connect", "--format", "json", "--timeout", "5")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    raw, gone = data["servers"]
    assert data["schema"] == "afk_es.mcp_config/1"
    assert raw["tools"] == [{"name": "raw_work", "description": "Work."}]
    assert "nobody answers at that address" in gone["error"]
    assert SECRET not in result.stdout + result.stderr


def test_a_server_can_be_asked_alone(servers: Path, afk: Afk) -> None:
    result = afk("mcp-config", str(servers), "--connect", "--server", "raw")
    assert result.exit_code == 0
    assert "raw_work" in result.stdout
    assert afk("mcp-config", str(servers), "--server", "none").exit_code == 2


def test_an_address_that_cannot_be_read_is_listed_as_that(tmp_path: Path, afk: Afk) -> None:
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"odd": {"url": "http://[odd/mcp"}}}))
    assert "a URL that cannot be read" in afk("mcp-config", str(file)).stdout
    connected = afk("mcp-config", str(file), "--connect")
    assert connected.exit_code == 1
    assert "cannot be used: a target that is a text is a URL" in connected.stdout


def test_a_variable_that_is_not_set_is_told_before_anybody_connects(tmp_path: Path, afk: Afk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", SECRET)
    monkeypatch.delenv("GONE", raising=False)
    file = tmp_path / "mcp.json"
    entry = {"command": "x", "args": ["${THERE}", "${GONE}"], "env": {"A": "${GONE}", "B": "${env:LOST}", "C": "${LEFT:-x}"}}
    file.write_text(json.dumps({"servers": {"odd": entry, "fine": {"url": "http://127.0.0.1:9/${THERE}"}}}))
    result = afk("mcp-config", str(file))
    assert result.exit_code == 0
    assert result.stdout.count("not set here: GONE, LOST") == result.stdout.count("not set here") == 1
    listed = json.loads(afk("mcp-config", str(file), "--format", "json").stdout)
    assert [each["unset"] for each in listed["servers"]] == [["GONE", "LOST"], []]
    connected = afk("mcp-config", str(file), "--connect", "--server", "odd")
    assert "wants the environment variable GONE, which is not set" in connected.stdout
    assert SECRET not in result.stdout + connected.stdout
