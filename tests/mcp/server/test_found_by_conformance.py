"""Goal: what the official conformance suite has found once stays found, without the suite. See `tests.interop`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from afk_es.mcp import MCPServer
from afk_es.tools import ToolContext, tool
from tests.mcp.server.served import ERAS, Era, asking_for, client_of

MODERN = "2026-07-28"


@tool
def count(ctx: ToolContext) -> str:
    """Count."""
    for number in range(3):
        ctx.report_progress(number, 2, "counted")
    return "two"


@pytest.mark.parametrize("era", ERAS)
async def test_progress_may_begin_with_nothing(era: Era, tmp_path: Path) -> None:
    told: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        told.append(progress)

    async with client_of(MCPServer([count], log=tmp_path / "log.db"), era) as client:
        await client.call_tool("count", {}, progress_callback=on_progress)
    assert told == [0, 1, 2]


async def test_it_has_a_version_also_where_it_is_not_installed(tmp_path: Path) -> None:
    async with client_of(MCPServer([count], log=tmp_path / "log.db"), "legacy") as client:
        assert client.server_info is not None
        assert client.server_info.version


@pytest.mark.parametrize(
    ("origin", "host", "status"),
    [
        ("http://{own}", "{own}", 200),
        ("HTTP://{own}", "{own}", 200),
        (None, "{own}", 200),
        ("https://{own}", "{own}", 200),  # as behind a proxy that speaks TLS
        ("http://127.0.0.1:1", "{own}", 403),
        ("http://evil.example", "{own}", 403),
        ("http://evil.example", "evil.example", 421),
        ("null", "{own}", 403),
    ],
)
async def test_a_page_of_its_own_address_is_none_of_others(origin: str | None, host: str, status: int, tmp_path: Path) -> None:
    """A page that names itself after another address, as by DNS rebinding, is; its address is not ours then."""
    async with MCPServer([count], log=tmp_path / "log.db").http_server() as served:
        own = served.url.removeprefix("http://")
        headers = {"host": host.format(own=own), **({"origin": origin.format(own=own)} if origin is not None else {})}
        answer = await _post(f"{served.url}/mcp", "tools/list", {}, headers)
    assert answer.status_code == status, answer.text
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_state_that_is_none_of_ours_begins_nothing(tmp_path: Path) -> None:
    """One that was tampered with would name another call, and have it made."""

    @tool
    def pay() -> None:
        """Never called."""
        raise AssertionError

    server = MCPServer([count, pay], log=tmp_path / "log.db", policy_engine=asking_for("count"))
    async with server.http_server() as served:
        call: dict[str, Any] = {"name": "count", "arguments": {}}
        capabilities: dict[str, Any] = {"elicitation": {}}
        asked = (await _post(f"{served.url}/mcp", "tools/call", call, {"mcp-name": "count"}, capabilities)).json()["result"]
        assert asked["resultType"] == "input_required"
        (key,) = asked["inputRequests"]
        answers = {"inputResponses": {key: {"action": "accept", "content": {"decision": "approve"}}}}
        wrong = {**call, **answers, "requestState": f"{asked['requestState']}x"}
        refused = (await _post(f"{served.url}/mcp", "tools/call", wrong, {"mcp-name": "count"}, capabilities)).json()
        assert refused["error"]["code"] == -32602
        other = {"name": "pay", "arguments": {}, **answers, "requestState": asked["requestState"]}
        refused = (await _post(f"{served.url}/mcp", "tools/call", other, {"mcp-name": "pay"}, capabilities)).json()
        assert refused["error"]["message"] == "requestState is of another call"
        right = {**call, **answers, "requestState": asked["requestState"]}
        done = (await _post(f"{served.url}/mcp", "tools/call", right, {"mcp-name": "count"}, capabilities)).json()["result"]
        assert done["content"] == [{"type": "text", "text": "two"}]
        assert len(await server.runner.log.runs()) == 1


async def _post(
    url: str, method: str, params: dict[str, Any], headers: dict[str, str], capabilities: dict[str, Any] | None = None
) -> httpx2.Response:
    """A request of 2026-07-28, as any HTTP client would send it."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities or {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    sent = {"accept": "application/json, text/event-stream", "mcp-protocol-version": MODERN, "mcp-method": method, **headers}
    async with httpx2.AsyncClient() as client:
        return await client.post(url, json=body, headers=sent)
