"""Nobody gets through without a good token, and nobody learns why."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from afk_es.errors import ConfigurationError, UsageError
from afk_es.serving import ApiKeys, Principal, guarded, principal_of

KEY = "alice-0123456789abcdef"
KEYS = ApiKeys({KEY: Principal("alice", frozenset({"b", "a"}))})


async def shown(request: Request) -> JSONResponse:
    principal = principal_of(request.scope)
    return JSONResponse(
        {
            "name": principal.name,
            "user": request.user.display_name,
            "identity": request.user.identity,
            "in": request.user.is_authenticated,
            "scopes": request.auth.scopes,
            "headers": dict(request.headers),
        }
    )


async def card(request: Request) -> JSONResponse:
    return JSONResponse({"user": "user" in request.scope})


APP = Starlette(routes=[Route("/", shown), Route("/card", card)])


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(guarded(APP, KEYS, realm="shop", public={"/card"}))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as found:
        yield found


@pytest.mark.parametrize("header", [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}, {"X-API-Key": KEY}])
async def test_the_bearer_is_known_to_the_application_and_the_token_is_not(client: httpx.AsyncClient, header: dict[str, str]) -> None:
    answer = await client.get("/", headers=header)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["name"], told["user"], told["identity"], told["in"], told["scopes"]) == ("alice", "alice", "alice", True, ["a", "b"])
    assert KEY not in answer.text
    assert "host" in told["headers"]


REFUSED: list[list[tuple[str, str]]] = [
    [],
    [("Authorization", "Bearer wrong-0123456789abcdef")],
    [("Authorization", "Bearer ")],
    [("Authorization", "Bearer")],
    [("Authorization", "")],
    [("Authorization", f"Basic {KEY}")],
    [("Authorization", KEY)],
    [("X-API-Key", "")],
    [("X-API-Key", f"Bearer {KEY}")],
    [("Authorization", f"Bearer {KEY}"), ("X-API-Key", KEY)],
    [("Authorization", f"Bearer {KEY}"), ("Authorization", f"Bearer {KEY}")],
    [("Authorization", "Bearer ÿþý")],
    [("Authorization", "Bearer " + "x" * 20_000)],
]


async def test_all_others_are_told_the_same(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get(path, headers=httpx.Headers(headers, encoding="latin-1"))
        for headers in REFUSED
        for path in ("/", "/absent", "/Card", "/card/")
    ]
    assert {(answer.status_code, answer.text, tuple(answer.headers.multi_items())) for answer in answers} == {
        (
            401,
            '{"error": "unauthorized"}',
            (
                ("content-type", "application/json"),
                ("content-length", "25"),
                ("www-authenticate", 'Bearer realm="shop"'),
            ),
        )
    }


async def test_what_is_public_is_public_and_nothing_else(client: httpx.AsyncClient) -> None:
    assert (await client.get("/card")).json() == {"user": False}
    assert (await client.get("/card?x=1", headers={"X-API-Key": "wrong"})).json() == {"user": False}
    assert (await client.get("//card")).status_code == 401


async def test_an_authenticator_that_fails_lets_nobody_in_and_tells_no_token(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def authenticate(self, token: str) -> Principal | None:
            raise RuntimeError(f"no answer about {token}")

    caplog.set_level(logging.DEBUG)
    transport = httpx.ASGITransport(guarded(APP, Broken()))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as broken:
        answer = await broken.get("/", headers={"X-API-Key": KEY})
    assert (answer.status_code, answer.json()) == (503, {"error": "unavailable"})
    assert "the authenticator failed: RuntimeError" in caplog.text
    assert KEY not in caplog.text


async def test_a_web_socket_is_closed() -> None:
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        sent.append(message)

    await guarded(APP, KEYS)({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_without_the_guard_nobody_is_known() -> None:
    with pytest.raises(UsageError, match="guarded"):
        principal_of({"type": "http"})


@pytest.mark.parametrize("realm", ['a"b', "a\\b", "a\r\nb", "é"])
def test_a_realm_cannot_end_its_header(realm: str) -> None:
    with pytest.raises(ConfigurationError, match="a realm"):
        guarded(APP, KEYS, realm=realm)
