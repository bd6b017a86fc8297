"""What a request passes before an application sees it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from afk_es.serving.intake import checked_intake
from afk_es.serving.listening import address_of, hosts_of

LOOPBACK = hosts_of(address_of("127.0.0.1"), ())


class Asked:
    """An application that reads all, and notes what it got."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.after: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.after.append("gone")
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.bodies.append(body)
        self.after.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})


async def asked(app: Asked, headers: list[tuple[str, str]], *sent: Message, hosts: Any = LOOPBACK, timeout_s: float = 30.0) -> int:
    """The status that a client gets that sends this, and then nothing for ever."""
    answers: list[Message] = []
    coming: list[Message] = list(sent or [{"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}])

    async def receive() -> Message:
        if not coming:
            await asyncio.Event().wait()
        return coming.pop(0)

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    await checked_intake(app, hosts=hosts, max_body_bytes=10, body_timeout_s=timeout_s)(scope, receive, send)
    return int(answers[0]["status"]) if answers else 0


def body(*chunks: bytes) -> list[Message]:
    sent: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    sent[-1]["more_body"] = False
    return [*sent, {"type": "http.disconnect"}]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:8000", "LOCALHOST", "[::1]:8000", "[::1]"])
async def test_this_machine_is_called_by_its_own_names(host: str) -> None:
    assert await asked(Asked(), [("host", host)]) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "evil.example:127", "", "127.0.0.1@evil.example", "[::1", "::1", "\xff"]
)  # fmt: skip
async def test_a_name_that_was_made_to_lead_here_is_not_served(host: str) -> None:
    """DNS rebinding: the browser believes that it talks to the attacker's site."""
    app = Asked()
    assert await asked(app, [("host", host)]) == 421
    assert app.bodies == []


async def test_one_host_is_named_and_not_none_or_two() -> None:
    assert await asked(Asked(), []) == 421
    assert await asked(Asked(), [("host", "127.0.0.1"), ("host", "evil.example")]) == 421
    assert await asked(Asked(), [("host", "127.0.0.1"), ("host", "127.0.0.1")]) == 421


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "http://localhost:3000", "https://127.0.0.1:8001", "http://127.0.0.1", "null", "", "http://[", "file://"],
)
async def test_a_page_of_another_site_is_not_served(origin: str) -> None:
    app = Asked()
    assert await asked(app, [("host", "127.0.0.1:8000"), ("origin", origin)]) == 403
    assert app.bodies == []


async def test_a_page_of_this_server_is_served_also_behind_a_proxy() -> None:
    assert await asked(Asked(), [("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")]) == 200
    hosts = hosts_of(address_of("10.0.0.5"), ["agents.example.com"])
    assert await asked(Asked(), [("host", "Agents.example.com"), ("origin", "https://agents.example.com")], hosts=hosts) == 200


async def test_hosts_that_the_user_names_are_served_and_any_when_told() -> None:
    hosts = hosts_of(address_of("0.0.0.0"), ["agents.example.com"])
    assert [await asked(Asked(), [("host", host)], hosts=hosts) for host in ("agents.example.com:443", "evil.example")] == [200, 421]
    assert await asked(Asked(), [("host", "evil.example")], hosts=hosts_of(address_of("0.0.0.0"), ["*"])) == 200


async def test_a_body_comes_whole_and_the_client_that_leaves_is_noticed() -> None:
    app = Asked()
    assert await asked(app, [("host", "localhost")], *body(b"hello", b"", b"there")) == 200
    assert (app.bodies, app.after) == ([b"hellothere"], ["http.disconnect"])


async def test_a_body_that_is_too_long_is_refused_as_soon_as_it_is_known() -> None:
    app = Asked()
    assert await asked(app, [("host", "localhost"), ("content-length", "11")]) == 413
    assert await asked(app, [("host", "localhost")], *body(b"hello", b"there!", b"never read")) == 413
    assert await asked(app, [("host", "localhost"), ("content-length", "5")], *body(b"hello", b"there!")) == 413
    for length in ("-1", "ten", "1e1", "9" * 5000):
        assert await asked(app, [("host", "localhost"), ("content-length", length)]) == 413
    assert app.bodies == []


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    app = Asked()
    assert await asked(app, [("host", "localhost")], {"type": "http.request", "body": b"he", "more_body": True}, timeout_s=0.01) == 408
    assert app.bodies == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_told_to_the_application() -> None:
    app = Asked()
    left: list[Message] = [{"type": "http.request", "body": b"he", "more_body": True}, {"type": "http.disconnect"}]
    assert await asked(app, [("host", "localhost")], *left) == 0
    assert (app.bodies, app.after) == ([], ["gone"])


async def test_a_web_socket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    intake = checked_intake(Asked(), hosts=LOOPBACK, max_body_bytes=10, body_timeout_s=1)
    await intake({"type": "websocket", "headers": [(b"host", b"localhost")]}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
