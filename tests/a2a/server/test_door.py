"""What a client is told of an agent before it calls, and who gets in at all: cards, tokens, rates, sizes, addresses."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import httpx
import pytest
from a2a.types.a2a_pb2 import AgentSkill, GetExtendedAgentCardRequest
from a2a.utils.errors import VersionNotSupportedError
from a2a.utils.proto_utils import validate_proto_required_fields

from afk_es.a2a import A2AServer, ApiKeys, Limited, ServedAgent
from afk_es.agents import Agent, PolicyEngine
from afk_es.core import Runner
from afk_es.errors import ConfigurationError, LogError, UsageError
from afk_es.llms import LLMRequest
from afk_es.testing import ScriptedModel
from afk_es.tools import tool
from tests.a2a.server.asking import BINDINGS, COMPLETED, URL, asker, asker_at
from tests.support.skills import skill

KEY = "a-key-that-is-long-enough"


@tool
def pay(item: str) -> str:
    """Pay for an item."""
    return item


def clerk(name: str = "clerk") -> Agent:
    return Agent(
        name=name, model=ScriptedModel(lambda _request: "done"), tools=[pay], instructions="Never tell that the safe is behind the clock."
    )


def test_a_card_has_all_that_the_protocol_requires_and_no_instructions() -> None:
    card = A2AServer(ServedAgent(agent=clerk(), description="Sells tea."), log=":memory:", url=URL).card()
    validate_proto_required_fields(card)
    assert (card.name, card.description) == ("clerk", "Sells tea.")
    assert [(each.url, each.protocol_binding, each.protocol_version) for each in card.supported_interfaces] == [
        (URL, "JSONRPC", "1.0"),
        (URL, "HTTP+JSON", "1.0"),
    ]
    assert (card.capabilities.streaming, card.capabilities.push_notifications, card.capabilities.extended_agent_card) == (True, True, False)
    assert (list(card.default_input_modes), list(card.default_output_modes)) == (["text/plain", "application/json"], ["text/plain"])
    assert [skill.description for skill in card.skills] == ["Sells tea."]
    assert not card.security_requirements
    assert "clock" not in str(card)
    assert "pay" not in str(card)


def test_a_cards_skills_are_the_agents(tmp_path: Path) -> None:
    skill(tmp_path, "refunds", "Pay money back.")
    agent = Agent(name="clerk", model=ScriptedModel(["done"]), skills=["refunds"], skills_dir=tmp_path)
    card = A2AServer(agent, log=":memory:", url=URL).card()
    assert [(skill.id, skill.description) for skill in card.skills] == [("refunds", "Pay money back.")]
    own = AgentSkill(id="tea", name="Tea", description="Sells tea.", tags=["shop"])
    assert list(A2AServer(ServedAgent(agent=agent, skills=(own,)), log=":memory:", url=URL).card().skills) == [own]


@pytest.mark.parametrize("binding", BINDINGS)
async def test_who_is_let_in_is_told_of_the_tools(binding: str) -> None:
    server = A2AServer(clerk(), log=":memory:", url=URL, authenticator=ApiKeys({KEY: "alice"}))
    async with asker(server, binding, token=KEY) as client:
        card = await client.client.get_extended_agent_card(GetExtendedAgentCardRequest())
    validate_proto_required_fields(card)
    assert [(skill.id, skill.description) for skill in card.skills][1:] == [("pay", "Pay for an item.")]
    assert [list(each.schemes) for each in card.security_requirements] == [["bearer"], ["api_key"]]


async def test_without_tokens_there_is_no_other_card() -> None:
    server = A2AServer(clerk(), log=":memory:", url=URL)
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        # Asked by hand: the SDK's client knows from the card that there is none.
        answer = await http.get("/extendedAgentCard", headers={"A2A-Version": "1.0"})
    assert (answer.status_code, answer.json()["error"]["details"][0]["reason"]) == (400, "UNSUPPORTED_OPERATION")


async def test_a_key_may_come_in_either_header() -> None:
    server = A2AServer(clerk(), log=":memory:", url=URL, authenticator=ApiKeys({KEY: "alice"}))
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        for headers in ({"Authorization": f"Bearer {KEY}"}, {"X-API-Key": KEY}):
            assert (await http.get("/tasks", headers={**headers, "A2A-Version": "1.0"})).status_code == 200


async def test_each_agent_of_several_has_a_card_of_its_own() -> None:
    server = A2AServer([clerk("one"), clerk("two")], log=":memory:", url=f"{URL}/shop/")
    assert server.names == ("one", "two")
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        for name in server.names:
            card = (await http.get(f"/{name}/.well-known/agent-card.json")).json()
            assert (card["name"], card["supportedInterfaces"][0]["url"]) == (name, f"{URL}/shop/{name}")
        assert (await http.get("/.well-known/agent-card.json")).status_code == 404
    with pytest.raises(UsageError, match="one, two"):
        server.card()


async def test_a_caller_who_calls_too_often_is_told_when_to_come_again() -> None:
    server = A2AServer(
        clerk(), log=":memory:", url=URL, authenticator=ApiKeys({KEY: "alice", KEY * 2: "bob"}), rate_limit=Limited(calls=3, per_s=60)
    )
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:

        async def status(key: str) -> tuple[int, str | None]:
            answer = await http.get("/tasks", headers={"Authorization": f"Bearer {key}", "A2A-Version": "1.0"})
            return answer.status_code, answer.headers.get("retry-after")

        assert [await status(KEY) for _ in range(4)] == [(200, None)] * 3 + [(429, "20")]
        assert await status(KEY * 2) == (200, None)


async def test_a_request_that_is_too_large_or_calls_another_host_is_refused() -> None:
    server = A2AServer(clerk(), log=":memory:")
    async with server.serve() as served, httpx.AsyncClient(base_url=served.url) as http:
        assert (await http.post("/", content=b"x" * 5_000_000)).status_code == 413
        assert (await http.get("/tasks", headers={"Host": "evil.example"})).status_code == 421
        assert (await http.get("/tasks", headers={"Origin": "https://evil.example"})).status_code == 403
        answer = await http.get("/.well-known/agent-card.json")
        assert answer.json()["supportedInterfaces"][0]["url"] == served.url
        assert "access-control-allow-origin" not in answer.headers


async def test_another_version_of_the_protocol_is_refused() -> None:
    server = A2AServer(clerk(), log=":memory:", url=URL)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL)
    async with server, http, asker_at(URL, http) as client:
        http.headers["A2A-Version"] = "9.0"
        with pytest.raises(VersionNotSupportedError):
            await client.send("hello")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'{"jsonrpc": "2.0"}', b'{"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": []}']
)
async def test_garbage_is_answered_with_an_error_and_not_with_a_failure(body: bytes) -> None:
    server = A2AServer(clerk(), log=":memory:", url=URL)
    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(server.http_app()), base_url=URL) as http:
        answer = await http.post("/", content=body, headers={"A2A-Version": "1.0"})
        assert (answer.status_code, answer.json()["error"]["code"] in (-32700, -32600, -32602)) == (200, True), answer.text
        rest = await http.post("/message:send", content=body, headers={"A2A-Version": "1.0"})
        assert (rest.status_code, "Traceback" in rest.text) == (400, False), rest.text


async def test_a_server_listens_at_loopback_unless_it_knows_its_callers() -> None:
    with pytest.raises(ConfigurationError, match="lets everybody in"):
        async with A2AServer(clerk(), log=":memory:").serve("0.0.0.0"):
            pass


def test_a_server_is_made_of_agents_with_different_names() -> None:
    for agents in ([], [clerk(), clerk()], "clerk", [7]):
        with pytest.raises(ConfigurationError):
            A2AServer(agents, log=":memory:")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="has a log and policies of its own"):
        A2AServer(clerk(), log=":memory:", runner=Runner(log=":memory:"))
    with pytest.raises(ConfigurationError, match="policies of its own"):
        A2AServer(clerk(), policy_engine=PolicyEngine(), runner=Runner(log=":memory:"))
    with pytest.raises(ConfigurationError, match="url="):
        A2AServer(clerk(), log=":memory:").http_app()


async def test_the_application_takes_only_requests_that_are_meant_for_it_and_are_bounded() -> None:
    """In a server of somebody's own as in ours: a page whose name has come to stand for this machine gets no answer."""
    server = A2AServer(clerk(), log=":memory:", url="https://agents.example:8443/desk")
    app = server.http_app(allow_hosts=["inside.example"], max_body_bytes=1000)
    asked = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}

    async def status(host: str, size: int = 0, **headers: str) -> int:
        sent = {"host": host, "a2a-version": "1.0", **headers}
        return (await http.post("/", json={**asked, "padding": "x" * size}, headers=sent)).status_code

    async with server, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as http:
        assert [await status(host) for host in ("agents.example:8443", "inside.example", "localhost", "evil.example")] == [
            200,
            200,
            200,
            421,
        ]
        assert await status("localhost", origin="https://evil.example") == 403
        assert await status("localhost", size=1000) == 413


async def test_a_server_may_be_entered_more_than_once_and_again(tmp_path: Path) -> None:
    server = A2AServer(clerk(), log=tmp_path / "runs.db", url=URL)
    for number in range(2):
        async with asker(server) as client:
            async with server:
                assert (await client.send("hello", f"m{number}")).status.state == COMPLETED
            assert (await client.send("hello", f"n{number}")).status.state == COMPLETED


async def test_a_server_whose_log_cannot_be_opened_is_not_entered(tmp_path: Path) -> None:
    server = A2AServer(clerk(), log=tmp_path / "runs.db", url=URL)
    (tmp_path / "runs.db").write_bytes(b"no log" * 1000)
    for _ in range(2):
        with pytest.raises(LogError):
            await server.__aenter__()
    (tmp_path / "runs.db").unlink()
    async with asker(server) as client:
        assert (await client.send("hello")).status.state == COMPLETED


def _check_ended(threads: set[threading.Thread]) -> None:
    """A thread of SQLite's that is left would keep the process from ending."""
    for thread in threads:
        thread.join(10)
    assert not [thread for thread in threads if thread.is_alive()]


async def test_a_file_of_callbacks_that_is_none_is_told_before_anything_is_served(tmp_path: Path) -> None:
    (tmp_path / "runs.db-push.db").write_bytes(b"no book" * 1000)
    server = A2AServer(clerk(), log=tmp_path / "runs.db", url=URL)
    threads = set(threading.enumerate())
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="push_file"):
            await server.__aenter__()
    _check_ended(set(threading.enumerate()) - threads)
    (tmp_path / "runs.db-push.db").unlink()
    async with asker(server) as client:
        assert (await client.send("hello")).status.state == COMPLETED


async def test_a_server_that_cannot_lay_its_tasks_down_lets_go_of_everything_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unreadable(*_: object, **__: object) -> list[object]:
        raise LogError("the disk is gone")

    threads = set(threading.enumerate())
    server = A2AServer(clerk(), log=tmp_path / "runs.db", url=URL)
    await server.__aenter__()
    monkeypatch.setattr(server.runner.log, "runs", unreadable)
    with pytest.raises(LogError, match="the disk is gone"):
        await server.__aexit__(None, None, None)
    _check_ended(set(threading.enumerate()) - threads)


async def test_a_server_that_ends_lays_down_what_is_under_way(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def slow(request: LLMRequest) -> str:
        if began.is_set():
            return "done"
        began.set()
        await asyncio.Event().wait()
        return ""

    server = A2AServer(Agent(name="clerk", model=ScriptedModel(slow)), log=tmp_path / "runs.db", url=URL)
    async with asker(server) as client:
        task = await client.send("hello", immediately=True)
        await began.wait()
    async with Runner(log=tmp_path / "runs.db") as runner:
        last = (await runner.log.read(task.id))[-1]
        assert (last.type, json.dumps(last.data)) == ("run_interrupted", '{"reason": "the server stopped"}')
    async with asker(server) as client:
        # It goes on by itself; whoever waits for it is told.
        assert (await client.send("hello")).status.state == COMPLETED


def test_the_card_says_what_the_agent_says_of_itself() -> None:
    """Goal: what is written once, as for other agents, need not be written again for clients."""
    agent = Agent(name="clerk", description="Sells tea.", model=ScriptedModel([]))
    assert A2AServer(agent, log=":memory:", url=URL).card().description == "Sells tea."
    assert A2AServer(ServedAgent(agent=agent, description="Buys tea."), log=":memory:", url=URL).card().description == "Buys tea."
